//! Flags of `lr-find`.

use std::path::PathBuf;

use clap::Args;
use parareal_vision::{Definition, Settings};

use super::settings::{Flag, Selection, SettingFlags};

/// Settings of `train` that do not affect the steps of a range test.
const NOT_USED: [&str; 13] = [
    "limit-test",
    "epochs",
    "learning-rate",
    "schedule",
    "milestones",
    "warmup-epochs",
    "ema-decay",
    "distill",
    "executor",
    "link-dtype",
    "patience",
    "checkpoint-every",
    "keep-checkpoints",
];

/// Flags of `lr-find`.
#[derive(Args)]
#[command(after_long_help = "\
Settings of `train` that do not affect the steps of this test, such as --epochs and --learning-rate, have no flags here. \
In the file of --config they are ignored.\n\nSignals: SIGINT (Ctrl-C), SIGTERM and SIGHUP end the test after the current \
step, with the results so far and exit code 130.")]
pub(crate) struct LrFind {
    /// File of settings, which flags override
    ///
    /// Its keys are the names of the flags of `train`, as in the config.toml of a run.
    #[arg(long, value_name = "FILE.toml", hide_short_help = true)]
    pub(crate) config: Option<PathBuf>,
    /// Learning rate of the first step
    #[arg(long, value_name = "RATE", default_value_t = 1e-4)]
    pub(crate) lowest: f64,
    /// Learning rate of the last step
    #[arg(long, value_name = "RATE", default_value_t = 10.0)]
    pub(crate) highest: f64,
    /// Number of steps
    #[arg(long, value_name = "K", default_value_t = 100)]
    pub(crate) steps: usize,
    /// Write the losses over the learning rate as a picture
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Overwrite an existing plot
    #[arg(long, requires = "plot")]
    pub(crate) overwrite: bool,
    /// Print all steps as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) flags: SettingFlags<Tested>,
}

/// The settings of a range test.
pub(crate) struct Tested;

impl Selection for Tested {
    fn flags() -> Vec<Flag> {
        let used = |definition: &&'static Definition| !NOT_USED.contains(&definition.key);
        let flags = Settings::definitions().iter().filter(used).map(|definition| {
            let flag = Flag::new(definition);
            match definition.key {
                "validation" => {
                    flag.help("Fraction of the training images that `train` sets aside")
                }
                "replicas" => {
                    flag.help("Number of copies of the network, each for a part of the batch")
                }
                "device" => flag.help("Device: cpu, wgpu:0, ..; can be given more than once"),
                "workers" => flag.help("Number of workers that share the subnetworks"),
                _ => flag,
            }
        });
        flags.collect()
    }
}
