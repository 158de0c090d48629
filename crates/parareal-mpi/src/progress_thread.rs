//! The thread that calls MPI. It executes commands of other threads and drives the operations in
//! progress.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use crate::error::MpiError;
use crate::heartbeat::{Heartbeat, PERIOD, SilentRank};
use crate::raw::{Buffers, Library, RawCommunicator, RawRequest};

/// The longest pause between two tests of the requests.
const LONGEST_PAUSE: Duration = Duration::from_micros(100);
/// The shortest pause. A shorter one is not worth the system call.
const SHORTEST_PAUSE: Duration = Duration::from_micros(5);

/// A command of another thread.
pub(crate) enum Command {
    /// Splits a communicator; all its ranks must receive this command.
    Split {
        communicator: usize,
        color: Option<u32>,
        reply: Sender<Result<Option<Membership>, MpiError>>,
    },
    /// Starts an operation and calls `completion` with its outcome.
    Start { communicator: usize, operation: Operation, completion: Completion, request: u64 },
    /// Cancels a receive.
    Cancel { request: u64 },
    /// Reports a rank that has sent no heartbeat for `timeout`.
    Watch { timeout: Duration, report: Sender<SilentRank> },
    /// Ends all ranks.
    Abort { code: i32 },
    /// Finalizes MPI; all ranks must receive this command. `met` gets a message when all have, and is dropped at the
    /// end.
    Finalize { met: Sender<()> },
}

/// The callback that receives the outcome of an operation.
pub(crate) type Completion = Box<dyn FnOnce(Result<Buffers, MpiError>) + Send>;

/// A nonblocking operation within a communicator.
pub(crate) enum Operation {
    Send { to: usize, tag: i32, data: Box<dyn AsRef<[u8]> + Send> },
    Receive { from: usize, tag: i32, bytes: usize },
    Broadcast { root: usize, buffer: Vec<u8> },
    AllGather { own: Vec<u8>, lengths: Vec<usize> },
    SumF32(Vec<f32>),
    SumF64(Vec<f64>),
}

/// Membership of this process in a communicator: the index of the communicator on the progress thread, the rank
/// of the process, and the number of ranks.
#[derive(Clone, Copy)]
pub(crate) struct Membership {
    pub(crate) index: usize,
    pub(crate) rank: usize,
    pub(crate) size: usize,
}

/// Memberships in the world and in the communicator of this machine.
pub(crate) type Memberships = (Membership, Membership);

/// Initializes MPI, reports the memberships and executes commands until MPI is finalized or all senders of
/// commands are dropped.
pub(crate) fn run(started: &Sender<Result<Memberships, MpiError>>, commands: &Receiver<Command>) {
    match Library::init().and_then(ProgressThread::new) {
        Ok((mut thread, memberships)) => {
            if started.send(Ok(memberships)).is_ok() {
                thread.run(commands);
                thread.prepare_to_finalize(commands);
            }
            // Finalizing waits for the other ranks, so it is only done on request.
            if let Some(_met) = thread.finalizes {
                thread.library.finalize();
            }
        }
        Err(error) => drop(started.send(Err(error))),
    }
}

struct ProgressThread {
    communicators: Vec<RawCommunicator>,
    requests: Vec<(RawRequest, u64, Completion)>,
    /// `None` if there is only one rank.
    heartbeat: Option<Heartbeat>,
    finalizes: Option<Sender<()>>,
    library: Library,
}

impl ProgressThread {
    fn new(library: Library) -> Result<(Self, Memberships), MpiError> {
        let (world, machine) = (library.world(), library.world().machine()?);
        let heartbeat = Heartbeat::new(world, &library.processor_name())?;
        let (communicators, requests) = (Vec::new(), Vec::new());
        let mut this = Self { communicators, requests, heartbeat, finalizes: None, library };
        let memberships = (this.add(world)?, this.add(machine)?);
        Ok((this, memberships))
    }

    fn add(&mut self, communicator: RawCommunicator) -> Result<Membership, MpiError> {
        self.communicators.push(communicator);
        let (rank, size) = (communicator.rank()?, communicator.size()?);
        Ok(Membership { index: self.communicators.len() - 1, rank, size })
    }

