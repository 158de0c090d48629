use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use super::definition::UnitDefinition;
use super::skip::{projection, with_projection};
use crate::image::{Image, height_and_width};
use crate::layers::{BalancedGroupConv2d, BatchNorm, Conv2d};
use crate::size::Size;

/// Largest number of groups of channels.
const GROUPS: usize = 8;

/// A coarse unit with the receptive field of the paper's unit, for a quarter of the multiply-adds. Both 3×3
/// convolutions are balanced group convolutions with eight groups, or fewer if the numbers of channels
/// require it.
#[derive(Module, Debug)]
pub struct GroupedUnit {
    norm1: BatchNorm,
    conv1: BalancedGroupConv2d,
    norm2: BatchNorm,
    conv2: BalancedGroupConv2d,
    projection: Option<Conv2d>,
}

/// The largest number of groups, up to [`GROUPS`], that divides the numbers of channels of both images.
fn groups(from: Image, to: Image) -> usize {
    let divides = |groups: &usize| {
        from.channels.is_multiple_of(*groups) && to.channels.is_multiple_of(*groups)
    };
    (1..=GROUPS).rev().find(divides).unwrap_or(1)
}

impl UnitDefinition for GroupedUnit {
    const NAME: &'static str = "grouped";

    fn new(from: Image, to: Image, init: &Init) -> Self {
        let stride = from.size / to.size;
        let conv = |name, before: Image, after: Image, stride| {
            let (from, to) = (before.channels, after.channels);
            BalancedGroupConv2d::new(from, to, groups(before, after), stride, &init.scope(name))
        };
        Self {
            norm1: BatchNorm::new(from.channels, &init.scope("norm1")),
            conv1: conv("conv1", from, to, stride),
            norm2: BatchNorm::new(to.channels, &init.scope("norm2")),
            conv2: conv("conv2", to, to, 1),
            projection: projection(from, to, init),
        }
    }

    fn size(from: Image, to: Image) -> Size {
        let [first, second] = [groups(from, to), groups(to, to)];
        let convs = [Size::balanced_groups(first, from, to), Size::balanced_groups(second, to, to)];
        with_projection(convs, from, to)
    }
}

impl Layer<Tensor<4>, Tensor<4>> for GroupedUnit {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let Self { norm1, conv1, norm2, conv2, projection } = self;
        let activated = norm1.relu(input.clone());
        let skip = match projection {
            Some(projection) => projection.forward(activated.clone()),
            None => input,
        };
        let state = norm2.relu(conv1.forward(activated));
        skip + conv2.forward(state)
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [height, width] = height_and_width(input, self.norm1.channels())?;
        let [height, width] = [height, width].map(|size| self.conv1.output_size(size));
        Ok([height, width, self.conv2.out_channels()].into())
    }
}
