//! The loss of a batch, with checks of the target and the loss.

use burn::tensor::Tensor;

use super::super::error::ExecError;
use super::super::step_failure::StepFailure;
use super::Loss;
use crate::net::{Activation, Value};

/// Computes the loss of a batch on the device of the output, with the same checks as a training step.
///
/// # Errors
/// [`ExecError::Target`] if the target does not fit the output, [`ExecError::LossElements`] if the loss is not a
/// single number.
pub fn batch_loss<O: Activation, L: Loss<O>>(
    loss: &L,
    output: &O,
    target: L::Target,
) -> Result<Tensor<1>, ExecError> {
    let failed = |failure| StepFailure::into_error([failure]).expect("there is a failure");
    checked_loss(loss, output, target).map_err(failed)
}

/// Computes the loss of a batch on the device of the output.
///
/// # Errors
/// [`StepFailure::Target`] if the target does not fit the output, [`StepFailure::Loss`] if the loss is not a
/// single number.
pub(in crate::exec) fn checked_loss<O: Activation, L: Loss<O>>(
    loss: &L,
    output: &O,
    target: L::Target,
) -> Result<Tensor<1>, StepFailure> {
    let check = loss.check(output, &target);
    check.map_err(|error| StepFailure::Target(error.to_string()))?;
    unchecked_loss(loss, output, target)
}

/// Computes the loss of a batch whose target has been checked before, on the device of the output.
///
/// # Errors
/// [`StepFailure::Loss`] if the loss is not a single number.
pub(in crate::exec) fn unchecked_loss<O: Activation, L: Loss<O>>(
    loss: &L,
    output: &O,
    target: L::Target,
) -> Result<Tensor<1>, StepFailure> {
    let value = loss.forward(output.clone(), target.to_device(&output.device()));
    match value.dims() {
        [1] => Ok(value),
        [elements] => Err(StepFailure::Loss { elements }),
    }
}
