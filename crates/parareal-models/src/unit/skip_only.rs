use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use super::definition::UnitDefinition;
use super::skip::projection;
use crate::image::{Image, height_and_width};
use crate::layers::{BatchNorm, Conv2d};
use crate::size::Size;

/// A unit that consists of the skip connection alone: the identity or, if the shape changes, a 1×1
/// convolution after batch normalization and ReLU.
#[derive(Module, Debug)]
pub struct SkipUnit {
    norm1: Option<BatchNorm>,
    projection: Option<Conv2d>,
}

impl UnitDefinition for SkipUnit {
    const NAME: &'static str = "none";

    fn new(from: Image, to: Image, init: &Init) -> Self {
        let projection = projection(from, to, init);
        let norm = || BatchNorm::new(from.channels, &init.scope("norm1"));
        Self { norm1: projection.is_some().then(norm), projection }
    }

    fn size(from: Image, to: Image) -> Size {
        match from == to {
            true => Size::default(),
            false => Size::preactivation(1, from, to),
        }
    }
}

impl Layer<Tensor<4>, Tensor<4>> for SkipUnit {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match (&self.norm1, &self.projection) {
            (Some(norm), Some(projection)) => norm.relu_conv2d(input, projection, None).0,
            _ => input,
        }
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        match (&self.norm1, &self.projection) {
            (Some(norm), Some(projection)) => {
                let [height, width] = height_and_width(input, norm.channels())?;
                let [height, width] = [height, width].map(|size| projection.output_size(size));
                Ok([height, width, projection.out_channels()].into())
            }
            _ => Ok(input.clone()),
        }
    }
}
