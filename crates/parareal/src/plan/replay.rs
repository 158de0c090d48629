use std::collections::HashMap;
use std::time::Duration;

use crate::exec::{
    Barrier, ExecutedInstruction, Messages, Moment, Operation, Program, TimingModel, WorkerTrace,
    simulate,
};

/// Replays the step that workers have recorded: simulates its program with the recorded durations, and returns the
/// order and the times that follow from them.
///
/// The simulation is the one with which [`Scenario::predict`](super::Scenario::predict) predicts a step, and
/// its rule for the next instruction is the one that workers follow. Two things are taken from the trace: the
/// duration of each instruction, and the latency of each message, from the beginning of its send to its arrival. The
/// simulation computes everything else: when messages arrive, in which order a worker executes its instructions,
/// when all workers have reached the sum of the totals, and when each instruction ends. The results equal the
/// recorded ones, to the nanosecond.
///
/// Waiting for other replicas, and for workers of other processes, of which the trace says nothing, counts
/// as a duration.
///
/// # Panics
/// If the trace has a worker or an instruction that the program does not have.
///
/// ```
/// # use parareal::burn::nn::{Linear, LinearConfig};
/// # use parareal::burn::optim::SgdConfig;
/// use parareal::plan::replay;
/// use parareal::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::flex();
/// # let linear = |from, to| move |init: &Init| {
/// #     layer(LinearConfig::new(from, to).init(init.device()), Linear::forward)
/// # };
/// # let network = Sequential::stem(Tensor::<2>::zeros([1, 2], &device), linear(2, 8))
/// #     .units(6, move |_, init| linear(8, 8)(init))
/// #     .head(linear(8, 3))?;
/// # let network = PararealNetwork::build(&network, &Cuts::even(6, 3)?, &Init::new(1, &device))?;
/// # let (input, labels) = (Tensor::ones([4, 2], &device), Tensor::zeros([4], &device));
/// let builder = ExecutorBuilder::new(CrossEntropy::default(), SgdConfig::new().init());
/// let mut executor = builder.workers(3).start(network)?;
/// let trace = executor.train_step(input, labels, 0.1)?.trace;
/// assert_eq!(replay(executor.program().expect("workers have one"), &trace), trace);
/// # Ok(())
/// # }
/// ```
pub fn replay(program: &Program, trace: &[WorkerTrace]) -> Vec<WorkerTrace> {
    replay_scaled(program, trace, |_, _| 1.0)
}

/// Replays a recorded step with durations multiplied by `factor`, a function of the worker, numbered through all
/// replicas, and the operation. It answers what the step would have been with, say, coarse networks
/// of half their time. The latencies of messages stay as they were. Durations are rounded to nanoseconds; a
/// negative factor gives times that run backwards, and is of no use.
///
/// # Panics
/// As [`replay`].
pub fn replay_scaled(
    program: &Program,
    trace: &[WorkerTrace],
    factor: impl Fn(usize, &Operation) -> f64,
) -> Vec<WorkerTrace> {
    let per_replica = program.workers().len();
    let replicas = trace.iter().map(|own| own.worker / per_replica + 1).max().unwrap_or(0);
    let mut model = Recorded::new(program, replicas, trace);
    for (worker, own) in model.workers.iter_mut().enumerate() {
        let instructions = program.worker(worker % per_replica).instructions();
        for (&index, seconds) in own.iter_mut().flat_map(|own| &mut own.durations) {
            *seconds = (*seconds * factor(worker, &instructions[index].operation)).round();
        }
    }
    let executed = simulate(program, replicas, &mut model);
    let traces = executed.into_iter().zip(model.workers).enumerate();
    let traces = traces.filter_map(|(worker, (executed, own))| {
        let own = own?;
        let executed = executed.into_iter().map(|(instruction, end)| ExecutedInstruction {
            instruction,
            arrival: own.arrivals.get(&instruction).copied().map(duration),
            end: duration(end.time),
        });
        Some(WorkerTrace { worker, begin: own.begin, executed: executed.collect() })
    });
    traces.collect()
}

/// The recorded durations. Times are whole nanoseconds, which add up without rounding.
struct Recorded {
    per_replica: usize,
    /// `None` for the workers of another process.
    workers: Vec<Option<RecordedWorker>>,
    /// The messages of each replica.
    messages: Vec<Messages>,
    totals: Barrier,
}

