//! The program of a training step as data.

mod diagram;
mod operation;
mod progress;
mod simulation;

use std::fmt;
use std::ops::Range;

pub(crate) use operation::Message;
pub use operation::Operation;
pub(crate) use progress::{Next, Progress};
pub(crate) use simulation::{Moment, SimulatedInstruction, Simulation, TimingModel};

use super::layout::{Layout, LayoutError};
use crate::net::Cuts;

/// The program of a training step: the instructions that each worker of a replica executes.
///
/// Executors interpret it, [`crate::plan`] simulates it, and the diagram in the documentation of
/// [`crate::exec`] is printed from it ([`Self::diagram`]). Workers of different replicas have the same
/// program.
///
/// # Order
/// An instruction is ready when its predecessors ([`after`](Instruction::after)) have been executed and, if
/// it receives a message, the message has arrived. An idle worker executes the first ready instruction in its
/// list. If no instruction is ready, it waits for the message of the first receive instruction whose
/// predecessors have been executed. So the order of the list is an order of priority, and the actual order
/// depends on the arrival of messages: the coarse chain overtakes the fine work of later subnetworks as soon
/// as its input has arrived.
///
/// ```
/// use parareal::exec::{Layout, Program, ProgramOptions};
/// use parareal::net::Cuts;
///
/// let layout = Layout::threads(2, 2, 1)?;
/// let options = ProgramOptions { segment_units: 2, ..ProgramOptions::default() };
/// let program = Program::new(&layout, &Cuts::even(4, 2)?, options)?;
/// assert_eq!(
///     program.worker(0).to_string(),
///     "x_1 = C_1(x)
/// g_1, units 1..=2
/// send U_1
/// merge running statistics of subnetwork 1
/// receive ρ_1
/// backward g_1, units 1..=2
/// backward C_1
/// sum loss and failures over all workers
/// update subnetwork 1
/// "
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    workers: Vec<WorkerProgram>,
}

/// The instructions of one worker, in order of priority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerProgram {
    instructions: Vec<Instruction>,
}

/// An operation, and its predecessors among the instructions of the same worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instruction {
    /// The operation.
    pub operation: Operation,
    /// The indices of the predecessors: the instructions that must have been executed before this one. Two
    /// instructions may be executed in either order if neither is a direct or indirect predecessor of the
    /// other.
    pub after: Vec<usize>,
}

/// Options for the program of a step, in addition to the layout and the cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramOptions {
    /// The number of units that share one graph, at least 1. After each segment a worker checks whether the
    /// coarse chain can continue.
    pub segment_units: usize,
    /// Keeps only the state at the start of each segment, and recomputes the other states in the backward
    /// pass.
    pub recompute: bool,
    /// Computes gradients of the coarse networks' weights after the cotangent has been sent. The first worker
    /// does not defer any gradients, because no worker waits for it.
    pub defer_weights: bool,
}

impl Default for ProgramOptions {
    fn default() -> Self {
        Self { segment_units: 4, recompute: false, defer_weights: true }
    }
}

impl Program {
    /// Creates the program for a layout of a network with these cuts.
    ///
    /// # Errors
    /// [`LayoutError::OtherNetwork`] if the layout has a different number of subnetworks than the cuts;
    /// [`LayoutError::EmptySegments`].
    pub fn new(layout: &Layout, cuts: &Cuts, options: ProgramOptions) -> Result<Self, LayoutError> {
        Self::accumulating(layout, cuts, options, 1)
    }

    /// Creates the program of a step whose batch consists of micro-batches. Their gradients are added, and summed over the
    /// replicas once, in the last one.
    ///
    /// # Errors
    /// As [`Self::new`]; [`LayoutError::NoMicroBatch`] for 0 micro-batches.
    pub fn accumulating(
        layout: &Layout,
        cuts: &Cuts,
        options: ProgramOptions,
        micro_batches: usize,
    ) -> Result<Self, LayoutError> {
        layout.check_network(cuts.subnetworks())?;
        if options.segment_units == 0 {
            return Err(LayoutError::EmptySegments);
        }
        if micro_batches == 0 {
            return Err(LayoutError::NoMicroBatch);
        }
        let reduces = layout.replicas() > 1;
        let workers = (0..layout.workers()).map(|worker| {
            let own = layout.subnetworks_of(worker);
            WorkerProgram::new(&own, cuts, options, (micro_batches, reduces))
        });
        Ok(Self { workers: workers.collect() })
    }

    /// Returns the program in which each instruction is a successor of the previous one in its list, so that the order does
    /// not depend on the arrival of messages. The coarse chain then waits for the fine work before it in the list.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        for worker in &mut self.workers {
            for (index, instruction) in worker.instructions.iter_mut().enumerate().skip(1) {
                instruction.after = vec![index - 1];
            }
        }
        self
    }

    /// Returns true if a simulation of one replica has executed all instructions.
    pub(crate) fn is_complete(&self, executed: &[Vec<SimulatedInstruction>]) -> bool {
        let counts = self.workers.iter().map(|own| own.instructions.len());
        executed.iter().map(Vec::len).eq(counts)
    }

    /// Returns the program of each worker of a replica.
    pub fn workers(&self) -> &[WorkerProgram] {
        &self.workers
    }

    /// Returns the program of one worker of a replica.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn worker(&self, worker: usize) -> &WorkerProgram {
        &self.workers[worker]
    }
}

