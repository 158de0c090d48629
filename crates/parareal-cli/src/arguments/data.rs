//! Flags of `data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use parareal_data::DatasetName;
use parareal_vision::DEFAULT_DATA_DIR;

/// Commands for data sets.
#[derive(Subcommand)]
pub(crate) enum Data {
    /// Download the files of a data set and check them
    ///
    /// A download gets its final name once its size and MD5 sum match the published ones. An interrupted
    /// download is kept, and the same command continues it. Correct files are not downloaded again, and files
    /// with other contents are never overwritten. HTTPS_PROXY or ALL_PROXY names a proxy. The built-in
    /// addresses have not been tested from the machine that this program was developed on; if an address has
    /// changed, pass another one with --from.
    Fetch(Fetch),
    /// Check the files of a data set and count the images of each class
    Check {
        #[command(flatten)]
        set: ImageFiles,
        /// Print the result as one JSON value on standard output
        #[arg(long)]
        json: bool,
    },
    /// Draw training images of each class, before and after augmentation
    Show(Show),
}

/// Flags of `data fetch`.
#[derive(Args)]
pub(crate) struct Fetch {
    #[arg(value_name = "NAME", help = published_names())]
    pub(crate) name: String,
    /// Folder of the data sets; the files go into a subfolder with the name of the set
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    pub(crate) data_dir: PathBuf,
    /// HTTP or HTTPS address of a folder with the files [default: the published address]
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
    /// Print the state of the files as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `data show`.
#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) set: ImageFiles,
    /// Apply a random operation to each augmented image (TrivialAugment)
    #[arg(long)]
    pub(crate) trivial_augment: bool,
    /// Probability with which a random rectangle of an augmented image is erased
    #[arg(long, value_name = "P")]
    pub(crate) random_erasing: Option<f64>,
    /// Mixup: α of the random shares with which two images are added; 0 for none
    #[arg(long, value_name = "ALPHA", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) mixup: f64,
    /// Cutmix: α of the random area of an image that another one replaces; 0 for none
    #[arg(long, value_name = "ALPHA", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) cutmix: f64,
    /// PNG file to write
    #[arg(long, value_name = "FILE.png")]
    pub(crate) output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// A data set and its folder.
#[derive(Args)]
pub(crate) struct ImageFiles {
    #[arg(value_name = "NAME", help = names())]
    pub(crate) name: String,
    /// Folder of the data sets, or of your own images [default: data]
    ///
    /// Each published data set has a subfolder of its name. For the data set `folder`, DIR has one folder of
    /// PNG or JPEG files for each class, and must be given. `shapes` needs no folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Height and width of the images, a multiple of 4 from 32 to 1024; above 32 for the data set folder only [default: 32]
    ///
    /// Images larger than 32x32 are not held in memory. `data check` then decodes all of them, to find damaged files.
    #[arg(long, value_name = "S")]
    pub(crate) image_size: Option<usize>,
}

/// Help for the name of a data set.
fn names() -> String {
    let names = DatasetName::ALL.map(DatasetName::as_str).join(", ");
    format!("Data set: {names} (folder: images of your own)")
}

/// Help for the name of a data set to fetch.
fn published_names() -> String {
    let names = DatasetName::ALL.into_iter().filter(|name| name.is_published());
    let names: Vec<&str> = names.map(DatasetName::as_str).collect();
    format!("Data set: {}", names.join(", "))
}
