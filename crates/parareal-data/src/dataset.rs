//! Choosing and loading a data set.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::DataError;
use crate::image_set::ImageSet;
use crate::normalization::Normalization;
use crate::{mnist, shapes};

/// The data sets this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatasetName {
    /// Coloured shapes drawn by the program itself: 3x32x32 pixels, ten classes.
    Shapes,
    /// Handwritten digits, padded to 1x32x32 pixels, ten classes.
    Mnist,
}

impl DatasetName {
    /// All names, in the order in which they should be offered.
    pub const ALL: [Self; 2] = [Self::Shapes, Self::Mnist];

    /// The name as it is written: `"shapes"` or `"mnist"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shapes => "shapes",
            Self::Mnist => "mnist",
        }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for DatasetName {
    type Err = DataError;

    /// Reads a name, in capitals or not.
    fn from_str(name: &str) -> Result<Self, DataError> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| DataError::UnknownDataset { name: name.to_owned() })
    }
}

/// A data set in memory.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Which set it is.
    pub name: DatasetName,
    /// The images to train on, at least one.
    pub train: ImageSet,
    /// The images to judge the training by, of the same shape and classes as `train`; none where
    /// none were asked for.
    pub test: Option<ImageSet>,
    /// Constants of the set: they are those of its full training images whatever the limits, so
    /// that a network trained on some images can be judged on others.
    pub normalization: Normalization,
}

/// What to load, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The folder in which each data set kept in files has a folder of its name; the built-in
    /// shapes need none.
    pub data_dir: Option<PathBuf>,
    /// How many training images to take from the start of the set, at least 1; all by default.
    pub limit_train: Option<usize>,
    /// How many test images to take from the start of the set, 0 for no test set; all by default.
    pub limit_test: Option<usize>,
}

impl Dataset {
    /// Loads a data set.
    ///
    /// [`DatasetName::Mnist`] reads four IDX files from the folder `mnist` of
    /// [`data_dir`](LoadOptions::data_dir): `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
    /// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each under this name or with `.gz`
    /// added (or with a dot for the second dash). The 28x28 images get a border of two black
    /// pixels. The files may hold fewer images than the canonical ones, not more. A limit beyond
    /// the end of a file takes all of it.
    ///
    /// [`DatasetName::Shapes`] draws [`shapes::TRAINING_IMAGES`] and [`shapes::TEST_IMAGES`]
    /// images; limits may be larger than these numbers, up to [`shapes::MOST_IMAGES`], and then
    /// draw more.
    ///
    /// # Errors
    ///
    /// [`DataError::NoDataDir`] where files are needed and no folder was given,
    /// [`DataError::File`] for a file that is missing, unreadable or not what it should be (its
    /// [`fault`](crate::FileError::fault) says which), [`DataError::NoTrainingImages`] and
    /// [`DataError::TooManyImages`] for a limit out of range.
    pub fn load(name: DatasetName, options: &LoadOptions) -> Result<Self, DataError> {
        if options.limit_train == Some(0) {
            return Err(DataError::NoTrainingImages { dataset: name });
        }
        match name {
            DatasetName::Shapes => shapes::load(options),
            DatasetName::Mnist => mnist::load(options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in DatasetName::ALL {
            assert_eq!(name.to_string().parse::<DatasetName>().unwrap(), name);
        }
        assert_eq!("MNIST".parse::<DatasetName>().unwrap(), DatasetName::Mnist);
        let error = "mnist ".parse::<DatasetName>().unwrap_err();
        assert!(matches!(error, DataError::UnknownDataset { .. }));
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        for name in DatasetName::ALL {
            let options = LoadOptions { limit_train: Some(0), ..Default::default() };
            let error = Dataset::load(name, &options).unwrap_err();
            assert!(matches!(error, DataError::NoTrainingImages { .. }), "{error}");
        }
        let most = usize::MAX;
        for (limit_train, limit_test) in [(Some(most), Some(1)), (Some(1), Some(most))] {
            let options = LoadOptions { limit_train, limit_test, ..Default::default() };
            let error = Dataset::load(DatasetName::Shapes, &options).unwrap_err();
            assert!(matches!(error, DataError::TooManyImages { .. }), "{error}");
        }
    }

    #[test]
    fn files_without_a_folder_are_asked_for_in_one_line() {
        let error = Dataset::load(DatasetName::Mnist, &LoadOptions::default()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("--data-dir DIR") && text.contains("DIR/mnist/"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
