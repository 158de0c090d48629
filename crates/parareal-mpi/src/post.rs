//! The thread that calls MPI: it takes orders from others and looks after what is under way.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use crate::MpiError;
use crate::flight::{Buffers, Flight};
use crate::wire::{Communicator, Wire};

/// The longest pause between two looks at what is under way.
const LONGEST_PAUSE: Duration = Duration::from_micros(100);
/// Below this a pause is not worth the call to the system.
const SHORTEST_PAUSE: Duration = Duration::from_micros(5);

/// Something to do.
pub(crate) enum Order {
    /// Split a circle; all its ranks do.
    Split { circle: usize, color: Option<u32>, reply: Sender<Result<Option<Membership>, MpiError>> },
    /// Start an operation in a circle, and tell when it has ended.
    Start { circle: usize, operation: Operation, ended: Ended, ticket: u64 },
    /// Take a receive back.
    Cancel { ticket: u64 },
    /// End all ranks.
    Abort { code: i32 },
    /// End MPI; all ranks do.
    Finish,
}

pub(crate) type Ended = Box<dyn FnOnce(Result<Buffers, MpiError>) + Send>;

pub(crate) enum Operation {
    Send { to: usize, tag: i32, data: Box<dyn AsRef<[u8]> + Send> },
    Receive { from: usize, tag: i32, bytes: usize },
    Broadcast { root: usize, buffer: Vec<u8> },
    Gather { own: Vec<u8>, lengths: Vec<usize> },
    SumSingles(Vec<f32>),
    SumDoubles(Vec<f64>),
}

/// A circle, and this rank's place in it.
#[derive(Clone, Copy)]
pub(crate) struct Membership {
    pub(crate) circle: usize,
    pub(crate) rank: usize,
    pub(crate) size: usize,
}

/// Places in the world and on the machine.
pub(crate) type Welcome = (Membership, Membership);

/// The life of the thread.
pub(crate) fn serve(welcome: &Sender<Result<Welcome, MpiError>>, orders: &Receiver<Order>) {
    let begun = Wire::start().and_then(Post::new);
    match begun {
        Ok((mut post, places)) => {
            if welcome.send(Ok(places)).is_ok() {
                post.run(orders);
            }
            // To end MPI without the others would be to wait for them.
            if post.finished {
                post.wire.finish();
            }
        }
        Err(error) => drop(welcome.send(Err(error))),
    }
}

struct Post {
    circles: Vec<Communicator>,
    flights: Vec<(Flight, u64, Ended)>,
    finished: bool,
    wire: Wire,
}

impl Post {
    fn new(wire: Wire) -> Result<(Self, Welcome), MpiError> {
        let (world, machine) = (wire.world(), wire.world().machine()?);
        let mut this = Self { circles: Vec::new(), flights: Vec::new(), finished: false, wire };
        let places = (this.admit(world)?, this.admit(machine)?);
        Ok((this, places))
    }

    fn admit(&mut self, communicator: Communicator) -> Result<Membership, MpiError> {
        self.circles.push(communicator);
        let (rank, size) = (communicator.rank()?, communicator.size()?);
        Ok(Membership { circle: self.circles.len() - 1, rank, size })
    }

    /// Pauses grow with the time in which nothing has ended: what takes long is looked at rarely,
    /// and found late by an eighth of its time at most.
    fn run(&mut self, orders: &Receiver<Order>) {
        let mut last = Instant::now();
        while !self.finished {
            let pause = (last.elapsed() / 8).min(LONGEST_PAUSE);
            let order = if self.flights.is_empty() {
                orders.recv().map(Some).map_err(drop)
            } else if pause < SHORTEST_PAUSE {
                match orders.try_recv() {
                    Ok(order) => Ok(Some(order)),
                    Err(TryRecvError::Empty) => {
                        std::thread::yield_now();
                        Ok(None)
                    }
                    Err(TryRecvError::Disconnected) => Err(()),
                }
            } else {
                match orders.recv_timeout(pause) {
                    Ok(order) => Ok(Some(order)),
                    Err(RecvTimeoutError::Timeout) => Ok(None),
                    Err(RecvTimeoutError::Disconnected) => Err(()),
                }
            };
            // The process ends without a word to the others: its launcher will tell them.
            let Ok(order) = order else { return };
            if let Some(order) = order {
                self.obey(order);
                last = Instant::now();
            }
            if self.look() {
                last = Instant::now();
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Split { circle, color, reply } => {
                let split = self.circles[circle].split(color);
                let admitted = split.and_then(|new| new.map(|new| self.admit(new)).transpose());
                let _ = reply.send(admitted);
            }
            Order::Start { circle, operation, ended, ticket } => {
                let circle = self.circles[circle];
                let flight = match operation {
                    Operation::Send { to, tag, data } => circle.send(to, tag, data),
                    Operation::Receive { from, tag, bytes } => circle.receive(from, tag, bytes),
                    Operation::Broadcast { root, buffer } => circle.broadcast(root, buffer),
                    Operation::Gather { own, lengths } => circle.gather(own, &lengths),
                    Operation::SumSingles(terms) => circle.sum_singles(terms),
                    Operation::SumDoubles(terms) => circle.sum_doubles(terms),
                };
                match flight {
                    Ok(flight) => self.flights.push((flight, ticket, ended)),
                    Err(error) => ended(Err(error)),
                }
            }
            Order::Cancel { ticket } => {
                let found = self.flights.iter().position(|(_, number, _)| *number == ticket);
                // What is coming already arrives for nobody.
                match found {
                    Some(found) if self.flights[found].0.is_awaited() => {
                        drop(self.flights.remove(found));
                    }
                    Some(found) => self.flights[found].2 = Box::new(drop),
                    None => {}
                }
            }
            Order::Abort { code } => self.wire.abort(code),
            Order::Finish => {
                // What was sent has to arrive before the end.
                while !self.flights.is_empty() {
                    self.look();
                    std::thread::yield_now();
                }
                self.finished = true;
            }
        }
    }

    /// Hands out what has ended, and says whether something has.
    fn look(&mut self) -> bool {
        let before = self.flights.len();
        let mut index = 0;
        while index < self.flights.len() {
            match self.flights[index].0.look() {
                None => index += 1,
                Some(outcome) => {
                    let (_, _, ended) = self.flights.remove(index);
                    ended(outcome);
                }
            }
        }
        self.flights.len() < before
    }
}
