//! Errors from reading a file; every message is one line.

use std::fmt;
use std::path::PathBuf;

use parareal_text::OneLine;

/// An error from reading one file.
///
/// Displays as one line with the file, the expected contents, the contents found and the source of
/// the canonical file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileError {
    /// Path of the file (for a missing file: without `.gz`).
    pub path: PathBuf,
    /// Kind of problem.
    pub fault: FileFault,
    /// Description of the expected contents.
    pub expected: String,
    /// Description of the contents found instead.
    pub found: String,
    /// Source of the canonical file: authors, title and address.
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

/// Kind of problem with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileFault {
    /// None of the accepted forms of the file exists.
    Missing,
    /// The file exists but cannot be read, or is not a regular file.
    Unreadable,
    /// The file has a different format, or its compressed data are damaged.
    Foreign,
    /// The header states dimensions or a count that are not possible for this data set.
    Dimensions,
    /// The file ends before its last item.
    Truncated,
    /// Bytes follow the last item.
    Trailing,
    /// A label is not a valid class number.
    Label,
    /// The numbers of labels and images differ, or there are too few of either.
    Count,
    /// The file, or what it unpacks to, is larger than the canonical one.
    TooLarge,
    /// The file is an archive with a link, a device, or an entry that would be unpacked outside its
    /// folder. (Archives are read in memory; nothing is unpacked.)
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
