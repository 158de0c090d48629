//! The commands of an executor to its workers, and their replies.

use std::sync::Arc;

use super::clock::StepTimes;
use super::error::ExecError;
use super::state_kind::StateKind;
use super::step_failure::StepFailure;
use super::update::Update;
use crate::net::{NamedTensor, StateDict};

/// A command to a worker. All workers get the same command.
pub(super) enum Command<I, T> {
    /// Does nothing. The reply confirms that the worker has been built.
    Ready,
    /// Runs a training step. If `update` is `None`, it returns the gradients instead of applying them.
    Step { number: u64, micro_batches: Vec<MicroBatch<I, T>>, update: Option<Update> },
    /// Computes the output in evaluation mode.
    Infer { input: I },
    /// Reads one kind of state of each subnetwork, by name.
    Read { kind: StateKind },
    /// Checks that the optimizers accept a state.
    CheckOptimizer { state: Arc<StateDict> },
    /// Replaces one kind of state by values that have already been checked.
    Write { kind: StateKind, state: Arc<StateDict> },
}

/// The samples of one forward and backward pass of a worker.
pub(super) struct MicroBatch<I, T> {
    pub(super) input: I,
    pub(super) target: T,
    /// The number of these samples as a fraction of the samples of the step, over all replicas.
    pub(super) share: f64,
}

/// The reply of a worker to a command.
pub(super) struct Reply<I, O> {
    /// The loss, which is the same for all workers.
    pub(super) loss: f64,
    /// The norm of all gradients, which is the same for all workers.
    pub(super) gradient_norm: Option<f64>,
    /// The network's output, from the last worker.
    pub(super) output: Option<O>,
    /// Gradients, or parameters and buffers.
    pub(super) tensors: Vec<NamedTensor>,
    /// The contribution of this worker to the gradient with respect to the input.
    pub(super) input: Option<I>,
    /// The times of this worker.
    pub(super) times: StepTimes,
    /// True if the worker replayed the launches of an earlier step.
    pub(super) is_replayed: bool,
    /// True if it replayed the update as well.
    pub(super) is_update_replayed: bool,
    /// Set if all workers have abandoned the step without an update.
    pub(super) is_abandoned: bool,
    /// The failures of this worker's subnetworks.
    pub(super) failures: Vec<StepFailure>,
    /// The reason why this worker's optimizers reject a state.
    pub(super) refused: Option<ExecError>,
}

impl<I, O> Default for Reply<I, O> {
    fn default() -> Self {
        Self {
            loss: 0.0,
            gradient_norm: None,
            output: None,
            tensors: Vec::new(),
            input: None,
            times: StepTimes::default(),
            is_replayed: false,
            is_update_replayed: false,
            is_abandoned: false,
            failures: Vec::new(),
            refused: None,
        }
    }
}

/// The reply of a worker for the network `N`.
pub(super) type ReplyOf<N> =
    Reply<<N as crate::net::FeedForward>::Input, <N as crate::net::FeedForward>::Output>;
