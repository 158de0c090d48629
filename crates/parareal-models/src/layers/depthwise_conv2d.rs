use burn::module::{Module, Param};
use burn::tensor::Tensor;
use parareal::net::Init;
use parareal_kernels::{ConvOptions, depthwise_conv2d};

/// 3×3 depthwise convolution (one kernel per channel) without a bias, padded to keep the size at
/// stride 1.
#[derive(Module, Debug)]
pub struct DepthwiseConv2d {
    /// Kernels, `[channels, 1, 3, 3]`.
    pub weight: Param<Tensor<4>>,
    stride: usize,
}

impl DepthwiseConv2d {
    /// Creates a layer with He initialization: normal with variance `2 / 9`, because each output
    /// depends on nine inputs and each input affects nine outputs.
    pub fn new(channels: usize, stride: usize, init: &Init) -> Self {
        let weight = init.normal("weight", [channels, 1, 3, 3], (2.0f64 / 9.0).sqrt());
        Self { weight, stride }
    }

    /// Applies the convolution and adds the residual.
    ///
    /// # Shapes
    /// `[batch, h, w, channels]` to `[batch, ⌈h/stride⌉, ⌈w/stride⌉, channels]`. The residual has the shape
    /// of the output.
    pub fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        let options = ConvOptions { stride: self.stride, padding: 1 };
        depthwise_conv2d(input, self.weight.val(), options, residual)
    }

    /// Returns the height (or width) of the output for an input of this height (or width).
    pub fn output_size(&self, size: usize) -> usize {
        size.div_ceil(self.stride)
    }
}
