use std::sync::mpsc::{Receiver, TryRecvError};

use crate::error::MpiError;
use crate::progress_handle::ProgressHandle;
use crate::progress_thread::Command;

/// A nonblocking operation, and its result once it is complete.
///
/// Dropping a request does not wait for it. Dropping a receive cancels it, unless its message has already started
/// to arrive.
pub struct Request<T> {
    result: Receiver<Result<T, MpiError>>,
    progress: ProgressHandle,
    /// Number of the pending receive that is canceled on drop; `None` for other operations, and after completion.
    cancels: Option<u64>,
}

impl<T> Request<T> {
    pub(crate) fn new(
        result: Receiver<Result<T, MpiError>>,
        progress: ProgressHandle,
        cancels: Option<u64>,
    ) -> Self {
        Self { result, progress, cancels }
    }

    /// Waits until the operation is complete and returns its result.
    ///
    /// # Errors
    /// The error of the operation, or [`MpiError::ThreadStopped`].
    pub fn wait(mut self) -> Result<T, MpiError> {
        self.cancels = None;
        self.result.recv().map_err(|_| MpiError::ThreadStopped)?
    }

    /// Returns the result if the operation is complete, and `None` before. The result is returned only once.
    ///
    /// # Errors
    /// The error of the operation, or [`MpiError::ThreadStopped`].
    pub fn test(&mut self) -> Result<Option<T>, MpiError> {
        match self.result.try_recv() {
            Ok(result) => {
                self.cancels = None;
                result.map(Some)
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(MpiError::ThreadStopped),
        }
    }
}

impl<T> Drop for Request<T> {
    fn drop(&mut self) {
        if let Some(request) = self.cancels {
            let _ = self.progress.submit(Command::Cancel { request });
        }
    }
}
