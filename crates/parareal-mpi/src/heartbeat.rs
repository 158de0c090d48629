//! Heartbeats: short messages by which each rank shows the next one that it runs.
//!
//! The ranks form a ring. Each rank sends a heartbeat to the next one every second, and expects heartbeats from the
//! previous one. A process that is stopped, for example by SIGSTOP, or whose machine cannot be reached, sends none. A
//! process that computes continues to send them from its progress thread.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::error::MpiError;
use crate::raw::{Buffers, RawCommunicator, RawRequest};

/// The time between two messages.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest time between two calls of [`Heartbeat::beat`] that is needed.
pub(crate) const PERIOD: Duration = Duration::from_millis(200);
/// The tag of the messages. Nothing else is sent in the communicator of all ranks from one rank to another.
const TAG: i32 = 0;
/// The length of a message: whether it is the last one, the process ID, and the name of the machine, padded with zeros.
const LENGTH: usize = 64;

/// A rank that sends no heartbeats. It is stopped, or its machine cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentRank {
    /// The rank in the world.
    pub rank: usize,
    /// Its process ID and the name of its machine; `None` if no heartbeat was ever received.
    pub process: Option<(u32, String)>,
}

/// The neighbors of a rank in the ring, and the messages in progress.
pub(crate) struct Heartbeat {
    world: RawCommunicator,
    previous: usize,
    next: usize,
    message: [u8; LENGTH],
    sending: Option<RawRequest>,
    /// `None` after the last message, and after an error, which counts as silence.
    receiving: Option<RawRequest>,
    /// The end of the last call that did anything.
    called: Instant,
    /// The time since the last message was sent.
    since_sent: Duration,
    /// The time without a message from the previous rank. Time in which this process did not run itself does not count.
    silence: Duration,
    process: Option<(u32, String)>,
    watch: Option<(Duration, Sender<SilentRank>)>,
}

impl Heartbeat {
    /// Returns `None` if there is only one rank.
    ///
    /// # Errors
    /// If MPI fails.
    pub(crate) fn new(world: RawCommunicator, machine: &str) -> Result<Option<Self>, MpiError> {
        let (rank, size) = (world.rank()?, world.size()?);
        if size == 1 {
            return Ok(None);
        }
        let previous = (rank + size - 1) % size;
        Ok(Some(Self {
            world,
            previous,
            next: (rank + 1) % size,
            message: encode(std::process::id(), machine),
            sending: None,
            receiving: Some(world.receive(previous, TAG, LENGTH)?),
            called: Instant::now(),
            since_sent: INTERVAL,
            silence: Duration::ZERO,
            process: None,
            watch: None,
        }))
    }

    /// Reports the previous rank, once, when it has been silent for `timeout`.
    pub(crate) fn watch(&mut self, timeout: Duration, report: Sender<SilentRank>) {
        self.silence = Duration::ZERO;
        self.watch = Some((timeout, report));
    }

    /// Sends and receives what is due. Has to be called every [`PERIOD`]; calls in between return immediately.
    pub(crate) fn beat(&mut self) {
        if self.called.elapsed() < PERIOD {
            return;
        }
        let passed = self.listen();
        self.since_sent += passed;
        if self.has_sent() && self.since_sent >= INTERVAL {
            self.send();
        }
    }

    /// Receives the messages that have arrived, and reports the previous rank if it is silent. Returns the time that counts
    /// since the last call.
    fn listen(&mut self) -> Duration {
        // After a longer time this process was itself stopped, or MPI did not return: the messages of the previous rank
        // may not have been looked for.
        let passed = self.called.elapsed().min(INTERVAL);
        self.called = Instant::now();
        self.silence += passed;
        self.receive();
        if let Some((_, report)) = self.watch.take_if(|(timeout, _)| self.silence >= *timeout) {
            let silent = SilentRank { rank: self.previous, process: self.process.clone() };
            // Nobody listens if the watching thread could not be started.
            let _ = report.send(silent);
        }
        passed
    }

    /// Starts a meeting of all ranks at their ends. The request completes when all have called this function.
    ///
    /// # Errors
    /// If MPI fails.
    pub(crate) fn meeting(&self) -> Result<RawRequest, MpiError> {
        self.world.all_gather(vec![0], &vec![1; self.world.size()?])
    }

    /// Exchanges the last messages. All ranks call this after their meeting until it returns true.
    pub(crate) fn finish(&mut self) -> bool {
        self.listen();
        if !self.has_sent() {
            return false;
        }
        let is_last_sent = self.message[0] == 1;
        if !is_last_sent {
            self.message[0] = 1;
            self.send();
        }
        is_last_sent && self.receiving.is_none()
    }

    /// Returns true if no message is being sent.
    fn has_sent(&mut self) -> bool {
        if let Some(request) = &mut self.sending
            && request.test().is_some()
        {
            self.sending = None;
        }
        self.sending.is_none()
    }

    fn send(&mut self) {
        self.since_sent = Duration::ZERO;
        // A rank that cannot send is noticed by the next one.
        self.sending = self.world.send(self.next, TAG, Box::new(self.message)).ok();
    }

    /// Receives the messages that have arrived.
    fn receive(&mut self) {
        while let Some(outcome) = self.receiving.as_mut().and_then(RawRequest::test) {
            let Ok(Buffers::Bytes(message)) = outcome else {
                self.receiving = None;
                return;
            };
            self.silence = Duration::ZERO;
            self.process = Some(decode(&message));
            let is_last = message[0] == 1;
            self.receiving = match is_last {
                true => None,
                false => self.world.receive(self.previous, TAG, LENGTH).ok(),
            };
            if is_last {
                // It has finished and is not silent.
                self.watch = None;
            }
        }
    }
}

/// Returns the message of a process that continues to run.
fn encode(process: u32, machine: &str) -> [u8; LENGTH] {
    let mut message = [0; LENGTH];
    message[1..5].copy_from_slice(&process.to_le_bytes());
    for (to, byte) in message[5..].iter_mut().zip(machine.bytes()) {
        *to = byte;
    }
    message
}

/// Returns the process ID and the name of the machine, which may have been shortened.
fn decode(message: &[u8]) -> (u32, String) {
    let process = message[1..5].try_into().map_or(0, u32::from_le_bytes);
    let name = message[5..].split(|&byte| byte == 0).next().unwrap_or_default();
    (process, String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_process_and_machine() {
        let long = "node.".repeat(30);
        assert_eq!(decode(&encode(4711, "node07")), (4711, "node07".into()));
        assert_eq!(decode(&encode(u32::MAX, &long)), (u32::MAX, long[..LENGTH - 5].into()));
        assert_eq!(decode(&encode(1, "")), (1, String::new()));
    }
}
