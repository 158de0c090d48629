use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::MpiError;
use crate::flight::Buffers;
use crate::post::{self, Membership, Operation, Order};

/// How long ranks wait for each other to start. One that is killed in that moment is not always missed
/// by its launcher.
const START: Duration = Duration::from_secs(60);
/// Sets other seconds.
const START_SECONDS: &str = "PARAREAL_MPI_START_SECONDS";
/// How long an abort may take before the process ends by itself.
const ABORT: Duration = Duration::from_secs(5);

/// This process as one of the ranks that were started together.
///
/// A process that ends without [`World::finish`] is one that failed: the launcher ends the others.
pub struct World {
    own: Membership,
    machine: Membership,
    post: Arc<Office>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What others need to give orders.
struct Office {
    orders: Sender<Order>,
    sent: AtomicU64,
    reduced: AtomicU64,
    tickets: AtomicU64,
}

/// Bytes that this rank has given to others so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of messages from one rank to another.
    pub sent: u64,
    /// Bytes of the terms given to all-reduces; a ring of `R` ranks sends `2 (R - 1) / R` of them.
    pub reduced: u64,
}

/// A communicator: ranks that talk to each other.
///
/// Collective operations ([`sum_singles`](Self::sum_singles), [`gather`](Self::gather), ..) are
/// started by all members in the same order.
#[derive(Clone)]
pub struct Circle {
    place: Membership,
    post: Arc<Office>,
}

/// The answer to come of an operation under way. A receive that is dropped is taken back.
pub struct Pending<T> {
    answer: Receiver<Result<T, MpiError>>,
    post: Arc<Office>,
    /// Of a receive.
    ticket: Option<u64>,
}

impl World {
    /// Starts MPI on a thread of its own and makes this process a rank. A process that no launcher
    /// has started is the only one.
    ///
    /// # Errors
    /// Where MPI cannot be started, was before in this process, or other ranks do not come.
    pub fn join() -> Result<Self, MpiError> {
        let start = match std::env::var(START_SECONDS) {
            Ok(text) => text.parse().map(Duration::from_secs).map_err(|_| {
                MpiError::Start(format!("{START_SECONDS} is `{text}`: whole seconds are expected"))
            })?,
            Err(_) => START,
        };
        let ((orders, inbox), (welcome, welcomed)) = (channel(), channel());
        let thread = std::thread::Builder::new()
            .name("parareal-mpi".into())
            .spawn(move || post::serve(&welcome, &inbox))
            .map_err(|error| MpiError::Start(error.to_string()))?;
        let (own, machine) = match welcomed.recv_timeout(start) {
            Ok(places) => places?,
            Err(RecvTimeoutError::Disconnected) => return Err(MpiError::Gone),
            Err(RecvTimeoutError::Timeout) => {
                let message = format!(
                    "not all ranks have come within {} s, which {START_SECONDS} sets",
                    start.as_secs()
                );
                return Err(MpiError::Start(message));
            }
        };
        let [sent, reduced, tickets] = [(); 3].map(|()| AtomicU64::new(0));
        let post = Arc::new(Office { orders, sent, reduced, tickets });
        Ok(Self { own, machine, post, thread: Mutex::new(Some(thread)) })
    }

    /// Which rank this is, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.own.rank
    }

    /// How many there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.own.size
    }

    /// Which of the ranks on this machine this is, from 0, and how many they are.
    #[must_use]
    pub fn on_machine(&self) -> (usize, usize) {
        (self.machine.rank, self.machine.size)
    }

    /// The circle of the ranks on this machine.
    #[must_use]
    pub fn machine(&self) -> Circle {
        Circle { place: self.machine, post: Arc::clone(&self.post) }
    }

    /// A circle of all ranks that give the same color; `None` for those that give none. All ranks
    /// of the world call it, in the same order.
    ///
    /// # Errors
    /// Where MPI fails.
    pub fn circle(&self, color: Option<u32>) -> Result<Option<Circle>, MpiError> {
        let (reply, replied) = channel();
        self.post.order(Order::Split { circle: self.own.circle, color, reply })?;
        let place = replied.recv().map_err(|_| MpiError::Gone)??;
        Ok(place.map(|place| Circle { place, post: Arc::clone(&self.post) }))
    }

    /// What this rank has given to others so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let (sent, reduced) = (&self.post.sent, &self.post.reduced);
        Traffic { sent: sent.load(Ordering::Relaxed), reduced: reduced.load(Ordering::Relaxed) }
    }

    /// Ends MPI together with all other ranks: waits until they do so as well.
    ///
    /// # Errors
    /// Where the thread that talks to MPI is gone.
    pub fn finish(&self) -> Result<(), MpiError> {
        self.post.order(Order::Finish)?;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(Ok(()), |thread| thread.join().map_err(|_| MpiError::Gone))
    }

    /// Ends all ranks at once, wherever they are, with this exit code; does not return.
    pub fn abort(&self, code: i32) -> ! {
        if self.post.order(Order::Abort { code }).is_ok() {
            std::thread::sleep(ABORT);
        }
        std::process::exit(code)
    }
}

impl Office {
    fn order(&self, order: Order) -> Result<(), MpiError> {
        self.orders.send(order).map_err(|_| MpiError::Gone)
    }
}

