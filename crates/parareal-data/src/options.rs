//! Options for loading a data set.

use std::path::PathBuf;

/// Location and limits of the images to load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Data folder, with a subfolder for each data set that is read from files. The built-in shapes
    /// need no data folder.
    pub data_dir: Option<PathBuf>,
    /// Number of training images to take from the start of the set, at least 1; all by default.
    pub limit_train: Option<usize>,
    /// Number of test images to take from the start of the set, 0 for no test set; all by default.
    pub limit_test: Option<usize>,
}

impl LoadOptions {
    /// Returns true if test images are to be loaded.
    pub(crate) fn wants_test(&self) -> bool {
        self.limit_test != Some(0)
    }
}
