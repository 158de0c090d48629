use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::communicator::Communicator;
use crate::error::MpiError;
use crate::heartbeat::SilentRank;
use crate::progress_handle::{ProgressHandle, Traffic};
use crate::progress_thread::{self, Command, Membership};
use crate::raw::exit_immediately;

/// The time that ranks wait for each other to start. Launchers do not always notice when a rank is killed during
/// startup.
const START: Duration = Duration::from_secs(60);
/// The time that MPI has to finalize once all ranks have called [`World::finalize`]. With UCX over TCP it may never
/// return: <https://github.com/openucx/ucx/issues/8738>.
const FINALIZE: Duration = Duration::from_secs(30);
/// The environment variable that overrides [`START`], in seconds.
const START_SECONDS: &str = "PARAREAL_MPI_START_SECONDS";
/// The environment variable that overrides [`FINALIZE`], in seconds.
const FINALIZE_SECONDS: &str = "PARAREAL_MPI_FINALIZE_SECONDS";

/// All ranks that were started together, and this process as one of them.
///
/// A process that exits without [`World::finalize`] counts as failed, and the launcher ends the other ranks.
pub struct World {
    own: Membership,
    machine: Membership,
    progress: ProgressHandle,
    thread: Mutex<Option<JoinHandle<()>>>,
    start_limit: Duration,
    finalize_limit: Duration,
}

impl World {
    /// Initializes MPI on a dedicated thread and makes this process a rank. A process that was not started by a
    /// launcher is the only rank.
    ///
    /// # Errors
    /// If MPI cannot be initialized, was already initialized in this process, or not all ranks start in time.
    pub fn init() -> Result<Self, MpiError> {
        let start_limit = limit(START_SECONDS, START)?;
        let finalize_limit = limit(FINALIZE_SECONDS, FINALIZE)?;
        let ((commands, inbox), (started, has_started)) = (channel(), channel());
        let thread = std::thread::Builder::new()
            .name("parareal-mpi".into())
            .spawn(move || progress_thread::run(&started, &inbox))
            .map_err(|error| MpiError::Start(error.to_string()))?;
        let (own, machine) = match receive_within(start_limit, &has_started) {
            Ok(memberships) => memberships?,
            Err(RecvTimeoutError::Disconnected) => return Err(MpiError::ThreadStopped),
            Err(RecvTimeoutError::Timeout) => {
                let message = format!(
                    "not all ranks started within {} s, the limit set by {START_SECONDS}",
                    start_limit.as_secs()
                );
                return Err(MpiError::Start(message));
            }
        };
        let progress = ProgressHandle::new(commands);
        let thread = Mutex::new(Some(thread));
        Ok(Self { own, machine, progress, thread, start_limit, finalize_limit })
    }

