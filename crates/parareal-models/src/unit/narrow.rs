use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use super::definition::UnitDefinition;
use super::skip::{projection, residual_unit, with_projection};
use crate::image::{Image, height_and_width};
use crate::layers::{BatchNorm, Conv2d};
use crate::size::Size;

/// A coarse unit with the receptive field of the paper's unit on fewer channels. It consists of a 1×1
/// convolution to `1/DIVISOR` of the output channels, two 3×3 convolutions (the first with the stride), and a
/// 1×1 convolution to all output channels.
#[derive(Module, Debug)]
pub struct NarrowUnit<const DIVISOR: usize> {
    norm1: BatchNorm,
    conv1: Conv2d,
    norm2: BatchNorm,
    conv2: Conv2d,
    norm3: BatchNorm,
    conv3: Conv2d,
    norm4: BatchNorm,
    conv4: Conv2d,
    projection: Option<Conv2d>,
}

impl<const DIVISOR: usize> NarrowUnit<DIVISOR> {
    /// Number of channels of the 3×3 convolutions.
    fn narrow(to: Image) -> usize {
        (to.channels / DIVISOR).max(1)
    }
}

impl<const DIVISOR: usize> UnitDefinition for NarrowUnit<DIVISOR> {
    const NAME: &'static str = match DIVISOR {
        2 => "half",
        4 => "quarter",
        _ => panic!("no kind of unit has this divisor"),
    };

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
            conv3: conv("conv3", narrow, narrow, 3, 1),
            norm4: norm("norm4", narrow),
            conv4: conv("conv4", narrow, to.channels, 1, 1),
            projection: projection(from, to, init),
        }
    }

    fn size(from: Image, to: Image) -> Size {
        let channels = Self::narrow(to);
        let [before, after] = [from, to].map(|image| Image { channels, ..image });
        let convs = [
            Size::preactivation(1, from, before),
            Size::preactivation(3, before, after),
            Size::preactivation(3, after, after),
            Size::preactivation(1, after, to),
        ];
        with_projection(convs, from, to)
    }
}

impl<const DIVISOR: usize> Layer<Tensor<4>, Tensor<4>> for NarrowUnit<DIVISOR> {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let Self { norm1, conv1, norm2, conv2, norm3, conv3, norm4, conv4, projection } = self;
        let convs = [(norm1, conv1), (norm2, conv2), (norm3, conv3), (norm4, conv4)];
        residual_unit(input, &convs, projection.as_ref())
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [height, width] = height_and_width(input, self.norm1.channels())?;
        let [height, width] = [height, width].map(|size| self.conv2.output_size(size));
        Ok([height, width, self.conv4.out_channels()].into())
    }
}
