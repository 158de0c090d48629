//! Flags of `completions` and `man`.

use clap::Args;
use clap_complete::Shell;

/// Flags of `completions`.
#[derive(Args)]
pub(crate) struct Completions {
    /// Shell that the script is for
    pub(crate) shell: Shell,
}

/// Flags of `man`.
#[derive(Args)]
pub(crate) struct Man {
    /// Command whose page is printed, such as `train` or `data fetch`; without it, the page of parareal itself
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}
