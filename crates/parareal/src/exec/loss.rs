use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

use crate::net::{Activation, Value};

/// What training makes small: a scalar function of the network's output and a target.
pub trait Loss<O: Activation>: Clone + Send + 'static {
    /// What the output is compared with.
    type Target: Value;

    /// The loss of a batch, as a tensor of one element.
    fn forward(&self, output: O, target: Self::Target) -> Tensor<1>;
}

/// Cross entropy of class scores, averaged over the batch.
///
/// Output `[batch, classes]`, target `[batch]` with class numbers from 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossEntropy;

impl Loss<Tensor<2>> for CrossEntropy {
    type Target = Tensor<1, Int>;

    fn forward(&self, output: Tensor<2>, target: Self::Target) -> Tensor<1> {
        log_softmax(output, 1).gather(1, target.unsqueeze_dim(1)).mean().neg()
    }
}
