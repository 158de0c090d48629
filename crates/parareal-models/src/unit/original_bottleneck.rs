use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use super::definition::UnitDefinition;
use crate::image::{Image, height_and_width};
use crate::layers::{BatchNorm, Conv2d};
use crate::size::Size;

/// The bottleneck unit of the original ResNet, as in torchvision: 1×1, 3×3 (with the stride) and 1×1 convolutions,
/// each before batch normalization, the skip connection, and a final ReLU. If the shape changes, the skip
/// connection is a 1×1 convolution and batch normalization.
#[derive(Module, Debug)]
pub struct OriginalBottleneckUnit {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    conv3: Conv2d,
    norm3: BatchNorm,
    projection: Option<Conv2d>,
    projection_norm: Option<BatchNorm>,
}

impl UnitDefinition for OriginalBottleneckUnit {
    const NAME: &'static str = "original-bottleneck";
    const SUPPORTS_BFLOAT16: bool = false;

    fn new(from: Image, to: Image, init: &Init) -> Self {
        let (narrow, stride) = (to.channels / 4, from.size / to.size);
        let norm = |name, channels| BatchNorm::new(channels, &init.scope(name));
        let conv = |name, from, to, kernel, stride| {
            Conv2d::new(from, to, kernel, stride, &init.scope(name))
        };
        let changes = from != to;
        Self {
            conv1: conv("conv1", from.channels, narrow, 1, 1),
            norm1: norm("norm1", narrow),
            conv2: conv("conv2", narrow, narrow, 3, stride),
            norm2: norm("norm2", narrow),
            conv3: conv("conv3", narrow, to.channels, 1, 1),
            norm3: norm("norm3", to.channels),
            projection: changes.then(|| conv("projection", from.channels, to.channels, 1, stride)),
            projection_norm: changes.then(|| norm("projection_norm", to.channels)),
        }
    }

    fn size(from: Image, to: Image) -> Size {
        let channels = to.channels / 4;
        let [before, after] = [from, to].map(|image| Image { channels, ..image });
        // The last normalization stores its input, and the final ReLU its output.
        let last = Size::normalization(to).storing(2 * to.values());
        let unit = Size::convolution(1, from, before)
            + Size::preactivation(3, before, after)
            + Size::preactivation(1, after, to)
            + last;
        match from == to {
            true => unit,
            false => {
                let projection = Size::convolution(1, from, to).with_shared_input();
                unit + projection + Size::normalization(to).storing(to.values())
            }
        }
    }
}

impl Layer<Tensor<4>, Tensor<4>> for OriginalBottleneckUnit {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let state = self.conv1.forward(input.clone());
        let state = self.norm1.relu_conv2d(state, &self.conv2, None).0;
        let state = self.norm2.relu_conv2d(state, &self.conv3, None).0;
        let skip = match (&self.projection, &self.projection_norm) {
            (Some(projection), Some(norm)) => norm.forward(projection.forward(input)),
            _ => input,
        };
        relu(self.norm3.forward(state) + skip)
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [height, width] = height_and_width(input, self.conv1.in_channels())?;
        let [height, width] = [height, width].map(|size| self.conv2.output_size(size));
        Ok([height, width, self.conv3.out_channels()].into())
    }
}
