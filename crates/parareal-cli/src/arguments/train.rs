//! Flags of `train`.

use std::path::PathBuf;

use clap::Args;
use parareal_vision::Settings;

use super::settings::{Flag, Selection, SettingFlags};

/// Flags of `train`. If a flag is given twice, the last value counts.
#[derive(Args)]
#[command(args_override_self = true)]
#[command(after_long_help = "\
Signals: SIGINT (Ctrl-C), SIGTERM and SIGHUP stop the run after the current step, with a checkpoint and exit \
code 130. So do SIGUSR1, SIGUSR2 and SIGXCPU, with which batch systems announce the end of a job. --resume \
continues the run. A second Ctrl-C stops at once. Signals that are ignored at the start stay ignored: SIGHUP \
under nohup, SIGINT in the background of a script.")]
pub(crate) struct Train {
    /// File of settings, which flags override
    ///
    /// Its keys are the names of these flags, as in the config.toml of a run.
    #[arg(long, value_name = "FILE.toml", hide_short_help = true)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: SettingFlags<All>,
    /// Folder of the run, new or empty [default: a new folder in runs/]
    #[arg(long, value_name = "DIR", help_heading = "Output", display_order = 0)]
    pub(crate) output: Option<PathBuf>,
    /// Resume the run in --output from its latest checkpoint
    ///
    /// Results are identical bit for bit with the same executor, threads, device and vector instructions;
    /// otherwise they differ by rounding errors. The flags under "Machine", except --sync-batch-norm, and under
    /// "Output", --data-dir, --epochs, --milestones and --patience may have new values. All other flags must have
    /// the values of the run.
    #[arg(long, requires = "output", help_heading = "Output", display_order = 0)]
    pub(crate) resume: bool,
    /// Resume the run in --output if it exists, otherwise start it
    ///
    /// The same command can be repeated until the run has ended, for example in a job that a batch system requeues, or
    /// in a loop. It changes nothing in a run that has ended. As with --resume, only some flags may have other values
    /// than those that started the run. The recipe must be the same; the number of workers that the run has chosen is kept.
    #[arg(
        long,
        requires = "output",
        conflicts_with_all = ["resume", "timeline"],
        help_heading = "Output",
        display_order = 0,
        hide_short_help = true
    )]
    pub(crate) resume_or_start: bool,
    /// Seconds without a heartbeat from a rank after which all ranks end; 0 disables the check [default: 600]
    ///
    /// Every rank sends a heartbeat each second, even while it computes. A rank without one is stopped, or its machine
    /// cannot be reached. The error names the rank, and the run can be resumed. Requires the mpi executor.
    #[arg(long, value_name = "SECONDS", help_heading = "Machine", hide_short_help = true)]
    pub(crate) timeout: Option<u64>,
    /// Write the timeline of one step: a picture (.svg) or a trace (.json)
    ///
    /// A trace opens in ui.perfetto.dev.
    #[arg(long, value_name = "FILE", help_heading = "Output", hide_short_help = true)]
    pub(crate) timeline: Option<PathBuf>,
    /// Step of the run, from 1, whose timeline is written
    ///
    /// By default, it is the tenth step of this process, because the first steps are slower, or the last step
    /// if the process trains fewer. No timeline is written if the run stops before the step.
    #[arg(long, value_name = "STEP", help_heading = "Output", hide_short_help = true)]
    pub(crate) timeline_step: Option<usize>,
    /// Overwrite an existing file of --timeline
    #[arg(long, help_heading = "Output", hide_short_help = true)]
    pub(crate) overwrite: bool,
    /// Print the outcome as one JSON value on standard output
    #[arg(long, help_heading = "Output", hide_short_help = true)]
    pub(crate) json: bool,
}

/// All settings.
pub(crate) struct All;

impl Selection for All {
    fn flags() -> Vec<Flag> {
        Settings::definitions().iter().map(Flag::new).collect()
    }
}
