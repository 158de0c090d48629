//! Flags of `data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with a data set.
#[derive(Subcommand)]
pub(crate) enum Data {
    /// Check the files of a data set, and count the images of each class
    Check {
        #[command(flatten)]
        set: ImageFiles,
        /// Print what was found as one JSON value on standard output
        #[arg(long)]
        json: bool,
    },
    /// Draw training images of each class, before and after they are changed at random
    Show {
        #[command(flatten)]
        set: ImageFiles,
        /// PNG file to write, a new one
        #[arg(long, value_name = "FILE.png")]
        output: PathBuf,
    },
}

/// Which images, and where they are.
#[derive(Args)]
pub(crate) struct ImageFiles {
    /// Data set: shapes, mnist, cifar10, cifar100, svhn, or folder for images of your own
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Folder in which each data set has a folder of its name, or with a folder for each class of
    /// your own images; shapes needs none
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}
