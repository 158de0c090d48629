//! Flags of `train`.

use std::path::PathBuf;

use clap::Args;
use parareal_vision::Settings;

use super::settings::{Flag, Selection, SettingFlags};

/// Flags of `train`; of one that is given twice the last counts.
#[derive(Args)]
#[command(args_override_self = true)]
#[command(after_help = "\
Signals: SIGINT (Ctrl-C), SIGTERM and SIGHUP stop the run after its step with a checkpoint and exit code
130, and so do SIGUSR1, SIGUSR2 and SIGXCPU, by which batch systems announce the end of a job;
--resume goes on from there. A second Ctrl-C stops at once. Signals that were ignored at the start
stay ignored: SIGHUP under nohup, SIGINT in the background of a script.")]
pub(crate) struct Train {
    /// File with settings: it has the names of these flags as keys, and flags override it
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: SettingFlags<All>,
    /// Folder of the run, new or empty [default: a new one below runs/]
    #[arg(long, value_name = "DIR", help_heading = "Output", display_order = 0)]
    pub(crate) output: Option<PathBuf>,
    /// Resume the run in the folder of --output from its newest complete checkpoint: bit for bit with the
    /// same executor, threads, device and vector instructions, otherwise to rounding. Flags of the machine,
    /// --epochs and --milestones may be others than before
    #[arg(long, requires = "output", help_heading = "Output", display_order = 0)]
    pub(crate) resume: bool,
    /// Write the timeline of one step as a trace for ui.perfetto.dev (.json) or as a picture (.svg): by default
    /// of the tenth step that this process trains, because the first ones are slower, or of its last one if it
    /// trains fewer
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) timeline: Option<PathBuf>,
    /// Step of the run, counted from 1, whose timeline is written; none is written if the run is stopped before
    /// it [default: the tenth that this process trains]
    #[arg(long, value_name = "STEP", help_heading = "Output")]
    pub(crate) timeline_step: Option<usize>,
    /// Overwrite a file of --timeline that is there already
    #[arg(long, help_heading = "Output")]
    pub(crate) overwrite: bool,
    /// Print the outcome as one JSON value on standard output
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// All settings.
pub(crate) struct All;

impl Selection for All {
    fn flags() -> Vec<Flag> {
        Settings::definitions().iter().map(Flag::new).collect()
    }
}
