use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use super::definition::UnitDefinition;
use super::skip::{conv_and_projection, projection, with_projection};
use crate::image::{Image, height_and_width};
use crate::layers::{BatchNorm, Conv2d, DepthwiseConv2d};
use crate::size::Size;

/// A coarse unit with the receptive field of the paper's unit, for an eighth to a ninth of the multiply-adds.
/// Each 3×3 convolution is factored into a 1×1 convolution and a 3×3 depthwise convolution. The first
/// depthwise convolution has the stride.
///
/// As in blueprint separable convolutions (Haase and Amthor, 2020), the 1×1 convolution comes first, after
/// normalization and ReLU.
#[derive(Module, Debug)]
pub struct DepthwiseUnit {
    norm1: BatchNorm,
    conv1: Conv2d,
    norm2: BatchNorm,
    conv2: Conv2d,
    depthwise1: DepthwiseConv2d,
    depthwise2: DepthwiseConv2d,
    projection: Option<Conv2d>,
}

impl UnitDefinition for DepthwiseUnit {
    const NAME: &'static str = "depthwise";

    fn new(from: Image, to: Image, init: &Init) -> Self {
        let (channels, stride) = (to.channels, from.size / to.size);
        Self {
            norm1: BatchNorm::new(from.channels, &init.scope("norm1")),
            conv1: Conv2d::new(from.channels, channels, 1, 1, &init.scope("conv1")),
            norm2: BatchNorm::new(channels, &init.scope("norm2")),
            conv2: Conv2d::new(channels, channels, 1, 1, &init.scope("conv2")),
            depthwise1: DepthwiseConv2d::new(channels, stride, &init.scope("depthwise1")),
            depthwise2: DepthwiseConv2d::new(channels, 1, &init.scope("depthwise2")),
            projection: projection(from, to, init),
        }
    }

    fn size(from: Image, to: Image) -> Size {
        let between = Image { channels: to.channels, ..from };
        let convs = [
            Size::preactivation(1, from, between),
            Size::depthwise(between, to),
            Size::preactivation(1, to, to),
            Size::depthwise(to, to),
        ];
        with_projection(convs, from, to)
    }
}

impl Layer<Tensor<4>, Tensor<4>> for DepthwiseUnit {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let Self { norm1, conv1, norm2, conv2, depthwise1, depthwise2, projection } = self;
        let (state, skip) = match projection {
            Some(projection) => conv_and_projection(input, norm1, conv1, projection),
            None => (norm1.relu_conv2d(input.clone(), conv1, None).0, input),
        };
        let state = depthwise1.forward(state, None);
        let state = norm2.relu_conv2d(state, conv2, None).0;
        depthwise2.forward(state, Some(skip))
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [height, width] = height_and_width(input, self.norm1.channels())?;
        let [height, width] = [height, width].map(|size| self.depthwise1.output_size(size));
        Ok([height, width, self.conv2.out_channels()].into())
    }
}
