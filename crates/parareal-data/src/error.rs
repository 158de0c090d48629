//! Errors from loading data sets and splitting them into batches; every message is one line.

use std::path::PathBuf;

use parareal_text::{OneLine, list};

use crate::formats::error::FileError;
use crate::name::DatasetName;

/// Largest number of classes that a message lists.
const LISTED_CLASSES: usize = 20;

/// An error from loading a data set or splitting it into batches.
///
/// Every variant displays as a single line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file is missing, unreadable or damaged.
    #[error(transparent)]
    File(#[from] Box<FileError>),

    /// No data folder was given for a data set that is read from files.
    #[error(
        "{dataset} is read from files, but no data folder DIR was given: it needs {files}{}",
        citation.map_or(String::new(), |citation| format!("; they are available from {citation}"))
    )]
    NoDataDir {
        /// The requested data set.
        dataset: DatasetName,
        /// Description of the expected files, with their paths below `DIR`.
        files: &'static str,
        /// Authors, title and address of the canonical files; `None` for the user's own images.
        citation: Option<&'static str>,
    },

    /// A folder of images cannot be read, or does not have a suitable folder for each class.
    #[error("{path}: {message}", path = OneLine(path))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Description of the problem.
        message: String,
    },

    /// A file cannot be read as a PNG or JPEG image.
    #[error("cannot read {path} as a PNG or JPEG image: {message}", path = OneLine(path))]
    Image {
        /// The file.
        path: PathBuf,
        /// Description of the problem.
        message: String,
    },

    /// A class of images is not among the known classes.
    #[error(
        "unknown class `{}`: expected one of {}; remove its images, or rename it",
        class.escape_debug(),
        list(known, LISTED_CLASSES)
    )]
    UnknownClass {
        /// The name of the class.
        class: String,
        /// The names of the known classes.
        known: Vec<String>,
    },

    /// No data set has this name.
    #[error("unknown data set `{}`: expected one of {}", name.escape_debug(), known_names())]
    UnknownDataset {
        /// The given name.
        name: String,
    },

    /// The limit on training images is zero.
    #[error("the limit on training images of {dataset} must be at least 1, got 0")]
    NoTrainingImages {
        /// The requested data set.
        dataset: DatasetName,
    },

    /// The images of a data set cannot have this size.
    #[error("expected {expected} as the image size of {dataset}, got {found}")]
    ImageSize {
        /// The requested data set.
        dataset: DatasetName,
        /// Description of the possible sizes.
        expected: &'static str,
        /// The given size.
        found: usize,
    },

    /// A limit exceeds the maximum number of images that can be drawn.
    #[error("{dataset} has at most {max} {split} images, got {found}")]
    TooManyImages {
        /// The requested data set.
        dataset: DatasetName,
        /// `"training"` or `"test"`.
        split: &'static str,
        /// Maximum number of images.
        max: usize,
        /// The given limit.
        found: usize,
    },

    /// The shape of an image set is invalid. A set needs at least one channel, row, column and
    /// class, at most 65,536 classes, and an image size that fits the address space.
    #[error(
        "an image set cannot have {channels} channels of {height}x{width} pixels \
         and {classes} classes"
    )]
    Shape {
        /// Number of channels.
        channels: usize,
        /// Number of rows.
        height: usize,
        /// Number of columns.
        width: usize,
        /// Number of classes.
        classes: usize,
    },

    /// The number of pixels is not the number of labels times the size of an image.
    #[error(
        "expected {labels} images of {image_len} bytes each, one for each label, got {found} bytes \
         of pixels"
    )]
    PixelCount {
        /// Number of labels.
        labels: usize,
        /// Bytes of one image: channels x height x width.
        image_len: usize,
        /// Number of given bytes of pixels.
        found: usize,
    },

    /// A label is not less than the number of classes.
    #[error("expected labels below {classes}, got label {label} at image {index}")]
    Label {
        /// Position of the label in the set.
        index: usize,
        /// The label.
        label: u16,
        /// Number of classes of the set.
        classes: usize,
    },

    /// A normalization does not have as many channels as the set, a mean or deviation is not
    /// finite, or a deviation is not positive.
    #[error(
        "expected {channels} finite means and positive standard deviations, one for each channel, \
         got means {mean:?} and deviations {deviation:?}"
    )]
    Normalization {
        /// Number of channels of the set.
        channels: usize,
        /// The given means.
        mean: Vec<f32>,
        /// The given deviations.
        deviation: Vec<f32>,
    },

    /// Statistics were requested for an empty set.
    #[error("an image set without images has no mean and no standard deviation")]
    NoImages,

    /// The batch size is zero.
    #[error("the batch size must be at least 1, got 0")]
    BatchSize,

    /// The crop padding is not smaller than the image.
    #[error("the crop padding must be smaller than the image ({height}x{width}), got {padding}")]
    Padding {
        /// The given padding, in pixels.
        padding: usize,
        /// Number of rows of an image.
        height: usize,
        /// Number of columns of an image.
        width: usize,
    },

    /// The probability of erasing is not in [0, 1].
    #[error("the probability of erasing must be in [0, 1], got {probability}")]
    Probability {
        /// The given probability.
        probability: f64,
    },

    /// The parameter α of mixup or cutmix is negative or not finite.
    #[error(
        "invalid value `{alpha}` for {method}: expected 0 for none, or a positive number, for example 0.2"
    )]
    MixingAlpha {
        /// `"mixup"` or `"cutmix"`.
        method: &'static str,
        /// The given α.
        alpha: f64,
    },
}

impl DataError {
    /// Returns the file error, if this is one.
    pub fn file(&self) -> Option<&FileError> {
        match self {
            Self::File(error) => Some(error),
            _ => None,
        }
    }
}

fn known_names() -> String {
    DatasetName::ALL.map(DatasetName::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = DataError::UnknownDataset { name: "cats".into() };
        let text = "unknown data set `cats`: expected one of shapes, mnist, cifar10, cifar100, svhn, folder";
        assert_eq!(error.to_string(), text);
    }
}
