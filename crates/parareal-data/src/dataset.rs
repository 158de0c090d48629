//! Choosing and loading a data set.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::augment::Augmentation;
use crate::error::DataError;
use crate::image_set::ImageSet;
use crate::normalization::Normalization;
use crate::preprocessing::Preprocessing;
use crate::source::{Loaded, Source};
use crate::{cifar, folder, mnist, shapes, svhn};

/// The data sets this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatasetName {
    /// Coloured shapes drawn by the program itself: 3x32x32 pixels, ten classes.
    Shapes,
    /// Handwritten digits, padded to 1x32x32 pixels, ten classes.
    Mnist,
    /// Photographs of ten kinds of things, 3x32x32 pixels.
    Cifar10,
    /// Photographs of a hundred kinds of things, 3x32x32 pixels.
    Cifar100,
    /// House numbers cut into digits, 3x32x32 pixels, ten classes.
    Svhn,
    /// A person's own images, one folder for each class, scaled to 3x32x32 pixels.
    Folder,
}

impl DatasetName {
    /// All names, in the order in which they should be offered.
    pub const ALL: [Self; 6] =
        [Self::Shapes, Self::Mnist, Self::Cifar10, Self::Cifar100, Self::Svhn, Self::Folder];

    /// The name as it is written: `"shapes"`, `"mnist"`, `"cifar10"`, `"cifar100"`, `"svhn"` or
    /// `"folder"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shapes => "shapes",
            Self::Mnist => "mnist",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::Svhn => "svhn",
            Self::Folder => "folder",
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
    /// Size, channels and padding that each image was brought to.
    pub preprocessing: Preprocessing,
    /// Constants of the set: they are those of its full training images whatever the limits, so
    /// that a network trained on some images can be judged on others.
    ///
    /// Those of the shapes and of MNIST (with its border) were measured here. Those of CIFAR-10,
    /// CIFAR-100 (50,000 images each) and SVHN (73,257 images, without the extra ones) are the
    /// constants that are commonly published for them, rounded to four digits; the tests compare
    /// them with what the subsets at hand measure.
    pub normalization: Normalization,
    /// How the training images of this set are usually changed: not at all for the built-in shapes
    /// and for digits, cropped with a padding of 4 and mirrored for photographs.
    pub augmentation: Augmentation,
    /// What each class is called, from class 0 on; as many as there are classes.
    pub class_names: Vec<String>,
    /// What a person should know about the images, one line each, nothing where all is as it should
    /// be: that the files hold fewer images than the canonical ones, that test images were held
    /// out of the training images.
    pub notes: Vec<String>,
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
    /// Files lie in a folder of [`data_dir`](LoadOptions::data_dir), or in that folder itself; each is
    /// found under its name or with `.gz` added, and unpacked where it is compressed. Files may hold fewer images than
    /// the canonical ones, which [`notes`](Self::notes) then tells, not more. They are checked as a
    /// whole whatever the limits; a limit beyond the end of a set takes all of it.
    ///
    /// [`DatasetName::Shapes`] draws [`shapes::TRAINING_IMAGES`] and [`shapes::TEST_IMAGES`]
    /// images; limits may be larger than these numbers, up to [`shapes::MOST_IMAGES`], and then
    /// draw more.
    ///
    /// [`DatasetName::Mnist`] reads four IDX files from the folder `mnist`:
    /// `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    /// `t10k-labels-idx1-ubyte` (or with a dot for the second dash). The 28x28 images get a border
    /// of two black pixels.
    ///
    /// [`DatasetName::Cifar10`] reads the binary version from the folder `cifar-10` (or
    /// `cifar10`): `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, or those in its
    /// folder `cifar-10-batches-bin`, or, where none of them is there, `cifar-10-binary.tar.gz` as
    /// it was downloaded. [`DatasetName::Cifar100`] likewise: `train.bin`, `test.bin`, the folder
    /// `cifar-100-binary`, `cifar-100-binary.tar.gz`, all in the folder `cifar-100` (or
    /// `cifar100`). Its classes are the fine ones.
    ///
    /// [`DatasetName::Svhn`] reads `train_32x32.mat` and `test_32x32.mat` from the folder `svhn`.
    ///
    /// [`DatasetName::Folder`] reads the PNG and JPEG files of `DIR/CLASS` for each class, or of
    /// `DIR/train/CLASS` and `DIR/test/CLASS` (or `val`, `valid`, `validation` in the place of
    /// `test`), where `DIR` is the data folder itself. Images in deeper folders belong to the class
    /// as well; hidden files are ignored, and all else that is left out is named in
    /// [`notes`](Self::notes). Classes are numbered in the order of their names; images are scaled as
    /// [`Preprocessing::read`] does, and come in a random order that is always the same.
    ///
    /// Where CIFAR, SVHN or a folder has no test images, every tenth training image of each class, in a random order that
    /// is always the same, is held out as a test image, whether test images are asked for or not.
    ///
    /// # Errors
    ///
    /// [`DataError::NoDataDir`] where files are needed and no folder was given,
    /// [`DataError::File`] for a file that is missing, unreadable or not what it should be (its
    /// [`fault`](crate::FileError::fault) says which), [`DataError::NoTrainingImages`] and
    /// [`DataError::TooManyImages`] for a limit out of range.
    pub fn load(name: DatasetName, options: &LoadOptions) -> Result<Self, DataError> {
        Ok(load(name, options)?.dataset)
    }

