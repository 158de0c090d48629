use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::linear;
use parareal::net::Init;

/// A linear layer with bias, in PyTorch's layout.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[to, from]`.
    pub weight: Param<Tensor<2>>,
    /// `[to]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// Creates a layer whose weight and bias are uniform in `±1 / √from`, as in PyTorch.
    pub fn new(from: usize, to: usize, init: &Init) -> Self {
        let bound = (from as f64).sqrt().recip();
        Self {
            weight: init.uniform("weight", [to, from], bound),
            bias: init.uniform("bias", [to], bound),
        }
    }

    /// Creates a layer with a normally distributed weight and a bias of zero.
    pub fn normal(from: usize, to: usize, deviation: f64, init: &Init) -> Self {
        Self {
            weight: init.normal("weight", [to, from], deviation),
            bias: init.constant([to], 0.0),
        }
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// `[..., from]` to `[..., to]`.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        linear(input, self.weight.val().transpose(), Some(self.bias.val()))
    }

    /// The size of the output.
    pub fn outputs(&self) -> usize {
        self.bias.shape()[0]
    }
}
