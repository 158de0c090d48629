//! What can go wrong, as types; every message is one line.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::dataset::DatasetName;

/// Why a data set could not be loaded or cut into batches.
///
/// The `Display` text of every variant is a single line meant for a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file is missing, cannot be read, or does not hold what it should.
    #[error(transparent)]
    File(#[from] Box<FileError>),

    /// A data set kept in files was asked for without saying where the files lie.
    #[error(
        "{dataset} is read from files: give --data-dir DIR with {files}; they come from {origin}{}",
        fetch_advice(*dataset)
    )]
    NoDataDir {
        /// The data set asked for.
        dataset: DatasetName,
        /// The files in words, by their place below `DIR`.
        files: &'static str,
        /// Where its canonical files come from.
        origin: &'static str,
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

/// What is wrong with one file.
///
/// Displays as one line naming the file, what was expected, what was found and where the
/// canonical file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The file (for a missing file: the plain form of its name).
    pub path: PathBuf,
    /// The kind of fault, for code that tells them apart.
    pub fault: FileFault,
    /// What the file should hold, in words.
    pub expected: String,
    /// What it holds instead, in words.
    pub found: String,
    /// Where the canonical file comes from.
    pub origin: &'static str,
}

impl fmt::Display for FileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = OneLine(&self.path);
        let Self { expected, found, origin, .. } = self;
        write!(
            formatter,
            "{path}: expected {expected}, found {found}; the canonical file comes from {origin}"
        )
    }
}

impl std::error::Error for FileError {}

/// The kinds of fault of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileFault {
    /// None of the accepted forms of the file exists.
    Missing,
    /// The file exists and the system refuses to read it, or it is no regular file.
    Unreadable,
    /// The file is of another format, or its compressed form is damaged.
    Foreign,
    /// The header states dimensions or a count that this data set does not have.
    Dimensions,
    /// The file ends before its last item.
    Truncated,
    /// Bytes follow the last item.
    Trailing,
    /// A label names no class.
    Label,
    /// The number of labels is not the number of images, or there are too few of either.
    Count,
    /// The file holds more than the canonical one does, or unpacks to more.
    TooLarge,
    /// The file is an archive with an entry that would leave the folder it is unpacked in, or a
    /// link. (Archives are read in memory; nothing is unpacked.)
    Escape,
}

/// A text in which control characters are written as escapes, so that a message stays on one line:
/// names of files and what they hold may have some.
#[must_use]
pub fn one_line(text: &str) -> String {
    let escaped = |character: char| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.into(),
    };
    text.chars().map(escaped).collect()
}

/// A path shown as [`one_line`].
pub struct OneLine<'a>(pub &'a Path);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&one_line(&self.0.to_string_lossy()))
    }
}

/// How to get the files where they are published.
fn fetch_advice(dataset: DatasetName) -> String {
    match dataset {
        DatasetName::Folder => String::new(),
        _ => format!("; `parareal data fetch {dataset} --data-dir DIR` gets them"),
    }
}

fn known_names() -> String {
    DatasetName::ALL.map(|name| name.to_string()).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_line_break_is_shown_on_one_line() {
        let error = FileError {
            path: PathBuf::from("a\nb"),
            fault: FileFault::Missing,
            expected: "one".into(),
            found: "two".into(),
            origin: "three",
        };
        let text = error.to_string();
        assert_eq!(text, "a\\nb: expected one, found two; the canonical file comes from three");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = DataError::UnknownDataset { name: "cats".into() };
        let text = "unknown data set \"cats\": expected one of shapes, mnist, cifar10, cifar100, svhn, folder";
        assert_eq!(error.to_string(), text);
    }
}
