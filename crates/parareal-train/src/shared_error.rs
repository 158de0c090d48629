//! Errors that are shared between the processes of a run.

use std::fmt::Display;

use crate::error::TrainError;

/// An error that can be shared between the processes of a group.
pub trait SharedError: Display + From<TrainError> + Sized {
    /// Returns true for invalid input, and false for a failure at run time.
    fn is_bad_input(&self) -> bool;

    /// Returns true if all processes of a group know the error, so that they can end together.
    fn is_agreed(&self) -> bool;

    /// Wraps an error that is known to all processes and reported by this one. `rank` is the rank that has the
    /// error, or `None` if all ranks have it. `bad_input` is true if the errors of all failed ranks are invalid
    /// input.
    fn agreed(self, rank: Option<usize>, bad_input: bool) -> Self;

    /// Creates the error for a process if another process reports the failure.
    fn elsewhere(message: String, bad_input: bool) -> Self {
        TrainError::Elsewhere { message, bad_input }.into()
    }
}

impl SharedError for TrainError {
    fn is_bad_input(&self) -> bool {
        self.is_bad_input()
    }

    fn is_agreed(&self) -> bool {
        matches!(self, Self::Agreed { .. } | Self::Elsewhere { .. })
    }

    fn agreed(self, rank: Option<usize>, bad_input: bool) -> Self {
        Self::Agreed { rank, error: Box::new(self), bad_input }
    }
}
