use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use super::definition::UnitDefinition;
use super::skip::{projection, residual_unit, with_projection};
use crate::image::{Image, height_and_width};
use crate::layers::{BatchNorm, Conv2d};
use crate::size::Size;

/// The unit of the fine network: 1×1, 3×3 (with the stride) and 1×1 convolutions. The middle one has a
/// quarter of the output channels.
#[derive(Module, Debug)]
pub struct BottleneckUnit {
    norm1: BatchNorm,
    conv1: Conv2d,
    norm2: BatchNorm,
    conv2: Conv2d,
    norm3: BatchNorm,
    conv3: Conv2d,
    projection: Option<Conv2d>,
}

impl BottleneckUnit {
    /// Number of channels of the 3×3 convolution.
    fn narrow(to: Image) -> usize {
        (to.channels / 4).max(1)
    }
}

impl UnitDefinition for BottleneckUnit {
    const NAME: &'static str = "bottleneck";

    fn new(from: Image, to: Image, init: &Init) -> Self {
        let (narrow, stride) = (Self::narrow(to), from.size / to.size);
        let norm = |name, channels| BatchNorm::new(channels, &init.scope(name));
        let conv = |name, from, to, kernel, stride| {
            Conv2d::new(from, to, kernel, stride, &init.scope(name))
        };
        Self {
            norm1: norm("norm1", from.channels),
            conv1: conv("conv1", from.channels, narrow, 1, 1),
            norm2: norm("norm2", narrow),
            conv2: conv("conv2", narrow, narrow, 3, stride),
            norm3: norm("norm3", narrow),
            conv3: conv("conv3", narrow, to.channels, 1, 1),
            projection: projection(from, to, init),
        }
    }

    fn size(from: Image, to: Image) -> Size {
        let channels = Self::narrow(to);
        let [before, after] = [from, to].map(|image| Image { channels, ..image });
        let convs = [
            Size::preactivation(1, from, before),
            Size::preactivation(3, before, after),
            Size::preactivation(1, after, to),
        ];
        with_projection(convs, from, to)
    }
}

impl Layer<Tensor<4>, Tensor<4>> for BottleneckUnit {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let Self { norm1, conv1, norm2, conv2, norm3, conv3, projection } = self;
        let convs = [(norm1, conv1), (norm2, conv2), (norm3, conv3)];
        residual_unit(input, &convs, projection.as_ref())
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [height, width] = height_and_width(input, self.norm1.channels())?;
        let [height, width] = [height, width].map(|size| self.conv2.output_size(size));
        Ok([height, width, self.conv3.out_channels()].into())
    }
}
