use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::error::MpiError;
use crate::progress_thread::{Command, Completion, Operation};
use crate::raw::exit_immediately;

/// The time to wait for an abort before the process exits on its own.
const ABORT: Duration = Duration::from_secs(5);
/// The time that the launcher has to forward what this process has printed. MPICH's launcher may drop what arrives
/// together with an abort.
const FORWARD: Duration = Duration::from_millis(200);

/// A handle to the progress thread that submits commands and counts bytes.
#[derive(Clone)]
pub(crate) struct ProgressHandle(Arc<Shared>);

/// A handle that does not keep the progress thread alive.
pub(crate) struct WeakProgressHandle(Weak<Shared>);

impl WeakProgressHandle {
    pub(crate) fn upgrade(&self) -> Option<ProgressHandle> {
        self.0.upgrade().map(ProgressHandle)
    }
}

struct Shared {
    commands: Sender<Command>,
    traffic: Mutex<Traffic>,
    next_request: AtomicU64,
}

/// The traffic of this rank so far, without heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Number of messages sent to another rank.
    pub messages: u64,
    /// Bytes of these messages.
    pub sent: u64,
    /// Number of collective operations: all-reduces, all-gathers, broadcasts and splits.
    pub collectives: u64,
    /// Bytes contributed to all-reduces; a ring of `R` ranks sends `2 (R - 1) / R` of them.
    pub reduced: u64,
    /// Bytes of the results of all-gathers and broadcasts, which arrive at every rank.
    pub gathered: u64,
}

impl ProgressHandle {
    pub(crate) fn new(commands: Sender<Command>) -> Self {
        let (traffic, next_request) = (Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Shared { commands, traffic, next_request }))
    }

    pub(crate) fn downgrade(&self) -> WeakProgressHandle {
        WeakProgressHandle(Arc::downgrade(&self.0))
    }

    /// Ends all ranks on all machines with this exit code.
    pub(crate) fn abort(&self, code: i32) -> ! {
        std::thread::sleep(FORWARD);
        if self.submit(Command::Abort { code }).is_err() {
            std::process::exit(code);
        }
        std::thread::sleep(ABORT);
        // A call of MPI has not returned, so exit handlers must not run.
        let _ = std::io::stdout().flush();
        exit_immediately(code)
    }

    pub(crate) fn submit(&self, command: Command) -> Result<(), MpiError> {
        self.count(&command);
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

    /// Counts a command.
    fn count(&self, command: &Command) {
        let mut traffic = self.0.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        let operation = match command {
            Command::Start { operation, .. } => operation,
            Command::Split { .. } => {
                traffic.collectives += 1;
                return;
            }
            _ => return,
        };
        match operation {
            Operation::Send { data, .. } => {
                traffic.messages += 1;
                traffic.sent += (**data).as_ref().len() as u64;
            }
            Operation::Receive { .. } => {}
            Operation::Broadcast { buffer, .. } => {
                traffic.collectives += 1;
                traffic.gathered += buffer.len() as u64;
            }
            Operation::AllGather { lengths, .. } => {
                traffic.collectives += 1;
                traffic.gathered += lengths.iter().sum::<usize>() as u64;
            }
            Operation::SumF32(terms) => {
                traffic.collectives += 1;
                traffic.reduced += size_of_val(&terms[..]) as u64;
            }
            Operation::SumF64(terms) => {
                traffic.collectives += 1;
                traffic.reduced += size_of_val(&terms[..]) as u64;
            }
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        *self.0.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