    /// The same images with the classes numbered as in `names`, by their names. Some of `names` may
    /// be without images.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownClass`] for a class that is not among `names`.
    pub fn with_classes(self, names: &[String]) -> Result<Self, DataError> {
        let numbers = self.class_names.iter().map(|class| {
            let number = names.iter().position(|name| name == class);
            let unknown =
                || DataError::UnknownClass { class: class.clone(), known: names.to_vec() };
            number.and_then(|number| number.try_into().ok()).ok_or_else(unknown)
        });
        let numbers = numbers.collect::<Result<Vec<u8>, _>>()?;
        let relabeled = |set: ImageSet| set.relabeled(&numbers, names.len());
        Ok(Self {
            train: relabeled(self.train)?,
            test: self.test.map(relabeled).transpose()?,
            class_names: names.to_vec(),
            ..self
        })
    }
}

/// Loads a data set and tells what it was read from.
pub(crate) fn load(name: DatasetName, options: &LoadOptions) -> Result<Loaded, DataError> {
    if options.limit_train == Some(0) {
        return Err(DataError::NoTrainingImages { dataset: name });
    }
    match name {
        DatasetName::Shapes => shapes::load(options),
        DatasetName::Mnist => mnist::load(options),
        DatasetName::Cifar10 => cifar::CIFAR_10.load(options),
        DatasetName::Cifar100 => cifar::CIFAR_100.load(options),
        DatasetName::Svhn => svhn::load(options),
        DatasetName::Folder => folder::load(options),
    }
}

/// What a data set that is published as files is read from.
pub(crate) fn source(name: DatasetName) -> Option<&'static Source> {
    match name {
        DatasetName::Shapes | DatasetName::Folder => None,
        DatasetName::Mnist => Some(&mnist::SOURCE),
        DatasetName::Cifar10 => Some(&cifar::CIFAR_10.source),
        DatasetName::Cifar100 => Some(&cifar::CIFAR_100.source),
        DatasetName::Svhn => Some(&svhn::SOURCE),
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
        for (name, folder) in [
            (DatasetName::Mnist, "DIR/mnist/"),
            (DatasetName::Cifar10, "DIR/cifar-10/"),
            (DatasetName::Cifar100, "DIR/cifar-100/"),
            (DatasetName::Svhn, "DIR/svhn/"),
            (DatasetName::Folder, "a folder for each class"),
        ] {
            let error = Dataset::load(name, &LoadOptions::default()).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("--data-dir DIR") && text.contains(folder), "{text}");
            assert_eq!(text.lines().count(), 1);
        }
    }
}
