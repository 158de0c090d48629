use std::time::Duration;

use super::error::ExecError;
use super::layout::Layout;
use super::loss::Loss;
use super::program::Program;
use super::state_kind::StateKind;
use super::subnetwork_time::SubnetworkTime;
use super::trace::WorkerTrace;
use super::update::Update;
use crate::net::{Coarsen, Cuts, NamedTensor, StateDict, Value};
use crate::timeline::Timeline;

/// Checks that a batch has samples, and a target for each of them.
pub(super) fn check_batch(input: &impl Value, target: &impl Value) -> Result<(), ExecError> {
    let (samples, targets) = (input.samples(), target.samples());
    match samples {
        0 => Err(ExecError::EmptyBatch),
        _ if samples != targets => Err(ExecError::Targets { samples, targets }),
        _ => Ok(()),
    }
}

/// The result of a training step.
#[derive(Clone, Debug)]
pub struct StepReport<O> {
    /// The loss of the batch, before the update.
    pub loss: f64,
    /// The network's output for the batch.
    pub output: O,
    /// The norm of the gradient of all parameters together, before clipping; `None` if [`Update::clip_norm`]
    /// is not set.
    pub gradient_norm: Option<f64>,
    /// The wall-clock time of the step.
    pub duration: Duration,
    /// True if all workers of this process replayed the launches of an earlier step
    /// ([`ExecutorBuilder::launch_graphs`](super::ExecutorBuilder::launch_graphs)).
    pub is_replayed: bool,
    /// True if they replayed the update as well.
    pub is_update_replayed: bool,
    /// The time of each subnetwork, averaged over replicas; empty if the executor does not run subnetworks
    /// one by one, or records launches.
    pub subnetworks: Vec<SubnetworkTime>,
    /// The activities of all workers; empty if the executor does not run subnetworks one by one. A device of
    /// the timeline is a worker. Workers are ordered by replica. With MPI, the workers of all ranks are
    /// included.
    pub timeline: Timeline,
    /// The instructions of its [`Program`] that each worker of this process has executed, in order; empty if
    /// the executor has no program.
    pub trace: Vec<WorkerTrace>,
}

/// The gradients of a batch, without an update.
#[derive(Clone, Debug)]
pub struct GradientReport<I, O> {
    /// The loss of the batch.
    pub loss: f64,
    /// The network's output for the batch.
    pub output: O,
    /// The gradient of the loss with respect to every parameter, by name.
    pub gradients: Vec<NamedTensor>,
    /// The gradient with respect to the input; `None` if it consists of integers.
    pub input: Option<I>,
}

/// An executor of a parareal network, for training and inference.
///
/// An [`ExecutorBuilder`](super::ExecutorBuilder) starts an executor. All executors compute the same numbers,
/// up to rounding.
pub trait Executor<N: Coarsen, L: Loss<N::Output>>: Send {
    /// Runs a training step: forward, backward, and an update with this learning rate.
    ///
    /// # Errors
    /// The following errors leave all parameters unchanged, and the executor can run another step:
    /// [`ExecError::LossNotFinite`]; [`ExecError::EmptyBatch`], [`ExecError::Batch`], [`ExecError::Targets`]
    /// or [`ExecError::Target`] for an invalid batch; [`ExecError::Update`] for an invalid update;
    /// [`ExecError::NoGradient`], [`ExecError::NothingToTrain`] or [`ExecError::NotDeterministic`] for a
    /// network that would not be trained, or trained incorrectly. Any other error is the failure of a worker.
    ///
    /// Running statistics have already been updated if the error is found after the forward pass:
    /// [`ExecError::LossNotFinite`], [`ExecError::Target`], [`ExecError::NoGradient`] and
    /// [`ExecError::NotDeterministic`]. With the other errors they are unchanged.
    fn train_step(
        &mut self,
        input: N::Input,
        target: L::Target,
        learning_rate: f64,
    ) -> Result<StepReport<N::Output>, ExecError> {
        self.train_step_with(input, target, Update::plain(learning_rate))
    }

    /// Runs a training step with any kind of update.
    ///
    /// # Errors
    /// As [`Self::train_step`].
    fn train_step_with(
        &mut self,
        input: N::Input,
        target: L::Target,
        update: Update,
    ) -> Result<StepReport<N::Output>, ExecError>;

    /// Runs forward and backward passes as in a training step, running statistics included, and returns
    /// the gradients instead of updating.
    ///
    /// # Errors
    /// As [`Self::train_step`], with two exceptions: a loss that is not finite is returned, and the gradients
    /// of a frozen network are empty.
    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError>;

    /// Computes the output in evaluation mode, with the moving average if there is one.
    ///
    /// # Errors
    /// [`ExecError::EmptyBatch`], or the failure of a worker.
    fn infer(&mut self, input: N::Input) -> Result<N::Output, ExecError>;

    /// Returns the state of this kind as named tensors. With MPI, it is limited to the subnetworks that this
    /// rank holds.
    ///
    /// # Errors
    /// A worker's failure.
    fn read(&mut self, kind: StateKind) -> Result<Vec<NamedTensor>, ExecError>;

    /// Replaces the state of this kind with state that [`Self::read`] of this or another executor returned.
    /// Writing weights resets the other kinds of state, so write weights first.
    ///
    /// # Errors
    /// The following errors leave all state unchanged. [`ExecError::Net`] is returned if the tensors belong
    /// to a network with different units or cuts, or if a tensor is missing, has a different shape or is
    /// unknown. For [`StateKind::Optimizer`], names may be missing, and [`ExecError::Optimizer`] is returned
    /// if a name belongs to no parameter, if a number has a type that [`Self::read`] never returns, or if the
    /// optimizers do not restore the whole state exactly, for example because a different kind of optimizer
    /// wrote it. With MPI, names of subnetworks of other ranks are ignored. Any other error is the failure of
    /// a worker.
    fn write(&mut self, kind: StateKind, state: StateDict) -> Result<(), ExecError>;

    /// Returns the number of the next training step, from 0. It is the number of steps with an update so far,
    /// unless [`Self::set_step`] has changed it.
    ///
    /// The random layers of [`crate::nn`] are seeded with this number. A step that ends with an error does
    /// not count. [`Self::gradients`] uses the same random numbers as the next step, but does not count as a
    /// step.
    fn step(&self) -> u64;

    /// Sets the number of the next training step, for a run that is resumed. With MPI, all ranks must set the
    /// same number.
    fn set_step(&mut self, step: u64);

    /// Returns the cuts of the network.
    fn cuts(&self) -> &Cuts;

    /// Returns the program of a training step; `None` if the executor evaluates the whole network as one
    /// graph.
    fn program(&self) -> Option<&Program>;

    /// Returns the layout of the subnetworks on replicas and workers, and on all ranks with MPI.
    fn layout(&self) -> &Layout;

    /// Returns the index, from 0, of each subnetwork that this process holds, and the names of its parameters
    /// and buffers. With MPI, other ranks hold the other subnetworks.
    fn tensor_names(&self) -> Vec<(usize, Vec<String>)>;

    /// Returns the state of this kind as named tensors, together with the cuts.
    ///
    /// # Errors
    /// A worker's failure.
    fn state_dict(&mut self, kind: StateKind) -> Result<StateDict, ExecError> {
        let cuts = self.cuts().clone();
        Ok(StateDict::from_named(cuts, self.read(kind)?))
    }
}
