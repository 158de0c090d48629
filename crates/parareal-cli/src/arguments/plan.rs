//! Flags of `plan`.

use clap::Args;
use parareal_train::Settings;

use super::Network;

/// Flags of `plan`.
#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    network: Network,
    /// Classes to tell apart
    #[arg(long, value_name = "M", default_value_t = 10)]
    pub(crate) classes: usize,
    /// Print the plan as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

impl Plan {
    /// What the flags set.
    pub(crate) fn settings(self) -> Settings {
        self.network.settings()
    }
}
