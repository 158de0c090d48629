//! Flags of `lr-find`.

use std::path::PathBuf;

use clap::Args;
use parareal_vision::Settings;

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
pub(crate) struct LrFind {
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
        let definitions = Settings::definitions().iter();
        definitions
            .filter(|definition| !NOT_USED.contains(&definition.key))
            .map(Flag::new)
            .collect()
    }
}
