use burn::module::{Module, Param};
use burn::tensor::Tensor;
use parareal::net::Init;
use parareal_kernels::{ConvOptions, Projection, conv2d};

/// Convolution with a square kernel and no bias, padded to keep the size at stride 1.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// Kernel, `[out_channels, in_channels, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    stride: usize,
}

impl Conv2d {
    /// Creates a layer with He initialization: normal with variance `2 / (kernel² · out_channels)`
    /// (fan-out).
    pub fn new(from: usize, to: usize, kernel: usize, stride: usize, init: &Init) -> Self {
        let deviation = (2.0 / (kernel * kernel * to) as f64).sqrt();
        let weight = init.normal("weight", [to, from, kernel, kernel], deviation);
        Self { weight, stride }
    }

    /// Applies the convolution.
    ///
    /// # Shapes
    /// `[batch, h, w, in_channels]` to `[batch, ⌈h/stride⌉, ⌈w/stride⌉, out_channels]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        conv2d(input, self.weight.val(), self.options())
    }

    pub(super) fn options(&self) -> ConvOptions {
        ConvOptions { stride: self.stride, padding: self.weight.shape()[2] / 2 }
    }

    /// Returns the convolution as the projection of a residual unit.
    pub(crate) fn as_projection(&self) -> Projection {
        Projection { weight: self.weight.val(), options: self.options() }
    }

    /// The number of input channels.
    pub fn in_channels(&self) -> usize {
        self.weight.shape()[1]
    }

    /// The number of output channels.
    pub fn out_channels(&self) -> usize {
        self.weight.shape()[0]
    }

    /// Returns the height (or width) of the output for an input of this height (or width).
    pub fn output_size(&self, size: usize) -> usize {
        size.div_ceil(self.stride)
    }
}
