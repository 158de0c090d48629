//! Errors of loading data sets and cutting them into batches; every message is one line.

use std::path::PathBuf;

use crate::formats::error::FileError;
use crate::name::DatasetName;
use crate::text::{OneLine, one_line};

/// An error of loading a data set or cutting it into batches.
///
/// Every variant displays as a single line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file is missing, cannot be read, or does not hold what it should.
    #[error(transparent)]
    File(#[from] Box<FileError>),

    /// A data set kept in files was asked for without saying where the files lie.
    #[error(
        "{dataset} is read from files, and no data folder DIR is given: it needs {files}{}",
        citation.map_or(String::new(), |citation| format!("; they come from {citation}"))
    )]
    NoDataDir {
        /// The data set asked for.
        dataset: DatasetName,
        /// The files in words, by their place below `DIR`.
        files: &'static str,
        /// Authors, title and address of the canonical files; none for the user's own images.
        citation: Option<&'static str>,
    },

    /// A folder does not hold images by classes.
    #[error("{path}: {message}", path = OneLine(path))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },

    /// A file that is no image, or not one that can be read.
    #[error("{path}: it cannot be read as a PNG or JPEG image: {message}", path = OneLine(path))]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },

    /// Images of a class that others do not have.
    #[error(
        "there is no class {class:?} among {}: leave its images out, or give it one of these names",
        one_line(&known.join(", "))
    )]
    UnknownClass {
        /// The name of the class.
        class: String,
        /// The names of the classes that there are.
        known: Vec<String>,
    },

    /// No data set has this name.
    #[error("unknown data set {name:?}: expected one of {}", known_names())]
    UnknownDataset {
        /// The name that was given.
        name: String,
    },

    /// A training set was limited to no image at all.
    #[error("the limit on training images of {dataset} must be at least 1, not 0")]
    NoTrainingImages {
        /// The data set asked for.
        dataset: DatasetName,
    },

    /// More images of a drawn set were asked for than fit a reasonable memory.
    #[error("{dataset} has at most {most} {split} images, not {found}")]
    TooManyImages {
        /// The data set asked for.
        dataset: DatasetName,
        /// `"training"` or `"test"`.
        split: &'static str,
        /// The greatest limit accepted.
        most: usize,
        /// The limit that was given.
        found: usize,
    },

    /// An image set needs at least one channel, row, column and class, at most 256 classes, and
    /// an image size that fits the address space.
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
        "an image set with {labels} labels needs {labels} images of {image_len} bytes each, \
         found {found} bytes of pixels"
    )]
    PixelCount {
        /// Number of labels.
        labels: usize,
        /// Bytes of one image: channels x height x width.
        image_len: usize,
        /// Bytes of pixels that were given.
        found: usize,
    },

    /// A label names no class of its set.
    #[error("expected labels below {classes}, found label {label} at image {index}")]
    Label {
        /// Position of the label in the set.
        index: usize,
        /// The label that was given.
        label: u8,
        /// Number of classes of the set.
        classes: usize,
    },

    /// A normalization does not fit the set, or would divide by something other than a positive
    /// finite number.
    #[error(
        "a set of {channels} channels needs as many finite means and positive deviations, \
         found means {mean:?} and deviations {deviation:?}"
    )]
    Normalization {
        /// Number of channels of the set.
        channels: usize,
        /// The means that were given.
        mean: Vec<f32>,
        /// The deviations that were given.
        deviation: Vec<f32>,
    },

    /// Statistics of a set without images were asked for.
    #[error("a set without images has no mean and no deviation")]
    NoImages,

    /// A batch must hold at least one image.
    #[error("the batch size must be at least 1, not 0")]
    BatchSize,

    /// A crop could miss the image altogether.
    #[error("a crop padding must be smaller than the image ({height}x{width}), not {padding}")]
    Padding {
        /// The padding that was given, in pixels.
        padding: usize,
        /// Number of rows of an image.
        height: usize,
        /// Number of columns of an image.
        width: usize,
    },
}

impl DataError {
    /// The file this error is about, where it is about a file.
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
        let text = "unknown data set \"cats\": expected one of shapes, mnist, cifar10, cifar100, svhn, folder";
        assert_eq!(error.to_string(), text);
    }
}
