use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use crate::error::MpiError;
use crate::progress_thread::{Command, Completion, Operation};

/// A handle to the progress thread that submits commands and counts bytes.
#[derive(Clone)]
pub(crate) struct ProgressHandle(Arc<Shared>);

struct Shared {
    commands: Sender<Command>,
    bytes_sent: AtomicU64,
    bytes_reduced: AtomicU64,
    next_request: AtomicU64,
}

/// The traffic of this rank so far, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of point-to-point messages.
    pub sent: u64,
    /// Bytes contributed to all-reduces; a ring of `R` ranks sends `2 (R - 1) / R` of them.
    pub reduced: u64,
}

impl ProgressHandle {
    pub(crate) fn new(commands: Sender<Command>) -> Self {
        let [bytes_sent, bytes_reduced, next_request] = [(); 3].map(|()| AtomicU64::new(0));
        Self(Arc::new(Shared { commands, bytes_sent, bytes_reduced, next_request }))
    }

    pub(crate) fn submit(&self, command: Command) -> Result<(), MpiError> {
        self.0.commands.send(command).map_err(|_| MpiError::ThreadStopped)
    }

    /// Starts an operation and returns the number of its request.
    pub(crate) fn start(
        &self,
        communicator: usize,
        operation: Operation,
        completion: Completion,
    ) -> Result<u64, MpiError> {
        let request = self.0.next_request.fetch_add(1, Ordering::Relaxed);
        self.submit(Command::Start { communicator, operation, completion, request })?;
        Ok(request)
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.0.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_reduced(&self, bytes: usize) {
        self.0.bytes_reduced.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic { sent: load(&self.0.bytes_sent), reduced: load(&self.0.bytes_reduced) }
    }
}