    /// The rank of this process, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.own.rank
    }

    /// The number of ranks.
    #[must_use]
    pub fn size(&self) -> usize {
        self.own.size
    }

    /// The communicator of the ranks on this machine.
    #[must_use]
    pub fn machine(&self) -> Communicator {
        Communicator::new(self.machine, self.progress.clone())
    }

    /// Splits the world into one communicator per color. Returns the communicator of this rank's color, or `None`
    /// without a color. All ranks must make these calls in the same order.
    ///
    /// # Errors
    /// If MPI fails, or [`MpiError::Timeout`] if it does not return in the time that ranks have to start. The process
    /// should then end by [`World::exit`].
    pub fn split(&self, color: Option<u32>) -> Result<Option<Communicator>, MpiError> {
        // The split blocks the progress thread, and with it the heartbeats of this rank, until all ranks have called it.
        let all = Communicator::new(self.own, self.progress.clone());
        all.all_gather_equal(vec![0])?.wait()?;
        let (reply, replied) = channel();
        self.progress.submit(Command::Split { communicator: self.own.index, color, reply })?;
        let membership =
            receive_within(self.start_limit, &replied).map_err(|error| match error {
                RecvTimeoutError::Timeout => timed_out("MPI_Comm_split", self.start_limit),
                RecvTimeoutError::Disconnected => MpiError::ThreadStopped,
            })??;
        Ok(membership.map(|membership| Communicator::new(membership, self.progress.clone())))
    }

    /// Ends all ranks once a rank has sent no heartbeat for `timeout`, because it is stopped or its machine cannot be
    /// reached. A rank that computes for a long time is not affected.
    ///
    /// Every rank sends a heartbeat each second, so `timeout` should be several seconds. Each rank watches the previous
    /// one, so all ranks should call this function. Time during which this process is itself stopped does not count:
    /// ranks that are stopped and continued together go on. The rank that detects the silence calls `on_silence` on a
    /// separate thread; the result is the exit code, 1 after a panic.
    ///
    /// # Errors
    /// If the thread cannot be started, or [`MpiError::ThreadStopped`].
    pub fn watch(
        &self,
        timeout: Duration,
        on_silence: impl FnOnce(&SilentRank) -> i32 + Send + 'static,
    ) -> Result<(), MpiError> {
        let ((report, reported), progress) = (channel(), self.progress.downgrade());
        std::thread::Builder::new()
            .name("parareal-watch".into())
            .spawn(move || {
                // The progress thread drops the sender at its end.
                let Ok(silent) = reported.recv() else { return };
                // A rank whose report panics ends the others nevertheless.
                let report = AssertUnwindSafe(|| on_silence(&silent));
                let code = catch_unwind(report).unwrap_or(1);
                if let Some(progress) = progress.upgrade() {
                    progress.abort(code);
                }
            })
            .map_err(|error| MpiError::Start(error.to_string()))?;
        self.progress.submit(Command::Watch { timeout, report })
    }

    /// The traffic of this rank so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.progress.traffic()
    }

    /// Finalizes MPI. All ranks must call this, and each call waits for the other ranks.
    ///
    /// # Errors
    /// [`MpiError::Timeout`] if MPI hangs although all ranks have called this: after thirty seconds, or the number of
    /// seconds in the environment variable `PARAREAL_MPI_FINALIZE_SECONDS`. The process should then end by
    /// [`World::exit`]. [`MpiError::ThreadStopped`] if MPI failed before.
    pub fn finalize(&self) -> Result<(), MpiError> {
        let (met, ended) = channel();
        self.progress.submit(Command::Finalize { met })?;
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        // The first message says that all ranks are here, and the disconnection that MPI has returned.
        if ended.recv().is_ok()
            && receive_within(self.finalize_limit, &ended) == Err(RecvTimeoutError::Timeout)
        {
            return Err(timed_out("MPI_Finalize", self.finalize_limit));
        }
        thread.join().map_err(|_| MpiError::ThreadStopped)
    }

    /// Ends all ranks on all machines with this exit code. Does not return.
    pub fn abort(&self, code: i32) -> ! {
        self.progress.abort(code)
    }

    /// Ends this process with this exit code, without the exit handlers of its libraries, which could access the memory of
    /// an MPI call that has not returned ([`MpiError::Timeout`]). Files should be flushed before.
    pub fn exit(code: i32) -> ! {
        exit_immediately(code)
    }
}

/// Returns the value of an environment variable in seconds, or the default.
fn limit(name: &str, default: Duration) -> Result<Duration, MpiError> {
    std::env::var(name).map_or(Ok(default), |text| parse_limit(name, &text))
}

fn parse_limit(name: &str, text: &str) -> Result<Duration, MpiError> {
    match text.parse() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err(MpiError::Start(format!(
            "invalid value `{text}` for {name}: expected a whole number of seconds, at least 1"
        ))),
    }
}

fn timed_out(call: &'static str, limit: Duration) -> MpiError {
    MpiError::Timeout { call, seconds: limit.as_secs() }
}

/// Receives a value. Time during which this process is suspended does not count.
fn receive_within<T>(limit: Duration, receiver: &Receiver<T>) -> Result<T, RecvTimeoutError> {
    // A suspension ends at most one of the waits.
    for _ in 0..limit.as_secs() {
        match receiver.recv_timeout(Duration::from_secs(1)) {
            Err(RecvTimeoutError::Timeout) => {}
            received => return received,
        }
    }
    Err(RecvTimeoutError::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_whole_seconds() {
        assert_eq!(parse_limit("L", "7"), Ok(Duration::from_secs(7)));
        for text in ["0", "", "1.5", "-1", "99999999999999999999"] {
            let error = parse_limit("L", text).unwrap_err().to_string();
            let expected =
                format!("invalid value `{text}` for L: expected a whole number of seconds");
            assert!(error.contains(&expected), "{error}");
        }
    }
}
