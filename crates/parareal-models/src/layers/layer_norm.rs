use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::layer_norm;
use parareal::net::Init;

/// Constant that is added to the variance, as in published vision transformers.
const EPSILON: f64 = 1e-6;

/// Layer normalization over the last dimension.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// Creates a normalization with scale 1 and shift 0.
    pub fn new(channels: usize, init: &Init) -> Self {
        Self { weight: init.constant([channels], 1.0), bias: init.constant([channels], 0.0) }
    }

    /// Applies the normalization.
    ///
    /// # Shapes
    /// `[..., channels]`, in and out.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        layer_norm(input, self.weight.val(), Some(self.bias.val()), EPSILON)
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.weight.shape()[0]
    }
}