impl Circle {
    /// Which member this is, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.place.rank
    }

    /// How many there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.place.size
    }

    /// Sends bytes to another member. They are on their way when this returns; the answer comes
    /// when the memory is free again.
    ///
    /// # Errors
    /// Where the thread that talks to MPI is gone.
    pub fn send(
        &self,
        to: usize,
        tag: i32,
        data: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<Pending<()>, MpiError> {
        let bytes = data.as_ref().len() as u64;
        self.post.sent.fetch_add(bytes, Ordering::Relaxed);
        self.start(Operation::Send { to, tag, data: Box::new(data) }, drop)
    }

    /// Is ready for exactly so many bytes from another member, from now on.
    ///
    /// # Errors
    /// Where the thread that talks to MPI is gone. A message of another size is an error of the
    /// answer.
    pub fn receive(
        &self,
        from: usize,
        tag: i32,
        bytes: usize,
    ) -> Result<Pending<Vec<u8>>, MpiError> {
        let operation = Operation::Receive { from, tag, bytes };
        self.start(operation, |buffers| match buffers {
            Buffers::In(bytes) => bytes,
            _ => unreachable!("a receive gives bytes"),
        })
    }

    /// Adds up vectors of the same length, element by element, over all members.
    ///
    /// # Errors
    /// Where the thread that talks to MPI is gone.
    pub fn sum_singles(&self, terms: Vec<f32>) -> Result<Pending<Vec<f32>>, MpiError> {
        self.post.reduced.fetch_add(size_of_val(&terms[..]) as u64, Ordering::Relaxed);
        self.start(Operation::SumSingles(terms), |buffers| match buffers {
            Buffers::Singles(_, sums) => sums,
            _ => unreachable!("a sum of singles gives singles"),
        })
    }

    /// As [`Self::sum_singles`].
    ///
    /// # Errors
    /// Where the thread that talks to MPI is gone.
    pub fn sum_doubles(&self, terms: Vec<f64>) -> Result<Pending<Vec<f64>>, MpiError> {
        self.post.reduced.fetch_add(size_of_val(&terms[..]) as u64, Ordering::Relaxed);
        self.start(Operation::SumDoubles(terms), |buffers| match buffers {
            Buffers::Doubles(_, sums) => sums,
            _ => unreachable!("a sum of doubles gives doubles"),
        })
    }

    /// Hands the root's bytes to all; the others give as many, whatever they are.
    ///
    /// # Errors
    /// Where the thread that talks to MPI is gone.
    pub fn broadcast(&self, root: usize, buffer: Vec<u8>) -> Result<Pending<Vec<u8>>, MpiError> {
        self.start(Operation::Broadcast { root, buffer }, |buffers| match buffers {
            Buffers::In(bytes) => bytes,
            _ => unreachable!("a broadcast gives bytes"),
        })
    }

    /// Hands the bytes of each member, which may be of any number, to all.
    ///
    /// # Errors
    /// Where MPI fails.
    pub fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, MpiError> {
        let length = (own.len() as u64).to_le_bytes().to_vec();
        let lengths = self.gather_equal(length)?.wait()?;
        let lengths: Vec<usize> = lengths
            .chunks_exact(8)
            .map(|length| u64::from_le_bytes(length.try_into().expect("there are 8")) as usize)
            .collect();
        let all = self.gather_known(own, lengths.clone())?.wait()?;
        let mut rest = &all[..];
        Ok(lengths
            .into_iter()
            .map(|length| {
                let (part, behind) = rest.split_at(length);
                rest = behind;
                part.to_vec()
            })
            .collect())
    }

    /// Hands the bytes of each member, as many from each, to all, behind each other.
    ///
    /// # Errors
    /// Where the thread that talks to MPI is gone.
    pub fn gather_equal(&self, own: Vec<u8>) -> Result<Pending<Vec<u8>>, MpiError> {
        let lengths = vec![own.len(); self.size()];
        self.gather_known(own, lengths)
    }

    fn gather_known(
        &self,
        own: Vec<u8>,
        lengths: Vec<usize>,
    ) -> Result<Pending<Vec<u8>>, MpiError> {
        self.start(Operation::Gather { own, lengths }, |buffers| match buffers {
            Buffers::Gathered { all, .. } => all,
            _ => unreachable!("a gather gives what was gathered"),
        })
    }

    fn start<T: Send + 'static>(
        &self,
        operation: Operation,
        take: fn(Buffers) -> T,
    ) -> Result<Pending<T>, MpiError> {
        let (reply, answer) = channel();
        let ticket = self.post.tickets.fetch_add(1, Ordering::Relaxed);
        let receives = matches!(operation, Operation::Receive { .. });
        let ended = Box::new(move |outcome: Result<Buffers, MpiError>| {
            // Whoever asked may be gone.
            let _ = reply.send(outcome.map(take));
        });
        let circle = self.place.circle;
        self.post.order(Order::Start { circle, operation, ended, ticket })?;
        let (post, ticket) = (Arc::clone(&self.post), receives.then_some(ticket));
        Ok(Pending { answer, post, ticket })
    }
}

impl<T> Pending<T> {
    /// Waits for the answer.
    ///
    /// # Errors
    /// What went wrong, or [`MpiError::Gone`].
    pub fn wait(mut self) -> Result<T, MpiError> {
        self.ticket = None;
        self.answer.recv().map_err(|_| MpiError::Gone)?
    }

    /// The answer, if it is there.
    ///
    /// # Errors
    /// What went wrong, or [`MpiError::Gone`].
    pub fn try_take(&mut self) -> Result<Option<T>, MpiError> {
        match self.answer.try_recv() {
            Ok(answer) => {
                self.ticket = None;
                answer.map(Some)
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(MpiError::Gone),
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let _ = self.post.order(Order::Cancel { ticket });
        }
    }
}
