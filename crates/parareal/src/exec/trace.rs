use std::time::Duration;

/// The instructions that a worker executed in a step, in order.
///
/// Times are measured with the host's clock, from the moment at which the executor of this process began the
/// step. A device that works asynchronously may execute the work later. In contrast, the timeline of a step
/// with MPI ([`StepReport::timeline`](super::StepReport::timeline)) starts when the first rank began the
/// step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerTrace {
    /// The index of the worker among the workers of all replicas: see
    /// [`Layout::worker_number`](super::Layout::worker_number).
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
    /// The index of the instruction in the program of the worker.
    pub instruction: usize,
    /// The time at which the worker noticed that the message had arrived, if the instruction receives one.
    pub arrival: Option<Duration>,
    /// The time at which the worker was free for the next instruction.
    pub end: Duration,
}
