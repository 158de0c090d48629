//! Workers on threads of this process, and how they are told what to do.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::clock::Record;
use super::worker::{Command, ReplyOf, Worker};
use super::{Control, ExecError, Link, Loss};
use crate::net::Coarsen;
use crate::timeline::{Span, Timeline};

/// How long a crew waits for the word of the worker at fault when another one has given up.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The workers of this process, each a thread with a device and cores of its own, for as long as
/// this value lives.
pub(super) struct Crew<N: Coarsen, L: Loss<N::Output>> {
    workers: Vec<Handle<N, L>>,
    reply: Sender<(usize, Message<N>)>,
    replies: Receiver<(usize, Message<N>)>,
    failure: Option<ExecError>,
    /// Whether workers may wait for another process. Then nobody here can wake them after a failure,
    /// and nobody waits for them: the process is about to end.
    spans_processes: bool,
}

struct Handle<N: Coarsen, L: Loss<N::Output>> {
    commands: Option<Sender<Command<N::Input, L::Target>>>,
    thread: Option<JoinHandle<()>>,
    /// Its number among the workers of all processes, from 0.
    number: usize,
    subnetworks: Range<usize>,
}

enum Message<N: Coarsen> {
    Done(ReplyOf<N>),
    /// It stops because another worker is gone.
    Abandoned,
    /// It stops by its own fault.
    Failed(String),
}

impl<N: Coarsen, L: Loss<N::Output>> Crew<N, L> {
    /// A crew without workers, which may come to wait for other processes, or only for each other.
    pub(super) fn new(spans_processes: bool) -> Self {
        let (reply, replies) = channel();
        Self { workers: Vec::new(), reply, replies, failure: None, spans_processes }
    }

    /// Starts one more worker, which has this number among all. It is built on the thread that it
    /// runs on.
    pub(super) fn hire<K, C>(
        &mut self,
        number: usize,
        subnetworks: Range<usize>,
        build: impl FnOnce() -> Worker<N, L, K, C> + Send + 'static,
        threads: usize,
    ) -> Result<(), ExecError>
    where
        K: Link<N::State> + 'static,
        C: Control + 'static,
    {
        let name = format!("parareal-{}", number + 1);
        let pool = pool(&name, threads)?;
        let (commands, inbox) = channel();
        let (index, reply) = (self.workers.len(), self.reply.clone());
        // The worker lives inside its pool, so that every operation finds its own cores.
        let life = move || pool.install(move || serve(build, index, &inbox, &reply));
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(life)
            .map_err(|error| ExecError::Spawn(error.to_string()))?;
        let (commands, thread) = (Some(commands), Some(thread));
        self.workers.push(Handle { commands, thread, number, subnetworks });
        Ok(())
    }

    /// Gives each worker a command, or none, and gathers their replies, in their order.
    pub(super) fn order(
        &mut self,
        command: impl Fn(usize) -> Option<Command<N::Input, L::Target>>,
    ) -> Result<Vec<ReplyOf<N>>, ExecError> {
        if let Some(failure) = &self.failure {
            return Err(ExecError::Stopped(Box::new(failure.clone())));
        }
        let mut told = 0;
        for (index, worker) in self.workers.iter().enumerate() {
            if let (Some(commands), Some(command)) = (&worker.commands, command(index)) {
                // A worker that is gone has left a message that says so.
                let _ = commands.send(command);
                told += 1;
            }
        }
        let mut replies: Vec<_> = self.workers.iter().map(|_| None).collect();
        let mut failed = None;
        let mut abandoned = false;
        for _ in 0..told {
            let received = match abandoned && self.spans_processes {
                // Who is at fault speaks soon, or is in another process.
                true => self.replies.recv_timeout(LAST_WORDS).ok(),
                false => self.replies.recv().ok(),
            };
            let Some((index, message)) = received else { break };
            match message {
                Message::Done(reply) => replies[index] = Some(reply),
                Message::Abandoned => abandoned = true,
                Message::Failed(message) => {
                    failed.get_or_insert((index, message));
                    if self.spans_processes {
                        break;
                    }
                }
            }
        }
        let replies: Vec<_> = replies.into_iter().flatten().collect();
        match replies.len() == told {
            true => Ok(replies),
            false => Err(self.fail(failed)),
        }
    }

    /// What the workers did when, from the beginning of the step on; all processes have so many.
    pub(super) fn timeline(
        &self,
        replies: &[ReplyOf<N>],
        devices: usize,
        begun: Instant,
    ) -> Timeline {
        let mut spans = Vec::new();
        for (reply, worker) in replies.iter().zip(&self.workers) {
            let (device, first) = (worker.number, worker.subnetworks.start);
            let own = reply.records.iter().map(|&Record { piece, activity, begin, end }| {
                let [begin, end] =
                    [begin, end].map(|at| at.saturating_duration_since(begun).as_secs_f64());
                Span { device, subnetwork: first + piece, activity, begin, end }
            });
            spans.extend(own);
        }
        Timeline { devices, spans }
    }

    /// Ends all workers after one has failed.
    fn fail(&mut self, failed: Option<(usize, String)>) -> ExecError {
        self.stop(true);
        let (index, message) = failed.unwrap_or((0, "it ended without a word".into()));
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

impl<N: Coarsen, L: Loss<N::Output>> Drop for Crew<N, L> {
    fn drop(&mut self) {
        self.stop(false);
    }
}

/// The life of a worker's thread: one command after the other, until there are no more or it
/// cannot go on. Its links and its control end with it, which ends the waiting of the others.
fn serve<N: Coarsen, L: Loss<N::Output>, K: Link<N::State>, C: Control>(
    build: impl FnOnce() -> Worker<N, L, K, C>,
    index: usize,
    inbox: &Receiver<Command<N::Input, L::Target>>,
    replies: &Sender<(usize, Message<N>)>,
) {
    // After a panic the worker is dropped and never looked at again.
    let mut worker = match catch_unwind(AssertUnwindSafe(build)) {
        Ok(worker) => worker,
        Err(panic) => {
            let _ = replies.send((index, Message::Failed(panic_message(&*panic))));
            return;
        }
    };
    while let Ok(command) = inbox.recv() {
        let message = match catch_unwind(AssertUnwindSafe(|| worker.run(command))) {
            Ok(Ok(reply)) => Message::Done(reply),
            Ok(Err(_)) => Message::Abandoned,
            Err(panic) => Message::Failed(panic_message(&*panic)),
        };
        let done = matches!(message, Message::Done(_));
        if !done {
            drop(worker);
            let _ = replies.send((index, message));
            return;
        }
        let _ = replies.send((index, message));
    }
}

/// What a panic says, as far as it is text.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".into())
}

/// A pool of threads for one worker's operations.
///
/// # Errors
/// Where the operating system gives no threads.
pub fn pool(name: &str, threads: usize) -> Result<ThreadPool, ExecError> {
    let name = name.to_string();
    ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(move |thread| format!("{name}.{thread}"))
        .build()
        .map_err(|error| ExecError::Spawn(error.to_string()))
}
