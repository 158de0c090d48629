use std::time::Duration;

/// The instructions that a worker executed in a step, in their order.
///
/// Times are those of the host's clock, since the executor of this process began the step. A device that works
/// asynchronously may execute the work later. Under MPI the timeline of a step
/// ([`StepReport::timeline`](super::StepReport::timeline)) counts from the first rank's beginning instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerTrace {
    /// The worker, numbered through all replicas: see [`Layout::worker_number`](super::Layout::worker_number).
    pub worker: usize,
    /// The time at which the worker began the first instruction.
    pub begin: Duration,
    /// The instructions of its [`WorkerProgram`](super::WorkerProgram).
    pub executed: Vec<ExecutedInstruction>,
}

/// An instruction that was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutedInstruction {
    /// Its index in the program of the worker.
    pub instruction: usize,
    /// For a receive: the time at which the worker noticed that the message had arrived.
    pub arrival: Option<Duration>,
    /// The time at which the worker was free for the next instruction.
    pub end: Duration,
}
