use std::collections::HashMap;
use std::time::Duration;

use crate::exec::{ExecutedInstruction, Model, Moment, Operation, Program, WorkerTrace, simulate};

/// Replays the step that workers have recorded: simulates its program with the recorded durations
/// and arrivals. Returns the order and the times that follow from them.
///
/// The simulation is the one with which [`Scenario::predict`](super::Scenario::predict) predicts a step, and
/// its rule for the next instruction is the one that workers follow. So the result equals the recording, to
/// the nanosecond. With arrivals or times of one's own it says what would have happened instead. A
/// duration is the time from the end of the previous instruction, or from the arrival of the message, to
/// the end of the instruction; the operations of a step that wait for other workers in another way than by
/// a message last as long as they did.
///
/// Instructions of which the trace says nothing are not executed, nor are those that come after them.
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
    let workers = program.workers().len();
    let replicas = trace.iter().map(|own| own.worker / workers + 1).max().unwrap_or(0);
    let replayed = (0..replicas).flat_map(|replica| {
        let first = replica * workers;
        let mut model = Recorded { workers: vec![None; workers] };
        for own in trace.iter().filter(|own| own.worker / workers == replica) {
            model.workers[own.worker - first] = Some(RecordedWorker::new(own));
        }
        let executed = simulate(program, &mut model).into_iter().enumerate();
        let traces = executed.zip(model.workers).filter_map(move |((worker, executed), own)| {
            let own = own?;
            let executed = executed.into_iter().map(|(instruction, end)| ExecutedInstruction {
                instruction,
                arrival: own.instructions.get(&instruction).and_then(|own| own.arrival),
                end: duration(end.time),
            });
            let executed = executed.collect();
            Some(WorkerTrace { worker: first + worker, begin: own.begin, executed })
        });
        traces.collect::<Vec<_>>()
    });
    replayed.collect()
}

/// The recorded durations and arrivals. Times are whole nanoseconds, which add up without rounding.
struct Recorded {
    /// `None` for the workers of another process.
    workers: Vec<Option<RecordedWorker>>,
}

#[derive(Clone)]
struct RecordedWorker {
    begin: Duration,
    instructions: HashMap<usize, RecordedInstruction>,
}

#[derive(Clone, Copy)]
struct RecordedInstruction {
    arrival: Option<Duration>,
    duration: Duration,
}

impl RecordedWorker {
    fn new(trace: &WorkerTrace) -> Self {
        let mut reached = trace.begin;
        let mut instructions = HashMap::new();
        for &ExecutedInstruction { instruction, arrival, end } in &trace.executed {
            let from = arrival.map_or(reached, |arrival| arrival.max(reached));
            let duration = end.saturating_sub(from);
            instructions.insert(instruction, RecordedInstruction { arrival, duration });
            reached = end;
        }
        Self { begin: trace.begin, instructions }
    }
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

fn duration(nanoseconds: f64) -> Duration {
    Duration::from_nanos(nanoseconds as u64)
}

impl Recorded {
    fn instruction(&self, worker: usize, index: usize) -> Option<&RecordedInstruction> {
        self.workers[worker].as_ref()?.instructions.get(&index)
    }
}

impl Model for Recorded {
    fn begin(&self, worker: usize) -> Moment {
        let begin = self.workers[worker].as_ref().map_or(Duration::ZERO, |own| own.begin);
        Moment { time: nanoseconds(begin), cause: None }
    }

    fn arrival(&self, worker: usize, index: usize, _operation: &Operation) -> Option<Moment> {
        let arrival = self.instruction(worker, index)?.arrival?;
        Some(Moment { time: nanoseconds(arrival), cause: None })
    }

    fn execute(
        &mut self,
        worker: usize,
        index: usize,
        _operation: &Operation,
        at: Moment,
    ) -> Option<Moment> {
        let RecordedInstruction { duration, .. } = self.instruction(worker, index)?;
        Some(Moment { time: at.time + nanoseconds(*duration), cause: None })
    }
}
