//! Advice on flags and commands for errors of the libraries, which know neither.

mod train;
mod vision;

use crate::failure::Failure;

/// Returns what to do about a failure, as the end of its line; `None` where the error says it all.
pub(crate) fn advice(failure: &Failure) -> Option<String> {
    match failure {
        Failure::Vision(error) => vision::of_vision(error),
        _ => None,
    }
}
