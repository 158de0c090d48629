use std::collections::HashMap;

use super::operation::Message;
use super::{Next, Operation, Program, Progress, WorkerProgram};

/// A moment of a simulated step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moment {
    pub(crate) time: f64,
    /// The task that ended at this moment, in the numbering of the model.
    pub(crate) cause: Option<usize>,
}

impl Moment {
    /// Returns the later of two moments; `self` if they are equal.
    pub(crate) fn max(self, other: Self) -> Self {
        if other.time > self.time { other } else { self }
    }
}

/// The durations of a simulated step. Workers are numbered replica by replica.
pub(crate) trait TimingModel {
    /// Returns the moment at which a worker begins.
    fn begin(&self, worker: usize) -> Moment {
        let _ = worker;
        Moment::default()
    }

    /// Returns the arrival of the message that a worker begins to send at `at`.
    fn send(&mut self, worker: usize, message: Message, at: Moment) -> Moment;

    /// Executes an instruction on a worker at `at`. At this moment the worker is free, and the operation has
    /// nothing to wait for. Returns the moment at which the worker is free again. If the model does not know
    /// the instruction, returns `None`, and the worker stops.
    fn execute(
        &mut self,
        worker: usize,
        index: usize,
        operation: &Operation,
        at: Moment,
    ) -> Option<Moment>;
}

/// An instruction that was executed in a simulation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimulatedInstruction {
    /// The index of the instruction in the program of the worker.
    pub(crate) index: usize,
    /// The arrival of the message, if the instruction receives one.
    pub(crate) arrival: Option<Moment>,
    pub(crate) end: Moment,
}

/// The simulation of a step of a program.
///
/// It models the messages between workers and [`Operation::ReduceTotals`], which no worker passes before all
/// workers have reached it.
pub(crate) struct Simulation<'a> {
    program: &'a Program,
    /// The arrival of each message, keyed by the replica and the message.
    arrivals: HashMap<(usize, Message), Moment>,
    /// The moment at which each worker reaches [`Operation::ReduceTotals`].
    totals: Vec<Option<Moment>>,
}

impl<'a> Simulation<'a> {
    /// Creates a simulation of this many replicas.
    pub(crate) fn new(program: &'a Program, replicas: usize) -> Self {
        let totals = vec![None; replicas * program.workers().len()];
        Self { program, arrivals: HashMap::new(), totals }
    }

    /// Excludes a worker, so that the other workers do not wait for it.
    pub(crate) fn leave_out(&mut self, worker: usize) {
        self.totals[worker] = Some(Moment::default());
    }

    /// Adds a message from an excluded worker.
    pub(crate) fn add_message(&mut self, replica: usize, message: Message, arrival: Moment) {
        self.arrivals.insert((replica, message), arrival);
    }

    /// Executes the program with the durations of a model. Returns the instructions of each worker in the
    /// order of execution. Instructions that wait for messages that are never sent are missing.
    pub(crate) fn run<M: TimingModel>(mut self, model: &mut M) -> Vec<Vec<SimulatedInstruction>> {
        let per_replica = self.program.workers().len();
        let workers = (0..self.totals.len()).map(|number| {
            let program = self.program.worker(number % per_replica);
            let executed = Vec::with_capacity(program.instructions().len());
            let (at, progress) = (model.begin(number), Progress::new(program));
            Worker { number, replica: number / per_replica, program, at, progress, executed }
        });
        let mut workers: Vec<_> = workers.collect();
        // A worker runs until it needs the arrival time of a message that has not been sent.
        loop {
            let mut has_advanced = false;
            for worker in &mut workers {
                while self.advance(worker, model).is_some() {
                    has_advanced = true;
                }
            }
            if !has_advanced {
                return workers.into_iter().map(|worker| worker.executed).collect();
            }
        }
    }

    /// Executes one instruction of a worker. Returns `None` if this is not possible yet.
    fn advance<M: TimingModel>(&mut self, worker: &mut Worker<'_>, model: &mut M) -> Option<()> {
        let &mut Worker { number, replica, program, at: now, .. } = worker;
        let arrival = |operation: &Operation| {
            let message = operation.message().expect("a receive has a message");
            self.arrivals.get(&(replica, message)).copied()
        };
        let has_arrived = |_, operation: &Operation| {
            arrival(operation).map(|arrival| arrival.time <= now.time).ok_or(NotSent)
        };
        let next = worker.progress.next(program, has_arrived).ok()??;
        let (Next::Run(index) | Next::Wait(index)) = next;
        let operation = &program.instructions()[index].operation;
        let arrival = operation.is_receive().then(|| arrival(operation)).flatten();
        let mut at = arrival.map_or(now, |arrival| now.max(arrival));
        if *operation == Operation::ReduceTotals {
            at = self.reach_totals(number, now)?;
        }
        let end = model.execute(number, index, operation, at)?;
        if let Some(message) = operation.sent_message() {
            let arrival = model.send(number, message, at);
            self.arrivals.insert((replica, message), arrival);
        }
        worker.at = end;
        worker.executed.push(SimulatedInstruction { index, arrival, end });
        worker.progress.finish(index);
        Some(())
    }

    /// Records that a worker has reached [`Operation::ReduceTotals`]. Returns the moment at which the last
    /// worker reached it; `None` until all workers have.
    fn reach_totals(&mut self, worker: usize, at: Moment) -> Option<Moment> {
        self.totals[worker] = Some(at);
        self.totals.iter().try_fold(at, |latest, reached| Some(latest.max((*reached)?)))
    }
}

struct Worker<'a> {
    number: usize,
    replica: usize,
    program: &'a WorkerProgram,
    at: Moment,
    progress: Progress,
    executed: Vec<SimulatedInstruction>,
}

/// A message that has not been sent yet.
struct NotSent;
