use std::time::Duration;

use super::error::ExecError;
use super::loss::Loss;
use super::state_kind::StateKind;
use super::subnetwork_time::SubnetworkTime;
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
    /// The norm of the gradient of all parameters together, before clipping; `None` without
    /// [`Update::clip_norm`].
    pub gradient_norm: Option<f64>,
    /// The wall-clock time of the step.
    pub duration: Duration,
    /// The time of each subnetwork, averaged over replicas; empty if the executor does not run them one by
    /// one.
    pub subnetworks: Vec<SubnetworkTime>,
    /// The activities of all workers; empty if the executor does not run subnetworks one by one. A device of
    /// the timeline is a worker. Those of the first replica come first, and with MPI those of all ranks are
    /// included.
    pub timeline: Timeline,
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

/// An executor trains a parareal network and applies it.
///
/// All executors compute the same numbers, up to rounding.
pub trait Executor<N: Coarsen, L: Loss<N::Output>> {
    /// Runs a training step: forward, backward, and an update with this learning rate.
    ///
    /// # Errors
    /// With all parameters as they were and the executor ready for another step:
    /// [`ExecError::LossNotFinite`]; [`ExecError::EmptyBatch`], [`ExecError::Batch`],
    /// [`ExecError::Targets`] or [`ExecError::Target`] for an invalid batch;
    /// [`ExecError::Update`] for an invalid update; [`ExecError::NoGradient`],
    /// [`ExecError::NothingToTrain`] or [`ExecError::NotDeterministic`] for a network that would be
    /// left untrained or trained wrongly. Otherwise a worker's failure.
    ///
    /// Running statistics have moved where the error is found after the forward pass:
    /// [`ExecError::LossNotFinite`], [`ExecError::Target`], [`ExecError::NoGradient`] and
    /// [`ExecError::NotDeterministic`]. With the others they are as they were.
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
    /// As [`Self::train_step`], except that a loss that is not finite is reported as it is, and a
    /// frozen network has no gradients.
    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError>;

    /// Computes the output in evaluation mode, with the moving average if there is one.
    ///
    /// # Errors
    /// [`ExecError::EmptyBatch`], or a worker's failure.
    fn infer(&mut self, input: N::Input) -> Result<N::Output, ExecError>;

    /// Returns the state of this kind by name.
    ///
    /// # Errors
    /// A worker's failure.
    fn read(&mut self, kind: StateKind) -> Result<Vec<NamedTensor>, ExecError>;

    /// Replaces the state of this kind by what [`Self::read`] of this or another executor returned.
    /// Writing weights resets the other kinds, so weights are written first.
    ///
    /// # Errors
    /// With nothing replaced: [`ExecError::Net`] if the tensors belong to a network of other units
    /// or other cuts, or one is missing, has another shape or is unknown. For [`StateKind::Optimizer`]
    /// names may be missing, and [`ExecError::Optimizer`] is returned if one belongs to no parameter, if a
    /// number has a type that [`Self::read`] never returns, or if the optimizers do not take everything
    /// as it is, for instance because another kind of optimizer has written it. With MPI names of
    /// subnetworks of other ranks are ignored. Otherwise a worker's failure.
    fn write(&mut self, kind: StateKind, state: StateDict) -> Result<(), ExecError>;

    /// The number of the next training step, from 0: the number of steps that an update has ended, or what
    /// [`Self::set_step`] has made of it.
    ///
    /// Random layers of [`crate::nn`] draw by this number. A step that ends with an error does not count,
    /// and [`Self::gradients`] draws like the next step without counting as one.
    fn step(&self) -> u64;

    /// Sets the number of the next training step, for a run that is resumed. With MPI all ranks set the
    /// same number.
    fn set_step(&mut self, step: u64);

    /// The cuts of the network.
    fn cuts(&self) -> &Cuts;

    /// Returns the state of this kind by name, with the cuts.
    ///
    /// # Errors
    /// A worker's failure.
    fn state_dict(&mut self, kind: StateKind) -> Result<StateDict, ExecError> {
        let cuts = self.cuts().clone();
        Ok(StateDict::from_named(cuts, self.read(kind)?))
    }

    /// Returns every parameter and buffer by name.
    ///
    /// # Errors
    /// A worker's failure.
    fn named_tensors(&mut self) -> Result<Vec<NamedTensor>, ExecError> {
        self.read(StateKind::Weights)
    }

    /// Replaces every parameter and buffer, and resets the optimizers and the moving average.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn load(&mut self, state: StateDict) -> Result<(), ExecError> {
        self.write(StateKind::Weights, state)
    }

    /// Returns the state of the optimizers as tensors named `PARAMETER.FIELD`; a number is a tensor
    /// without dimensions.
    ///
    /// # Errors
    /// A worker's failure.
    fn optimizer_state(&mut self) -> Result<Vec<NamedTensor>, ExecError> {
        self.read(StateKind::Optimizer)
    }

    /// Replaces the state of the optimizers by what [`Self::optimizer_state`] returned. A parameter
    /// without a tensor among them has no state afterwards. Weights are loaded first, because that resets
    /// the optimizers.
    ///
    /// Burn's optimizers restore tensors in the default type of the device, 32-bit floats unless it is
    /// configured otherwise. The state of parameters of another type is refused where this would change it.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn load_optimizer_state(&mut self, state: StateDict) -> Result<(), ExecError> {
        self.write(StateKind::Optimizer, state)
    }

    /// Returns the moving average of every parameter and buffer by name; nothing if no step asked for
    /// one ([`Update::average_decay`]).
    ///
    /// # Errors
    /// A worker's failure.
    fn average(&mut self) -> Result<Vec<NamedTensor>, ExecError> {
        self.read(StateKind::Average)
    }

    /// Replaces the moving average by what [`Self::average`] returned; an empty state removes it.
    /// Weights are loaded first, because that resets the average.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn load_average(&mut self, state: StateDict) -> Result<(), ExecError> {
        self.write(StateKind::Average, state)
    }
}
