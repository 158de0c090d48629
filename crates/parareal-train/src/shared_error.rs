//! Errors that are shared between the processes of a run.

use std::fmt::Display;

use crate::error::TrainError;

/// An error that can be shared between the processes of a group.
pub trait SharedError: Display + From<TrainError> + Sized {
    /// Returns true if the input is wrong, and false if something failed while running.
    fn is_bad_input(&self) -> bool;

    /// Returns true if all processes of a group know the error, so that they can end together.
    fn is_agreed(&self) -> bool;

    /// Wraps an error that all processes know and that this one reports. `rank` is the rank that has it,
    /// or `None` if all have it. `bad_input` is true if all ranks with an error have bad input.
    fn agreed(self, rank: Option<usize>, bad_input: bool) -> Self;

    /// Creates the error for a process that leaves the report to another one.
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
