use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use crate::exec::collectives::Disconnected;

/// The first communication error between ranks. Workers are told only that they cannot continue.
#[derive(Clone, Default)]
pub(super) struct FirstError(Arc<Mutex<Option<String>>>);

impl FirstError {
    /// Keeps an error, unless there is an earlier one.
    pub(super) fn note(&self, error: impl Display) -> Disconnected {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| error.to_string());
        Disconnected
    }

    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
