//! The worker threads of a process, and the channels for their commands and replies.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parareal_text::panic_message;

use super::collectives::Collectives;
use super::command::{Command, ReplyOf};
use super::error::ExecError;
use super::link::Link;
use super::loss::Loss;
use super::thread_pool::thread_pool;
use super::trace::WorkerTrace;
use super::worker::Worker;
use crate::net::Coarsen;
use crate::timeline::Timeline;

/// Longest time that a pool waits for the error of the failed worker after a different worker has stopped because of
/// it.
const FAILURE_TIMEOUT: Duration = Duration::from_secs(1);

/// The workers of this process. Each worker is a thread with its own device and cores, and lives as long as
/// this value.
pub(super) struct WorkerPool<N: Coarsen, L: Loss<N::Output>> {
    workers: Vec<Handle<N, L>>,
    reply: Sender<(usize, Outcome<N>)>,
    replies: Receiver<(usize, Outcome<N>)>,
    failure: Option<ExecError>,
    /// True if workers may wait for another process. Such workers cannot be woken after a failure. They are
    /// not joined, because the process is about to exit.
    spans_processes: bool,
}

struct Handle<N: Coarsen, L: Loss<N::Output>> {
    commands: Option<Sender<Command<N::Input, L::Target>>>,
    thread: Option<JoinHandle<()>>,
    /// The index of the worker among the workers of all processes, from 0.
    number: usize,
    subnetworks: Range<usize>,
}

enum Outcome<N: Coarsen> {
    Done(Box<ReplyOf<N>>),
    /// The worker stops because another worker has stopped.
    Abandoned,
    /// The worker has failed, with this message.
    Failed(String),
}

impl<N: Coarsen, L: Loss<N::Output>> WorkerPool<N, L> {
    /// Creates a pool without workers. If `spans_processes` is true, workers may wait for other processes,
    /// otherwise only for each other.
    pub(super) fn new(spans_processes: bool) -> Self {
        let (reply, replies) = channel();
        Self { workers: Vec::new(), reply, replies, failure: None, spans_processes }
    }

    /// Starts a worker. `number` is its index among the workers of all processes. `build` is called on the
    /// thread of the worker.
    pub(super) fn spawn<K, C>(
        &mut self,
        number: usize,
        subnetworks: Range<usize>,
        build: impl FnOnce() -> Worker<N, L, K, C> + Send + 'static,
        threads: usize,
    ) -> Result<(), ExecError>
    where
        K: Link<N::State> + 'static,
        C: Collectives + 'static,
    {
        let name = format!("parareal-{}", number + 1);
        let pool = thread_pool(&name, threads)?;
        let (commands, inbox) = channel();
        let (index, reply) = (self.workers.len(), self.reply.clone());
        // The worker runs inside its thread pool, so that every operation uses the cores of this worker.
        let run = move || pool.install(move || serve(build, index, &inbox, &reply));
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(run)
            .map_err(|error| ExecError::Spawn(error.to_string()))?;
        let (commands, thread) = (Some(commands), Some(thread));
        self.workers.push(Handle { commands, thread, number, subnetworks });
        Ok(())
    }

    /// Runs a command on each worker for which `command` returns one, and returns the replies in order.
    pub(super) fn run(
        &mut self,
        command: impl Fn(usize) -> Option<Command<N::Input, L::Target>>,
    ) -> Result<Vec<ReplyOf<N>>, ExecError> {
        if let Some(failure) = &self.failure {
            return Err(ExecError::Stopped(Box::new(failure.clone())));
        }
        let mut commanded = 0;
        for (index, worker) in self.workers.iter().enumerate() {
            if let (Some(commands), Some(command)) = (&worker.commands, command(index)) {
                // A worker that has stopped has sent an outcome.
                let _ = commands.send(command);
                commanded += 1;
            }
        }
        let mut replies: Vec<_> = self.workers.iter().map(|_| None).collect();
        let mut failed = None;
        let mut abandoned = false;
        for _ in 0..commanded {
            let received = match abandoned && self.spans_processes {
                // The failed worker reports its error soon, or is in another process.
                true => self.replies.recv_timeout(FAILURE_TIMEOUT).ok(),
                false => self.replies.recv().ok(),
            };
            let Some((index, outcome)) = received else { break };
            match outcome {
                Outcome::Done(reply) => replies[index] = Some(*reply),
                Outcome::Abandoned => abandoned = true,
                Outcome::Failed(message) => {
                    failed.get_or_insert((index, message));
                    if self.spans_processes {
                        break;
                    }
                }
            }
        }
        let replies: Vec<_> = replies.into_iter().flatten().collect();
        match replies.len() == commanded {
            true => Ok(replies),
            false => Err(self.fail(failed)),
        }
    }

