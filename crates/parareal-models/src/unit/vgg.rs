use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use super::definition::UnitDefinition;
use crate::image::{Image, height_and_width};
use crate::layers::{BatchNorm, Conv2d};
use crate::size::Size;

/// A layer of VGG: batch normalization, ReLU, 2×2 max pooling if the image is halved, and a 3×3 convolution.
///
/// The normalization and ReLU are those of the convolution before, so that a unit begins and ends with the output
/// of a convolution.
#[derive(Module, Debug)]
pub struct VggUnit {
    norm: BatchNorm,
    conv: Conv2d,
    halves: bool,
}

impl UnitDefinition for VggUnit {
    const NAME: &'static str = "vgg";
    const SUPPORTS_BFLOAT16: bool = false;

    fn new(from: Image, to: Image, init: &Init) -> Self {
        Self {
            norm: BatchNorm::new(from.channels, &init.scope("norm")),
            conv: Conv2d::new(from.channels, to.channels, 3, 1, &init.scope("conv")),
            halves: from.size != to.size,
        }
    }

    fn size(from: Image, to: Image) -> Size {
        let pooled = Image { size: to.size, ..from };
        let size = Size::preactivation(3, pooled, to);
        // The input is stored for the normalization, and the pooled image for the convolution.
        if from.size == to.size { size } else { size.storing(from.values()) }
    }
}

impl Layer<Tensor<4>, Tensor<4>> for VggUnit {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self.halves {
            true => self.conv.forward(halve(self.norm.relu(input))),
            false => self.norm.relu_conv2d(input, &self.conv, None).0,
        }
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [height, width] = height_and_width(input, self.norm.channels())?;
        let divisor = if self.halves { 2 } else { 1 };
        Ok([height / divisor, width / divisor, self.conv.out_channels()].into())
    }
}

/// Applies 2×2 max pooling.
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, height/2, width/2, channels]`.
pub(crate) fn halve(input: Tensor<4>) -> Tensor<4> {
    let options = MaxPoolOptions::new([2, 2]).with_stride([2, 2]);
    max_pool2d(input.permute([0, 3, 1, 2]), options).permute([0, 2, 3, 1])
}
