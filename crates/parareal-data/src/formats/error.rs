//! Errors of reading a file; every message is one line.

use std::fmt;
use std::path::PathBuf;

use crate::text::OneLine;

/// An error of reading one file.
///
/// Displays as one line naming the file, what was expected, what was found and where the
/// canonical file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
}
