use std::time::Duration;

use super::error::ExecError;
use super::loss::Loss;
use super::state_kind::StateKind;
use super::subnetwork_time::SubnetworkTime;
use super::update::Update;
use crate::net::{Coarsen, Cuts, NamedTensor, StateDict, Value};
use crate::timeline::Timeline;

/// Checks that a batch has samples, and a target for each.
pub(super) fn check_batch(input: &impl Value, target: &impl Value) -> Result<(), ExecError> {
    let (samples, targets) = (input.samples(), target.samples());
    match samples {
        0 => Err(ExecError::EmptyBatch),
        _ if samples != targets => Err(ExecError::Targets { samples, targets }),
        _ => Ok(()),
    }
}

/// What one training step came to.
#[derive(Clone, Debug)]
pub struct StepReport<O> {
    /// The loss of the batch, before the update.
    pub loss: f64,
    /// The network's output for the batch.
    pub output: O,
    /// The norm of the gradient of all parameters together, before it was clipped; `None` where
    /// it was not asked for.
    pub gradient_norm: Option<f64>,
    /// The wall-clock time of the step.
    pub duration: Duration,
    /// How each subnetwork spent it; empty where the executor does not run them one by one.
    pub subnetworks: Vec<SubnetworkTime>,
    /// What each worker did when; empty where the executor does not run them one by one.
    pub timeline: Timeline,
}

/// What differentiation gave, without an update.
#[derive(Clone, Debug)]
pub struct GradientReport<I, O> {
    /// The loss of the batch.
    pub loss: f64,
    /// The network's output for the batch.
    pub output: O,
    /// The gradient of the loss with respect to every parameter, by name.
    pub gradients: Vec<NamedTensor>,
    /// The gradient with respect to the input; `None` where it consists of integers.
    pub input: Option<I>,
}

/// Something that trains a parareal network and applies it.
///
/// All executors compute the same numbers, up to rounding.
pub trait Executor<N: Coarsen, L: Loss<N::Output>> {
    /// One training step: forward, backward, and an update with this learning rate.
    ///
    /// # Errors
    /// With all parameters as they were and the executor ready for another step:
    /// [`ExecError::LossNotFinite`]; [`ExecError::EmptyBatch`], [`ExecError::Batch`],
    /// [`ExecError::Targets`] or [`ExecError::Target`] for a batch that cannot be trained on;
    /// [`ExecError::Update`] for an update that cannot be made; [`ExecError::NoGradient`],
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

    /// One training step with any kind of update.
    ///
    /// # Errors
    /// As [`Self::train_step`].
    fn train_step_with(
        &mut self,
        input: N::Input,
        target: L::Target,
        update: Update,
    ) -> Result<StepReport<N::Output>, ExecError>;

    /// Forward and backward as in a training step, running statistics included, but instead of
    /// an update the gradients themselves.
    ///
    /// # Errors
    /// As [`Self::train_step`], except that a loss that is not finite is reported as it is, and a
    /// frozen network has no gradients.
    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError>;

    /// The output in evaluation mode, of the moving average where there is one.
    ///
    /// # Errors
    /// [`ExecError::EmptyBatch`], or a worker's failure.
    fn infer(&mut self, input: N::Input) -> Result<N::Output, ExecError>;

    /// A part of what it holds, by names.
    ///
    /// # Errors
    /// A worker's failure.
    fn read(&mut self, kind: StateKind) -> Result<Vec<NamedTensor>, ExecError>;

    /// Puts what [`Self::read`] gave, here or elsewhere, in the place of a part. Where the parameters
    /// are written as well, they come first: the other parts start anew with them.
    ///
    /// # Errors
    /// With nothing replaced: [`ExecError::Net`] where the tensors belong to a network of other units
    /// or other cuts, or one is missing, has another shape or is unknown; of [`StateKind::Optimizer`]
    /// missing and unknown names are ignored instead, but [`ExecError::Optimizer`] is returned where a
    /// number has a type that [`Self::read`] never gives. Otherwise a worker's failure.
    fn write(&mut self, kind: StateKind, state: StateDict) -> Result<(), ExecError>;

    /// Cuts of the network.
    fn cuts(&self) -> &Cuts;

    /// A part of what it holds by names, with the cuts.
    ///
    /// # Errors
    /// A worker's failure.
    fn state_dict(&mut self, kind: StateKind) -> Result<StateDict, ExecError> {
        let cuts = self.cuts().clone();
        Ok(StateDict::from_named(cuts, self.read(kind)?))
    }

    /// Every parameter and buffer, by name.
    ///
    /// # Errors
    /// A worker's failure.
    fn named_tensors(&mut self) -> Result<Vec<NamedTensor>, ExecError> {
        self.read(StateKind::Weights)
    }

    /// Replaces every parameter and buffer; the state of the optimizers starts anew, and so does a
    /// moving average.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn load(&mut self, state: StateDict) -> Result<(), ExecError> {
        self.write(StateKind::Weights, state)
    }

    /// What the optimizers remember, as tensors named `PARAMETER.FIELD`; a number is a tensor
    /// without dimensions.
    ///
    /// # Errors
    /// A worker's failure.
    fn optimizer_state(&mut self) -> Result<Vec<NamedTensor>, ExecError> {
        self.read(StateKind::Optimizer)
    }

    /// Lets the optimizers remember what [`Self::optimizer_state`] gave, here or elsewhere, and
    /// nothing else: of a parameter without a tensor among them they remember nothing, and names that
    /// belong to no parameter are ignored. Where the parameters are loaded as well, they come first.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn load_optimizer_state(&mut self, state: StateDict) -> Result<(), ExecError> {
        self.write(StateKind::Optimizer, state)
    }

    /// The moving average of every parameter and buffer, by name; nothing where no step asked for
    /// one ([`Update::average_decay`]).
    ///
    /// # Errors
    /// A worker's failure.
    fn average(&mut self) -> Result<Vec<NamedTensor>, ExecError> {
        self.read(StateKind::Average)
    }

    /// Replaces the moving average by what [`Self::average`] gave, here or elsewhere; nothing ends
    /// it. Where the parameters are loaded as well, they come first.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn load_average(&mut self, state: StateDict) -> Result<(), ExecError> {
        self.write(StateKind::Average, state)
    }
}
