//! Flags of `data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use parareal_data::DatasetName;
use parareal_vision::DEFAULT_DATA_DIR;

/// What to do with a data set.
#[derive(Subcommand)]
pub(crate) enum Data {
    /// Fetch the canonical files of a data set, and check them
    ///
    /// A file gets its name when its size and its published MD5 sum are right. What has come of a
    /// download that breaks off is kept, and the same command goes on from there. Files that are
    /// there and right are not fetched again, others of their names are never written over. A proxy
    /// is taken from HTTPS_PROXY or ALL_PROXY. The usual addresses could not be tried where this
    /// program was written: where one has moved, give another one with --from.
    Fetch(Fetch),
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
        /// PNG file to write
        #[arg(long, value_name = "FILE.png")]
        output: PathBuf,
        /// Overwrite a file that is there already
        #[arg(long)]
        overwrite: bool,
    },
}

/// Flags of `data fetch`.
#[derive(Args)]
pub(crate) struct Fetch {
    #[arg(value_name = "NAME", help = published_names())]
    pub(crate) name: String,
    /// Folder in which the data set gets a folder of its name
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    pub(crate) data_dir: PathBuf,
    /// Address of a folder that holds the files under their names, http or https [default: where
    /// they are published]
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
    /// Print what is there now as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which images, and where they are.
#[derive(Args)]
pub(crate) struct ImageFiles {
    #[arg(value_name = "NAME", help = names())]
    pub(crate) name: String,
    /// Folder in which each data set has a folder of its name, or with a folder for each class of
    /// your own images, which has no default; shapes needs none [default: data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Help on the name of a data set.
fn names() -> String {
    let names = DatasetName::ALL.map(DatasetName::as_str).join(", ");
    format!("Data set: {names}; folder is for images of your own")
}

/// Help on the name of a data set to fetch.
fn published_names() -> String {
    let names = DatasetName::ALL.into_iter().filter(|name| name.is_published());
    let names: Vec<&str> = names.map(DatasetName::as_str).collect();
    format!("Data set: {}; of shapes there is nothing to fetch", names.join(", "))
}
