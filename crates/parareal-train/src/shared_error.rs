//! Errors that the processes of a run share.

use std::fmt::Display;

use crate::error::TrainError;

/// An error that the processes of a group can share.
pub trait SharedError: Display + From<TrainError> + Sized {
    /// Returns true if the input is wrong, and false if something failed while running.
    fn is_bad_input(&self) -> bool;

    /// Returns true if all processes of a group know of it, so that they can end together.
    fn is_agreed(&self) -> bool;

    /// Wraps an error that all processes know of and that this one reports, of the rank that has it, or of
    /// all ranks with `None`. `bad_input` says the same of the errors of all of them.
    fn agreed(self, rank: Option<usize>, bad_input: bool) -> Self;

    /// Creates an error that another process reports.
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
