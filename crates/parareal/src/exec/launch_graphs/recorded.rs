//! The recording of a step.

use std::collections::HashMap;
use std::ops::Range;

use burn::module::ParamId;
use burn::tensor::Tensor;
use parareal_kernels::graph::{LaunchGraph, MemoryPlace, TensorMemory};

use super::super::command::MicroBatch;
use super::super::program::Message;
use crate::net::{Coarsen, SampleShape, Value};

/// The shape of a micro-batch: the numbers of samples, and the shape of each, of the input and the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape([(usize, SampleShape); 2]);

impl Shape {
    pub(super) fn of<I: Value, T: Value>(batch: &MicroBatch<I, T>) -> Self {
        let MicroBatch { input, target, .. } = batch;
        Self([(input.samples(), input.shape()), (target.samples(), target.shape())])
    }
}

/// The graphs of a step, and the memory that connects them with the rest of it.
pub(super) struct RecordedStep<N: Coarsen> {
    pub(super) groups: Vec<Group>,
    /// The graph that follows all groups, if it launches anything: new running statistics become those that the next replay begins with.
    pub(super) end: Option<LaunchGraph>,
    /// The memory of the input.
    pub(super) input: Vec<TensorMemory>,
    /// The memory of the target.
    pub(super) target: Vec<TensorMemory>,
    /// The memory of the messages that the groups read.
    pub(super) received: HashMap<Message, Vec<TensorMemory>>,
    /// The messages that the groups compute.
    pub(super) sent: HashMap<Message, N::State>,
    /// The loss and the output, on the last worker.
    pub(super) head: Option<(Tensor<1>, N::Output)>,
    /// True if the gradients were clipped.
    pub(super) clips: bool,
    /// The squared norm of the gradients, if they were clipped and there are any.
    pub(super) squares: Option<Tensor<1>>,
    pub(super) update: RecordedUpdate,
    /// The number of replays so far.
    pub(super) replays: usize,
    /// True if only recorded updates have changed the module since the last replay.
    pub(super) is_untouched: bool,
    /// One for each subnetwork of the worker.
    pub(super) subnetworks: Vec<RecordedSubnetwork>,
    /// True if the last step was executed without the graphs because of the shape of its batch.
    pub(super) was_skipped: bool,
}

/// The update of a recorded step.
pub(super) enum RecordedUpdate {
    /// An update that is executed, and recorded once it is in place. Contains the number of steps in which it was not.
    Pending(usize),
    /// An update that is executed in each step.
    Executed,
    /// An update that is replayed.
    Graph(LaunchGraph),
}

impl RecordedUpdate {
    pub(super) fn is_pending(&self) -> bool {
        matches!(self, Self::Pending(_))
    }
}

/// Consecutive instructions whose launches are one graph.
pub(super) struct Group {
    pub(super) instructions: Range<usize>,
    /// The subnetwork of the first instruction.
    pub(super) first: usize,
    pub(super) graph: LaunchGraph,
}

/// The tensors of a subnetwork that the graphs use.
pub(super) struct RecordedSubnetwork {
    pub(super) parameters: RecordedParameters,
    pub(super) statistics: Vec<RecordedStatistic>,
    pub(super) gradients: Vec<(ParamId, TensorMemory)>,
}

/// The memory of the parameters that require a gradient.
pub(super) enum RecordedParameters {
    /// Updates are in place. The graphs keep the memory, but do not count as a reference to it, which would keep updates from being
    /// in place.
    InPlace(Vec<MemoryPlace>),
    /// Updates create other tensors, whose values are copied to this memory before a replay.
    Copied(Vec<TensorMemory>),
}

/// A running statistic, or another buffer that the forward pass replaces.
pub(super) struct RecordedStatistic {
    pub(super) id: ParamId,
    /// The value that a replay begins with.
    pub(super) before: TensorMemory,
    /// The value that it leaves, which the module holds.
    pub(super) after: TensorMemory,
}
