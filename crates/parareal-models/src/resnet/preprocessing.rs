use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use crate::layers::Conv2d;

/// `C_j`. For `j = 1`, a 3×3 convolution. At an interface, max pooling (3×3, stride 2, padding 1) until the
/// image has the right size, then a 1×1 convolution.
#[derive(Module, Debug)]
pub struct Preprocessing {
    conv: Conv2d,
    poolings: usize,
}

impl Preprocessing {
    /// Creates `C_1`.
    pub fn first(from: usize, to: usize, init: &Init) -> Self {
        Self { conv: Conv2d::new(from, to, 3, 1, &init.scope("conv")), poolings: 0 }
    }

    /// Creates `C_j` for `j > 1`, with this number of max poolings.
    pub fn interface(from: usize, to: usize, poolings: usize, init: &Init) -> Self {
        Self { conv: Conv2d::new(from, to, 1, 1, &init.scope("conv")), poolings }
    }
}

impl Layer<Tensor<4>, Tensor<4>> for Preprocessing {
    /// # Shapes
    /// `[batch, channels, height, width]`, as images are stored, to
    /// `[batch, height, width, channels]`.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let pooled = (0..self.poolings).fold(input, |image, _| {
            max_pool2d(image, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
        });
        self.conv.forward(pooled.permute([0, 2, 3, 1]))
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let size = |size| (0..self.poolings).fold(size, |size: usize, _| size.div_ceil(2));
        match input.dims() {
            Some(&[channels, height, width]) if channels == self.conv.in_channels() => {
                Ok([size(height), size(width), self.conv.out_channels()].into())
            }
            _ => Err(ShapeError {
                expected: format!("[{}, height, width]", self.conv.in_channels()),
                found: input.clone(),
            }),
        }
    }
}
