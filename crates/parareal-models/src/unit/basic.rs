use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use super::definition::UnitDefinition;
use super::skip::{projection, residual_unit, with_projection};
use crate::image::{Image, height_and_width};
use crate::layers::{BatchNorm, Conv2d};
use crate::size::Size;

/// The paper's coarse unit: two 3×3 convolutions, the first of which has the stride.
#[derive(Module, Debug)]
pub struct BasicUnit {
    norm1: BatchNorm,
    conv1: Conv2d,
    norm2: BatchNorm,
    conv2: Conv2d,
    projection: Option<Conv2d>,
}

impl UnitDefinition for BasicUnit {
    const NAME: &'static str = "basic";

    fn new(from: Image, to: Image, init: &Init) -> Self {
        let stride = from.size / to.size;
        Self {
            norm1: BatchNorm::new(from.channels, &init.scope("norm1")),
            conv1: Conv2d::new(from.channels, to.channels, 3, stride, &init.scope("conv1")),
            norm2: BatchNorm::new(to.channels, &init.scope("norm2")),
            conv2: Conv2d::new(to.channels, to.channels, 3, 1, &init.scope("conv2")),
            projection: projection(from, to, init),
        }
    }

    fn size(from: Image, to: Image) -> Size {
        let convs = [Size::preactivation(3, from, to), Size::preactivation(3, to, to)];
        with_projection(convs, from, to)
    }
}

impl Layer<Tensor<4>, Tensor<4>> for BasicUnit {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let Self { norm1, conv1, norm2, conv2, projection } = self;
        residual_unit(input, &[(norm1, conv1), (norm2, conv2)], projection.as_ref())
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [height, width] = height_and_width(input, self.norm1.channels())?;
        let [height, width] = [height, width].map(|size| self.conv1.output_size(size));
        Ok([height, width, self.conv2.out_channels()].into())
    }
}