#[derive(Clone)]
struct RecordedWorker {
    begin: Duration,
    /// For each instruction its duration; for a receive, from the arrival of its message.
    durations: HashMap<usize, f64>,
    /// For each receive the time from the beginning of the send; the time of the arrival if the sender is in
    /// another process.
    messages: HashMap<usize, f64>,
    /// The arrivals of the replay.
    arrivals: HashMap<usize, f64>,
}

impl Recorded {
    fn new(program: &Program, replicas: usize, trace: &[WorkerTrace]) -> Self {
        let per_replica = program.workers().len();
        let mut workers = vec![None; replicas * per_replica];
        // When workers turned to an instruction: to sends, and to the sum of the totals.
        let mut sent = vec![Messages::default(); replicas];
        let mut all_there = 0.0_f64;
        for own in trace {
            let instructions = program.worker(own.worker % per_replica).instructions();
            let mut reached = nanoseconds(own.begin);
            for executed in &own.executed {
                let operation = &instructions[executed.instruction].operation;
                if *operation == Operation::ReduceTotals {
                    all_there = all_there.max(reached);
                }
                let turned = Moment { time: reached, cause: None };
                sent[own.worker / per_replica].send(operation, turned);
                reached = nanoseconds(executed.end);
            }
        }
        for own in trace {
            let instructions = program.worker(own.worker % per_replica).instructions();
            let mut reached = nanoseconds(own.begin);
            let (mut durations, mut messages) = (HashMap::new(), HashMap::new());
            for &ExecutedInstruction { instruction, arrival, end } in &own.executed {
                let operation = &instructions[instruction].operation;
                let mut from = reached;
                if let Some(arrival) = arrival.map(nanoseconds) {
                    from = from.max(arrival);
                    let sent = sent[own.worker / per_replica].arrival(operation);
                    messages.insert(instruction, arrival - sent.map_or(0.0, |sent| sent.time));
                }
                if *operation == Operation::ReduceTotals {
                    from = all_there;
                }
                let end = nanoseconds(end);
                durations.insert(instruction, end - from);
                reached = end;
            }
            let (begin, arrivals) = (own.begin, HashMap::new());
            workers[own.worker] = Some(RecordedWorker { begin, durations, messages, arrivals });
        }
        let known = workers.iter().flatten().count();
        let messages = vec![Messages::default(); replicas];
        Self { per_replica, workers, messages, totals: Barrier::new(known) }
    }

    /// The index of a worker among those of which the trace says something.
    fn known(&self, worker: usize) -> usize {
        self.workers[..worker].iter().flatten().count()
    }
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

fn duration(nanoseconds: f64) -> Duration {
    Duration::from_nanos(nanoseconds as u64)
}

impl TimingModel for Recorded {
    fn begin(&self, worker: usize) -> Moment {
        let begin = self.workers[worker].as_ref().map_or(Duration::ZERO, |own| own.begin);
        Moment { time: nanoseconds(begin), cause: None }
    }

    fn arrival(&self, worker: usize, index: usize, operation: &Operation) -> Option<Moment> {
        let replica = worker / self.per_replica;
        let time = *self.workers[worker].as_ref()?.messages.get(&index)?;
        let sender = match operation {
            Operation::ReceiveState { .. } => worker - 1,
            _ => worker + 1,
        };
        let sent = match &self.workers[sender] {
            Some(_) => self.messages[replica].arrival(operation)?.time,
            None => 0.0,
        };
        Some(Moment { time: sent + time, cause: None })
    }

    fn execute(
        &mut self,
        worker: usize,
        index: usize,
        operation: &Operation,
        at: Moment,
    ) -> Option<Moment> {
        let duration = *self.workers[worker].as_ref()?.durations.get(&index)?;
        let begin = match operation {
            Operation::ReduceTotals => self.totals.arrive(self.known(worker), at)?,
            _ => at,
        };
        self.messages[worker / self.per_replica].send(operation, at);
        if operation.is_receive() {
            let arrival = self.arrival(worker, index, operation)?.time;
            self.workers[worker].as_mut()?.arrivals.insert(index, arrival);
        }
        Some(Moment { time: begin.time + duration, cause: None })
    }
}