    /// Executes commands, and tests the requests in progress. Pauses grow with the time since the last command or
    /// the last completed operation. Long operations are therefore tested less often. The delay until a
    /// completion is noticed is at most an eighth of the operation's duration.
    fn run(&mut self, commands: &Receiver<Command>) {
        let mut last = Instant::now();
        while self.finalizes.is_none() {
            let pause = match self.requests.is_empty() {
                true => PERIOD,
                false => (last.elapsed() / 8).min(LONGEST_PAUSE),
            };
            let command = if self.requests.is_empty() && self.heartbeat.is_none() {
                commands.recv().map(Some).map_err(drop)
            } else if pause < SHORTEST_PAUSE {
                match commands.try_recv() {
                    Ok(command) => Ok(Some(command)),
                    Err(TryRecvError::Empty) => {
                        std::thread::yield_now();
                        Ok(None)
                    }
                    Err(TryRecvError::Disconnected) => Err(()),
                }
            } else {
                match commands.recv_timeout(pause) {
                    Ok(command) => Ok(Some(command)),
                    Err(RecvTimeoutError::Timeout) => Ok(None),
                    Err(RecvTimeoutError::Disconnected) => Err(()),
                }
            };
            // All senders are dropped, so the process exits without finalizing MPI. The launcher then ends the
            // other ranks.
            let Ok(command) = command else { return };
            if let Some(command) = command {
                self.execute(command);
                last = Instant::now();
            }
            if self.test_requests() {
                last = Instant::now();
            }
            if let Some(heartbeat) = &mut self.heartbeat {
                heartbeat.beat();
            }
        }
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Split { communicator, color, reply } => {
                let split = self.communicators[communicator].split(color);
                let added = split.and_then(|new| new.map(|new| self.add(new)).transpose());
                let _ = reply.send(added);
            }
            Command::Start { communicator, operation, completion, request: number } => {
                let communicator = self.communicators[communicator];
                let request = match operation {
                    Operation::Send { to, tag, data } => communicator.send(to, tag, data),
                    Operation::Receive { from, tag, bytes } => {
                        communicator.receive(from, tag, bytes)
                    }
                    Operation::Broadcast { root, buffer } => communicator.broadcast(root, buffer),
                    Operation::AllGather { own, lengths } => communicator.all_gather(own, &lengths),
                    Operation::SumF32(terms) => communicator.sum_f32(terms),
                    Operation::SumF64(terms) => communicator.sum_f64(terms),
                };
                match request {
                    Ok(request) => self.requests.push((request, number, completion)),
                    Err(error) => completion(Err(error)),
                }
            }
            Command::Cancel { request } => {
                let found = self.requests.iter().position(|(_, number, _)| *number == request);
                // A message that is arriving is received and discarded.
                match found {
                    Some(found) if self.requests[found].0.is_unmatched() => {
                        drop(self.requests.remove(found));
                    }
                    Some(found) => self.requests[found].2 = Box::new(drop),
                    None => {}
                }
            }
            Command::Watch { timeout, report } => {
                if let Some(heartbeat) = &mut self.heartbeat {
                    heartbeat.watch(timeout, report);
                }
            }
            Command::Abort { code } => self.library.abort(code),
            Command::Finalize { met } => self.finalizes = Some(met),
        }
    }

    /// Completes all operations, and waits for the other ranks while heartbeats are exchanged, if MPI is to be finalized.
    fn prepare_to_finalize(&mut self, commands: &Receiver<Command>) {
        let Some(met) = self.finalizes.take() else { return };
        if let Some(heartbeat) = &self.heartbeat {
            match heartbeat.meeting() {
                Ok(meeting) => self.requests.push((meeting, u64::MAX, Box::new(drop))),
                Err(_) => self.heartbeat = None,
            }
        }
        // Sends have to complete before MPI is finalized.
        while !self.requests.is_empty() {
            self.test_requests();
            if let Some(heartbeat) = &mut self.heartbeat {
                heartbeat.beat();
            }
            self.abort_on_command(commands);
            std::thread::yield_now();
        }
        let _ = met.send(());
        if let Some(mut heartbeat) = self.heartbeat.take() {
            while !heartbeat.finish() {
                self.abort_on_command(commands);
                std::thread::yield_now();
            }
        }
        self.finalizes = Some(met);
    }

    /// Ends all ranks if that is the next command. Other commands are too late.
    fn abort_on_command(&self, commands: &Receiver<Command>) {
        if let Ok(Command::Abort { code }) = commands.try_recv() {
            self.library.abort(code);
        }
    }

    /// Passes on the outcomes of completed operations. Returns true if there were any.
    fn test_requests(&mut self) -> bool {
        let before = self.requests.len();
        let mut index = 0;
        while index < self.requests.len() {
            match self.requests[index].0.test() {
                None => index += 1,
                Some(outcome) => {
                    let (_, _, completion) = self.requests.remove(index);
                    completion(outcome);
                }
            }
        }
        self.requests.len() < before
    }
}
