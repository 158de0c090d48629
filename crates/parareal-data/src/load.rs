//! Loading a data set by its name.

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::images::preprocessing::STRETCHED;
use crate::name::DatasetName;
use crate::options::LoadOptions;
use crate::progress::LoadProgress;
use crate::sets::definition::Loaded;
use crate::sets::{self, folder};

impl Dataset {
    /// Loads a data set.
    ///
    /// [`DatasetName`] lists the files of each set. They are read from a subfolder of
    /// [`data_dir`](LoadOptions::data_dir) or from `data_dir` itself. A file name may have `.gz`
    /// appended, and compressed files are decompressed. Files may hold fewer images than the
    /// canonical ones, which is reported in [`notes`](Self::notes), but not more. Files are checked
    /// completely, regardless of the limits. A limit larger than the number of images in the files
    /// selects all of them.
    ///
    /// If CIFAR, SVHN or a folder has no test images, every tenth training image of each class is
    /// held out as a test image, in a fixed random order. The same images are held out whether or
    /// not test images are requested.
    ///
    /// Of a folder of images larger than 32x32 ([`image_size`](LoadOptions::image_size)), only the headers of the files are
    /// checked. A file that is damaged after its header is an error of the [batch](crate::Batches) with its image.
    ///
    /// # Errors
    ///
    /// [`DataError::NoDataDir`] if files are needed and no folder was given, [`DataError::File`] if
    /// a file is missing, unreadable or damaged (see its [`fault`](crate::FileError::fault)),
    /// [`DataError::Folder`] and [`DataError::Image`] for folders of images,
    /// [`DataError::NoTrainingImages`] and [`DataError::TooManyImages`] for a limit out of range,
    /// [`DataError::ImageSize`] for an impossible size of images.
    pub fn load(name: DatasetName, options: &LoadOptions) -> Result<Self, DataError> {
        Self::load_with(name, options, &|_| {})
    }

    /// Loads a data set as [`load`](Self::load) does. `progress` is called from time to time while a folder of images larger
    /// than 32x32 is indexed.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_with(
        name: DatasetName,
        options: &LoadOptions,
        progress: &dyn Fn(LoadProgress),
    ) -> Result<Self, DataError> {
        Ok(load(name, options, progress)?.dataset)
    }

    /// Loads images on which a network is to be evaluated that was trained on other ones.
    ///
    /// For a folder of images, these are all images of its folder `test` (or `val`, `valid`, `validation`), for
    /// which no training images are needed, or all images of the folder if it has no such folder. A single
    /// class is enough. [`train`](Self::train) is then empty. For all other sets, this is [`load`](Self::load).
    /// `progress` is as in [`load_with`](Self::load_with).
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_for_evaluation(
        name: DatasetName,
        options: &LoadOptions,
        progress: &dyn Fn(LoadProgress),
    ) -> Result<Self, DataError> {
        check_size(name, options)?;
        match name {
            DatasetName::Folder => folder::load_for_evaluation(options, progress),
            _ => Self::load_with(name, options, progress),
        }
    }
}

/// Loads a data set and returns it with the paths of the files from which it was read.
pub(crate) fn load(
    name: DatasetName,
    options: &LoadOptions,
    progress: &dyn Fn(LoadProgress),
) -> Result<Loaded, DataError> {
    if options.limit_train == Some(0) {
        return Err(DataError::NoTrainingImages { dataset: name });
    }
    check_size(name, options)?;
    (sets::definition(name).load)(options, progress)
}

/// Checks the size of the images.
fn check_size(dataset: DatasetName, options: &LoadOptions) -> Result<(), DataError> {
    let (expected, is_possible) = match dataset {
        DatasetName::Folder => {
            let is_possible = LoadOptions::accepts_image_size(options.side());
            ("a multiple of 4 from 32 to 1024", is_possible)
        }
        _ => ("32", options.side() == STRETCHED),
    };
    match is_possible {
        true => Ok(()),
        false => Err(DataError::ImageSize { dataset, expected, found: options.side() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_out_of_range_are_refused() {
        for name in DatasetName::ALL {
            let options = LoadOptions { limit_train: Some(0), ..Default::default() };
            let error = Dataset::load(name, &options).unwrap_err();
            assert!(matches!(error, DataError::NoTrainingImages { .. }), "{error}");
        }
        let max = usize::MAX;
        for (limit_train, limit_test) in [(Some(max), Some(1)), (Some(1), Some(max))] {
            let options = LoadOptions { limit_train, limit_test, ..Default::default() };
            let error = Dataset::load(DatasetName::Shapes, &options).unwrap_err();
            assert!(matches!(error, DataError::TooManyImages { .. }), "{error}");
        }
    }

    #[test]
    fn sizes_that_a_set_does_not_have_are_refused() {
        for name in DatasetName::ALL {
            let sizes: &[usize] = match name {
                DatasetName::Folder => &[0, 31, 1025, usize::MAX],
                _ => &[0, 31, 33, 64],
            };
            for &size in sizes {
                let options = LoadOptions { image_size: Some(size), ..Default::default() };
                for error in [
                    Dataset::load(name, &options).unwrap_err(),
                    Dataset::load_for_evaluation(name, &options, &|_| {}).unwrap_err(),
                ] {
                    assert!(matches!(error, DataError::ImageSize { .. }), "{error}");
                    assert_eq!(error.to_string().lines().count(), 1);
                }
            }
        }
    }

    #[test]
    fn files_without_a_folder_are_an_error_of_one_line() {
        for (name, folder) in [
            (DatasetName::Mnist, "DIR/mnist/"),
            (DatasetName::Cifar10, "DIR/cifar-10/"),
            (DatasetName::Cifar100, "DIR/cifar-100/"),
            (DatasetName::Svhn, "DIR/svhn/"),
            (DatasetName::Folder, "files for each class"),
        ] {
            let error = Dataset::load(name, &LoadOptions::default()).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("no data folder DIR") && text.contains(folder), "{text}");
            assert_eq!(text.lines().count(), 1);
        }
    }
}
