use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};
use parareal_kernels::{average_pool2d, upsample2d};

use super::definition::UnitDefinition;
use super::skip::{conv_and_projection, with_projection};
use crate::image::{Image, height_and_width};
use crate::layers::{BatchNorm, Conv2d};
use crate::size::Size;

/// The paper's coarse unit at half the resolution, as on the coarse grid of a multigrid method. It consists
/// of average pooling by 2, two 3×3 convolutions (the first with the stride), and nearest-neighbor upsampling
/// by 2. It has as many parameters as [`BasicUnit`](super::BasicUnit) and a quarter of the multiply-adds.
///
/// The skip connection has the full resolution. If the unit halves the image, the skip is a projection of the
/// pooled input, which has the size of the output.
#[derive(Module, Debug)]
pub struct CoarsenedUnit {
    norm1: BatchNorm,
    conv1: Conv2d,
    norm2: BatchNorm,
    conv2: Conv2d,
    projection: Option<Conv2d>,
}

impl CoarsenedUnit {
    /// The shape of an image at half the resolution.
    fn pooled(image: Image) -> Image {
        Image { size: image.size.div_ceil(2), ..image }
    }
}

impl UnitDefinition for CoarsenedUnit {
    const NAME: &'static str = "coarsened";

    fn new(from: Image, to: Image, init: &Init) -> Self {
        let stride = from.size / to.size;
        assert!(from == to || stride == 2, "a coarsened unit keeps the shape or halves the image");
        // The input of the projection is pooled already, so it has stride 1.
        let project = || Conv2d::new(from.channels, to.channels, 1, 1, &init.scope("projection"));
        Self {
            norm1: BatchNorm::new(from.channels, &init.scope("norm1")),
            conv1: Conv2d::new(from.channels, to.channels, 3, stride, &init.scope("conv1")),
            norm2: BatchNorm::new(to.channels, &init.scope("norm2")),
            conv2: Conv2d::new(to.channels, to.channels, 3, 1, &init.scope("conv2")),
            projection: (from != to).then(project),
        }
    }

    fn size(from: Image, to: Image) -> Size {
        let [small, halved] = [Self::pooled(from), Self::pooled(to)];
        let convs = [Size::preactivation(3, small, halved), Size::preactivation(3, halved, halved)];
        with_projection(convs, from, to)
    }
}

impl Layer<Tensor<4>, Tensor<4>> for CoarsenedUnit {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let Self { norm1, conv1, norm2, conv2, projection } = self;
        let pooled = average_pool2d(input.clone());
        let (state, skip) = match projection {
            Some(projection) => conv_and_projection(pooled, norm1, conv1, projection),
            None => (norm1.relu_conv2d(pooled, conv1, None).0, input),
        };
        upsample2d(norm2.relu_conv2d(state, conv2, None).0, skip)
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [height, width] = height_and_width(input, self.norm1.channels())?;
        let [height, width] = [height, width].map(|size| self.conv1.output_size(size));
        Ok([height, width, self.conv2.out_channels()].into())
    }
}