impl WorkerProgram {
    /// Returns the instructions, in order of priority.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Creates the program of the worker that holds the subnetworks `own`. `reduces` is true if there are several
    /// replicas.
    fn new(
        own: &Range<usize>,
        cuts: &Cuts,
        options: ProgramOptions,
        (micro_batches, reduces): (usize, bool),
    ) -> Self {
        let mut program = Self::default();
        for micro_batch in 0..micro_batches {
            if micro_batches > 1 {
                let before = program.instructions.len().checked_sub(1);
                program.push(Operation::BeginMicroBatch { micro_batch }, [before, None]);
            }
            let is_last = micro_batch + 1 == micro_batches;
            program.differentiate(own, cuts, options, (micro_batch, is_last, reduces));
        }
        let mut then = |operation| {
            let before = program.instructions.len() - 1;
            program.push(operation, [Some(before), None]);
        };
        if reduces {
            then(Operation::AwaitReductions);
        }
        then(Operation::ReduceTotals);
        own.clone().for_each(|subnetwork| then(Operation::Update { subnetwork }));
        program
    }

    /// Adds the forward and the backward pass of a micro-batch. Gradients and running statistics are reduced over
    /// the replicas with the last one.
    fn differentiate(
        &mut self,
        own: &Range<usize>,
        cuts: &Cuts,
        options: ProgramOptions,
        (micro_batch, is_last_batch, has_replicas): (usize, bool, bool),
    ) {
        let ProgramOptions { segment_units, recompute, defer_weights } = options;
        let (is_first, is_last) = (own.start == 0, own.end == cuts.subnetworks());
        let reduces = has_replicas && is_last_batch;
        let bottom = own.end - 1;
        let program = self;

        // Fine operations are executed in list order, and so are the operations of the coarse chain. F_{j-1}
        // also needs y_j.
        let begin = program.instructions.len().checked_sub(1);
        let (mut fine, mut chain) = (begin, begin);
        for subnetwork in own.clone() {
            fine = program.push(Operation::ForwardPreprocessing { subnetwork }, [fine, None]);
            for units in segments(cuts.units_of(subnetwork), segment_units) {
                let keeps_graph = !recompute;
                let forward = Operation::ForwardUnits { subnetwork, units, keeps_graph };
                fine = program.push(forward, [fine, None]);
            }
            if subnetwork == own.start && !is_first {
                let receive = Operation::ReceiveState { subnetwork: subnetwork - 1, micro_batch };
                chain = program.push(receive, [begin, None]);
            }
            if subnetwork > 0 {
                chain = program.push(Operation::ForwardCoarse { subnetwork }, [chain, fine]);
            }
        }
        let end = match is_last {
            true => Operation::Head { subnetwork: bottom },
            false => Operation::SendState { subnetwork: bottom, micro_batch },
        };
        let end_of_chain = if chain == begin { fine } else { chain };
        program.push(end, [end_of_chain, None]);

        // From here on, each instruction is a successor of the previous one in the list.
        let mut then = |operation| {
            let before = program.instructions.len() - 1;
            program.push(operation, [Some(before), None]);
        };
        if is_last && has_replicas {
            then(Operation::ReduceTargetFailures { subnetwork: bottom });
        }
        let statistics =
            || own.clone().map(|subnetwork| Operation::ReduceStatistics { subnetwork });
        own.clone().for_each(|subnetwork| then(Operation::MergeStatistics { subnetwork }));
        if !is_last {
            // The worker has nothing else to do until the cotangent arrives.
            statistics().filter(|_| reduces).for_each(&mut then);
            then(Operation::ReceiveCotangent { subnetwork: bottom, micro_batch });
        }
        let defers_weights = defer_weights && !is_first;
        let bridged = || own.clone().rev().filter(|&subnetwork| subnetwork > 0);
        for subnetwork in bridged() {
            then(Operation::BackwardCoarse { subnetwork, defers_weights });
        }
        if !is_first {
            then(Operation::SendCotangent { subnetwork: own.start - 1, micro_batch });
        }
        if is_last {
            statistics().filter(|_| reduces).for_each(&mut then);
        }
        for subnetwork in own.clone().rev() {
            let is_bridged = subnetwork > 0;
            if is_bridged && defers_weights {
                then(Operation::BackwardCoarseWeights { subnetwork });
            }
            if reduces && (is_bridged || is_last && subnetwork == bottom) {
                then(Operation::ReduceGradients { subnetwork });
            }
        }
        for subnetwork in own.clone() {
            let segments = segments(cuts.units_of(subnetwork), segment_units);
            for units in segments.collect::<Vec<_>>().into_iter().rev() {
                if recompute {
                    then(Operation::RecomputeUnits { subnetwork, units: units.clone() });
                }
                then(Operation::BackwardUnits { subnetwork, units });
                if reduces {
                    then(Operation::ReduceGradients { subnetwork });
                }
            }
            then(Operation::BackwardPreprocessing { subnetwork });
            if reduces {
                then(Operation::ReduceGradients { subnetwork });
            }
        }
    }

    /// Adds an instruction, and returns its index.
    fn push(&mut self, operation: Operation, after: [Option<usize>; 2]) -> Option<usize> {
        let after = after.into_iter().flatten().collect();
        self.instructions.push(Instruction { operation, after });
        Some(self.instructions.len() - 1)
    }
}

/// Writes one line per instruction.
impl fmt::Display for WorkerProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.instructions.iter().try_for_each(|own| writeln!(f, "{}", own.operation))
    }
}

/// Splits units into segments of `segment_units`; the last one may be shorter.
pub(crate) fn segments(
    units: Range<usize>,
    segment_units: usize,
) -> impl Iterator<Item = Range<usize>> {
    let end = units.end;
    units
        .step_by(segment_units)
        .map(move |start| start..start.saturating_add(segment_units).min(end))
}
