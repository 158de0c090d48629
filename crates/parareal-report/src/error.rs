//! Errors of reports.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use parareal_text::OneLine;
use thiserror::Error;

/// The reason that a report cannot be created.
///
/// Every message is one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// No folder was given.
    #[error("a report requires at least one run")]
    NoRuns,
    /// A folder was given twice.
    #[error("{} is given twice; name each run once", OneLine(path))]
    Twice {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that is not the folder of a run.
    #[error("{} is not the folder of a run: it has no {missing}", OneLine(path))]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// The file that is missing.
        missing: &'static str,
    },
    /// A file with unexpected content.
    #[error("{}{}: {message}", OneLine(path), Place(*line))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1, if known.
        line: Option<usize>,
        /// Description of the fault, with what was expected and how to fix it.
        message: String,
    },
    /// A file or folder that cannot be read.
    #[error("cannot read {}: {source}", OneLine(path))]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl ReportError {
    /// Returns true if the input is wrong, and false if something failed while running.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Self::File { .. })
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { path, source }
    }

    pub(crate) fn malformed(path: &Path, line: Option<usize>, message: impl fmt::Display) -> Self {
        let message = message.to_string().lines().collect::<Vec<_>>().join(", ");
        Self::Malformed { path: path.to_path_buf(), line, message }
    }
}

/// Returns the message of the JSON parser without the position, which is relative to the parsed text instead
/// of the file.
pub(crate) fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

struct Place(Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(formatter, ": line {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line() {
        let error = ReportError::malformed(Path::new("a\nb"), Some(3), "one\ntwo");
        assert_eq!(error.to_string(), "a\\nb: line 3: one, two");
        assert!(error.is_bad_input());
        let error = ReportError::file(Path::new("x"))(io::Error::other("no disk"));
        assert_eq!(error.to_string(), "cannot read x: no disk");
        assert!(!error.is_bad_input());
    }

    #[test]
    fn a_json_message_has_no_position() {
        let error = serde_json::from_str::<u8>("[1").unwrap_err();
        assert!(!json_message(&error).contains("line 1"), "{}", json_message(&error));
    }
}
