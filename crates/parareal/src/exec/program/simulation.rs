use std::collections::HashMap;

use super::{Next, Operation, Program, Progress, WorkerProgram};

/// A moment of a simulated step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moment {
    pub(crate) time: f64,
    /// The task that ended at this moment, in the numbering of the model.
    pub(crate) cause: Option<usize>,
}

impl Moment {
    /// The later of two moments; the first if they are equal.
    pub(crate) fn max(self, other: Self) -> Self {
        if other.time > self.time { other } else { self }
    }
}

/// The durations and arrivals of a simulated step.
pub(crate) trait TimingModel {
    /// The moment at which a worker begins.
    fn begin(&self, worker: usize) -> Moment;

    /// The arrival of the message that a receive waits for; `None` if it has not been sent yet.
    fn arrival(&self, worker: usize, index: usize, operation: &Operation) -> Option<Moment>;

    /// Executes an instruction on a worker that is free, and for a receive whose message has arrived, at
    /// `at`. Returns the moment at which the worker is free again; `None` as long as other workers have
    /// to get further first.
    fn execute(
        &mut self,
        worker: usize,
        index: usize,
        operation: &Operation,
        at: Moment,
    ) -> Option<Moment>;
}

/// An instruction in the order of its execution, with the moment of its end.
pub(crate) type Simulated = Vec<(usize, Moment)>;

/// Executes the program of `replicas` replicas with the durations and arrivals of a model. Workers are numbered
/// replica by replica. Returns the instructions of each worker in the order of their execution: fewer than the
/// program has, if it waits for messages that nobody sends.
pub(crate) fn simulate<M: TimingModel>(
    program: &Program,
    replicas: usize,
    model: &mut M,
) -> Vec<Simulated> {
    let per_replica = program.workers().len();
    let workers = (0..replicas * per_replica).map(|worker| {
        let own = program.worker(worker % per_replica);
        let (at, progress) = (model.begin(worker), Progress::new(own));
        Worker { at, progress, executed: Vec::with_capacity(own.instructions().len()) }
    });
    let mut workers: Vec<_> = workers.collect();
    // A worker runs until it needs to know when a message arrives that has not been sent.
    loop {
        let mut has_advanced = false;
        for (number, worker) in workers.iter_mut().enumerate() {
            while worker.advance(program.worker(number % per_replica), number, model) {
                has_advanced = true;
            }
        }
        if !has_advanced {
            return workers.into_iter().map(|worker| worker.executed).collect();
        }
    }
}

struct Worker {
    at: Moment,
    progress: Progress,
    executed: Simulated,
}

/// A message that has not been sent yet.
struct NotSent;

impl Worker {
    /// Executes one instruction. Returns false if that is not possible yet.
    fn advance<M: TimingModel>(
        &mut self,
        own: &WorkerProgram,
        number: usize,
        model: &mut M,
    ) -> bool {
        let now = self.at.time;
        let has_arrived = |index, operation: &Operation| {
            let arrival = model.arrival(number, index, operation);
            arrival.map(|arrival| arrival.time <= now).ok_or(NotSent)
        };
        let next = self.progress.next(own, has_arrived);
        let Ok(Some(Next::Run(index) | Next::Wait(index))) = next else { return false };
        let operation = &own.instructions()[index].operation;
        let mut at = self.at;
        if operation.is_receive() {
            at = at.max(model.arrival(number, index, operation).expect("known for its choice"));
        }
        let Some(end) = model.execute(number, index, operation, at) else { return false };
        self.at = end;
        self.executed.push((index, end));
        self.progress.finish(index);
        true
    }
}

/// The messages of a simulated step, with the moments of their arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Messages {
    /// `U_j` and `ρ_j`, by subnetwork.
    arrivals: HashMap<(Message, usize), Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    State,
    Cotangent,
}

impl Messages {
    /// Records the arrival of the message that an operation sends, if it sends one.
    pub(crate) fn send(&mut self, operation: &Operation, arrival: Moment) {
        if !operation.is_receive()
            && let Some(message) = message(operation)
        {
            self.arrivals.insert(message, arrival);
        }
    }

    /// The arrival of the message that an operation receives, if it has been sent.
    pub(crate) fn arrival(&self, operation: &Operation) -> Option<Moment> {
        self.arrivals.get(&message(operation)?).copied()
    }
}

fn message(operation: &Operation) -> Option<(Message, usize)> {
    match *operation {
        Operation::SendState { subnetwork } | Operation::ReceiveState { subnetwork } => {
            Some((Message::State, subnetwork))
        }
        Operation::SendCotangent { subnetwork } | Operation::ReceiveCotangent { subnetwork } => {
            Some((Message::Cotangent, subnetwork))
        }
        _ => None,
    }
}

/// The moments at which workers reach an operation that none of them leaves before all are there.
#[derive(Debug)]
pub(crate) struct Barrier(Vec<Option<Moment>>);

impl Barrier {
    pub(crate) fn new(workers: usize) -> Self {
        Self(vec![None; workers])
    }

    /// Lets a worker arrive. Returns the moment at which all are there; `None` while one is missing.
    pub(crate) fn arrive(&mut self, worker: usize, at: Moment) -> Option<Moment> {
        self.0[worker] = Some(at);
        let mut latest = at;
        for arrived in &self.0 {
            latest = latest.max((*arrived)?);
        }
        Some(latest)
    }
}
