//! Losses: scalar functions of the network's output and a target.

mod batch_loss;
mod closure;
mod cross_entropy;
mod mean_squared_error;
mod soft_target_cross_entropy;

use burn::tensor::Tensor;
use thiserror::Error;

pub use batch_loss::batch_loss;
pub(super) use batch_loss::{checked_loss, unchecked_loss};
pub use closure::{ClosureLoss, loss_fn};
pub use cross_entropy::CrossEntropy;
pub use mean_squared_error::MeanSquaredError;
pub use soft_target_cross_entropy::SoftTargetCrossEntropy;

use crate::net::{Activation, Value};

/// A target that does not fit the output.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected {expected}, found {found}")]
pub struct TargetError {
    /// A description of the targets that the loss accepts.
    pub expected: String,
    /// A description of the target that was found.
    pub found: String,
}

/// A loss: a scalar function of the network's output and a target, which training minimizes.
///
/// The loss of a batch must be a mean over its samples, `(ℓ_1 + .. + ℓ_B) / B`. The loss `ℓ_i` of a sample
/// may depend only on the output and the target of this sample. Each replica processes a part of the batch,
/// and each micro-batch a part of that. The losses of the parts, weighted by their fractions of the samples, then add up to the loss of the whole
/// batch. With a sum over the samples, or a mean over anything else, replicas would compute a different loss
/// than a single copy of the network.
pub trait Loss<O: Activation>: Clone + Send + 'static {
    /// The type of the targets.
    type Target: Value;

    /// Checks a target before it is compared with the output. Its number of samples has already been checked
    /// against the output. The default implementation accepts every target.
    ///
    /// # Errors
    /// [`TargetError`] if [`Self::forward`] cannot compare the target with the output.
    fn check(&self, output: &O, target: &Self::Target) -> Result<(), TargetError> {
        let _ = (output, target);
        Ok(())
    }

    /// Computes the loss of a batch as a tensor of one element.
    fn forward(&self, output: O, target: Self::Target) -> Tensor<1>;
}
