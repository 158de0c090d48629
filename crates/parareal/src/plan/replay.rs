use std::collections::HashMap;
use std::time::Duration;

use crate::exec::{
    ExecutedInstruction, Message, Moment, Operation, Program, Simulation, TimingModel, WorkerTrace,
};

/// Replays a recorded step: simulates its program with the recorded durations, and returns the resulting
/// order and times.
///
/// [`Scenario::predict`](super::Scenario::predict) uses the same simulation, and workers choose their next
/// instruction by the same rule. The trace provides the duration of each instruction, and the latency of each
/// message from the beginning of its send to its arrival. The simulation computes everything else: when
/// messages arrive, in which order a worker executes its instructions, when all workers have reached
/// [`Operation::ReduceTotals`], and when each instruction ends. The results equal the recorded ones to the
/// nanosecond.
///
/// The trace does not record how long workers wait for other replicas, or for workers of other processes.
/// This time counts as part of the durations.
///
/// # Panics
/// If the trace contains a worker or an instruction that is not in the program.
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
/// assert_eq!(replay(executor.program().expect("parallel workers have a program"), &trace), trace);
/// # Ok(())
/// # }
/// ```
pub fn replay(program: &Program, trace: &[WorkerTrace]) -> Vec<WorkerTrace> {
    replay_scaled(program, trace, |_, _| 1.0)
}

/// Replays a recorded step with scaled durations.
///
/// The duration of each instruction is multiplied by `factor`, a function of the index of the worker among
/// the workers of all replicas and of the operation. For example, this shows how long the step would have
/// taken if coarse networks were twice as fast. The latencies of messages are unchanged. Durations are
/// rounded to nanoseconds. A negative factor gives meaningless times.
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
    let mut simulation = Simulation::new(program, replicas);
    let mut model = Recorded::new(program, replicas, trace, &mut simulation);
    for (worker, own) in model.workers.iter_mut().enumerate() {
        let instructions = program.worker(worker % per_replica).instructions();
        for (&index, duration) in own.iter_mut().flat_map(|own| &mut own.durations) {
            *duration = (*duration * factor(worker, &instructions[index].operation)).round();
        }
    }
    let executed = simulation.run(&mut model);
    let traces = executed.into_iter().zip(model.workers).enumerate();
    let traces = traces.filter_map(|(worker, (executed, own))| {
        let executed = executed.into_iter().map(|own| ExecutedInstruction {
            instruction: own.index,
            arrival: own.arrival.map(duration),
            end: duration(own.end),
        });
        Some(WorkerTrace { worker, begin: duration(own?.begin), executed: executed.collect() })
    });
    traces.collect()
}

/// A timing model with recorded durations. Times are whole nanoseconds, so sums are exact.
struct Recorded {
    per_replica: usize,
    /// `None` for the workers of another process.
    workers: Vec<Option<RecordedWorker>>,
    /// The time from the beginning of a send to the arrival, keyed by the replica and the message.
    latencies: HashMap<(usize, Message), f64>,
}

#[derive(Clone)]
struct RecordedWorker {
    begin: Moment,
    /// The duration of each instruction, without the time that it waits.
    durations: HashMap<usize, f64>,
}

impl Recorded {
    /// Extracts durations and latencies from a trace. Workers that are not in the trace are excluded from the
    /// simulation, except for their messages.
    fn new(
        program: &Program,
        replicas: usize,
        trace: &[WorkerTrace],
        simulation: &mut Simulation<'_>,
    ) -> Self {
        let per_replica = program.workers().len();
        let operation = |own: &WorkerTrace, executed: &ExecutedInstruction| {
            &program.worker(own.worker % per_replica).instructions()[executed.instruction].operation
        };
        // The moments at which workers began each send, and at which the last worker reached `ReduceTotals`.
        let mut sent = HashMap::new();
        let mut all_there = Moment::default();
        for own in trace {
            let mut reached = moment(own.begin);
            for executed in &own.executed {
                let operation = operation(own, executed);
                if *operation == Operation::ReduceTotals {
                    all_there = all_there.max(reached);
                }
                if let Some(message) = operation.sent_message() {
                    sent.insert((own.worker / per_replica, message), reached.time);
                }
                reached = moment(executed.end);
            }
        }
        let mut workers = vec![None; replicas * per_replica];
        let mut latencies = HashMap::new();
        for own in trace {
            let begin = moment(own.begin);
            let (mut reached, mut durations) = (begin, HashMap::new());
            for executed in &own.executed {
                let operation = operation(own, executed);
                let mut from = reached;
                if let (Some(message), Some(arrival)) = (operation.message(), executed.arrival) {
                    let (replica, arrival) = (own.worker / per_replica, moment(arrival));
                    from = from.max(arrival);
                    match sent.get(&(replica, message)) {
                        Some(sent) => {
                            latencies.insert((replica, message), arrival.time - sent);
                        }
                        None => simulation.add_message(replica, message, arrival),
                    }
                }
                if *operation == Operation::ReduceTotals {
                    from = all_there;
                }
                let end = moment(executed.end);
                durations.insert(executed.instruction, end.time - from.time);
                reached = end;
            }
            workers[own.worker] = Some(RecordedWorker { begin, durations });
        }
        let absent = workers.iter().enumerate().filter(|(_, own)| own.is_none());
        absent.for_each(|(worker, _)| simulation.leave_out(worker));
        Self { per_replica, workers, latencies }
    }
}

fn moment(duration: Duration) -> Moment {
    Moment { time: duration.as_nanos() as f64, cause: None }
}

fn duration(moment: Moment) -> Duration {
    Duration::from_nanos(moment.time as u64)
}

/// Returns the moment this many nanoseconds later.
fn later(at: Moment, nanoseconds: f64) -> Moment {
    Moment { time: at.time + nanoseconds, ..at }
}

impl TimingModel for Recorded {
    fn begin(&self, worker: usize) -> Moment {
        self.workers[worker].as_ref().map_or(Moment::default(), |own| own.begin)
    }

    /// Returns the arrival of a message. A message to another process has no recorded latency, but no
    /// simulated worker waits for it.
    fn send(&mut self, worker: usize, message: Message, at: Moment) -> Moment {
        let latency = self.latencies.get(&(worker / self.per_replica, message));
        later(at, latency.copied().unwrap_or(0.0))
    }

    fn execute(
        &mut self,
        worker: usize,
        index: usize,
        _operation: &Operation,
        at: Moment,
    ) -> Option<Moment> {
        let own = self.workers[worker].as_ref()?;
        Some(later(at, *own.durations.get(&index)?))
    }
}
