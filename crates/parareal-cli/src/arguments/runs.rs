//! Flags of the commands for runs that are there.

use std::path::PathBuf;

use clap::Args;
use parareal_train::Settings;

/// Flags of `eval`.
#[derive(Args)]
pub(crate) struct Eval {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    pub(crate) run: PathBuf,
    /// Checkpoint: latest, best (smallest test error), or the number of a step
    #[arg(long, value_name = "WHICH", default_value = "latest")]
    pub(crate) checkpoint: String,
    /// Data set to judge by [default: the run's]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Folder in which each data set has a folder of its name [default: the run's]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Take the first K test images [default: as in the run]
    #[arg(long, value_name = "K")]
    limit_test: Option<usize>,
    /// Print the result as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `predict`.
#[derive(Args)]
pub(crate) struct Predict {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    pub(crate) run: PathBuf,
    /// Checkpoint: latest, best (smallest test error), or the number of a step
    #[arg(long, value_name = "WHICH", default_value = "latest")]
    pub(crate) checkpoint: String,
    /// PNG or JPEG files, which are prepared as the images of the training were: scaled to the size
    /// that the network knows, with the border that MNIST's have
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// Print the answers as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `export`.
#[derive(Args)]
pub(crate) struct Export {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// File to write, a new one
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) output: PathBuf,
    /// Checkpoint: latest, best (smallest test error), or the number of a step
    #[arg(long, value_name = "WHICH", default_value = "latest")]
    pub(crate) checkpoint: String,
    /// Print what was written as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `report`.
#[derive(Args)]
pub(crate) struct Report {
    /// Folders of runs
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// HTML file to write; it holds all that it shows and opens from the disk
    #[arg(long, value_name = "FILE.html")]
    pub(crate) output: PathBuf,
    /// Write over a file that is there already
    #[arg(long)]
    pub(crate) overwrite: bool,
}

impl Eval {
    /// What the flags set.
    pub(crate) fn settings(self) -> Settings {
        Settings {
            dataset: self.dataset,
            data_dir: self.data_dir,
            limit_test: self.limit_test,
            ..Settings::default()
        }
    }
}