    /// Returns the activities of the workers, in seconds since `begun`. `devices` is the number of workers of
    /// all processes.
    pub(super) fn timeline(
        &self,
        replies: &[ReplyOf<N>],
        devices: usize,
        begun: Instant,
    ) -> Timeline {
        let own = replies.iter().zip(&self.workers);
        let spans = own.flat_map(|(reply, worker)| reply.times.spans(worker.number, begun));
        Timeline { devices, spans: spans.collect() }
    }

    /// Returns the instructions that the workers of this process have executed, with times since `begun`.
    pub(super) fn trace(&self, replies: &[ReplyOf<N>], begun: Instant) -> Vec<WorkerTrace> {
        let own = replies.iter().zip(&self.workers);
        own.map(|(reply, worker)| reply.times.trace(worker.number, begun)).collect()
    }

    /// Stops all workers after one of them has failed, and returns the error.
    fn fail(&mut self, failed: Option<(usize, String)>) -> ExecError {
        self.stop(true);
        let (index, message) = failed.unwrap_or((0, "the worker stopped without a message".into()));
        let Handle { number, subnetworks, .. } = &self.workers[index];
        let failure = ExecError::Worker {
            worker: number + 1,
            first: subnetworks.start + 1,
            last: subnetworks.end,
            message,
        };
        self.failure = Some(failure.clone());
        failure
    }

    fn stop(&mut self, failed: bool) {
        for worker in &mut self.workers {
            worker.commands = None;
        }
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            if !self.spans_processes || !failed {
                // A worker catches its panics and has reported them.
                let _ = thread.join();
            }
        }
    }
}

impl<N: Coarsen, L: Loss<N::Output>> Drop for WorkerPool<N, L> {
    fn drop(&mut self) {
        self.stop(false);
    }
}

/// Runs a worker on its thread: executes commands until there are no more or the worker fails. The worker is
/// dropped at the end together with its links and collectives, which wakes the workers that wait for it.
fn serve<N: Coarsen, L: Loss<N::Output>, K: Link<N::State>, C: Collectives>(
    build: impl FnOnce() -> Worker<N, L, K, C>,
    index: usize,
    inbox: &Receiver<Command<N::Input, L::Target>>,
    replies: &Sender<(usize, Outcome<N>)>,
) {
    // After a panic the worker is dropped and never used again.
    let mut worker = match catch_unwind(AssertUnwindSafe(build)) {
        Ok(worker) => worker,
        Err(panic) => {
            let _ = replies.send((index, Outcome::Failed(panic_message(&*panic))));
            return;
        }
    };
    while let Ok(command) = inbox.recv() {
        let outcome = match catch_unwind(AssertUnwindSafe(|| worker.run(command))) {
            Ok(Ok(reply)) => Outcome::Done(Box::new(reply)),
            Ok(Err(_)) => Outcome::Abandoned,
            Err(panic) => Outcome::Failed(panic_message(&*panic)),
        };
        let done = matches!(outcome, Outcome::Done(_));
        if !done {
            drop(worker);
            let _ = replies.send((index, outcome));
            return;
        }
        let _ = replies.send((index, outcome));
    }
}
