use burn::module::{Module, Param};
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use super::image::height_and_width;
use crate::layers::BatchNorm;

/// `h`: batch normalization, ReLU, the mean over all pixels, and a linear layer to class scores.
#[derive(Module, Debug)]
pub struct Head {
    norm: BatchNorm,
    linear: Linear,
}

/// A linear layer in PyTorch's layout.
#[derive(Module, Debug)]
struct Linear {
    /// `[classes, channels]`.
    weight: Param<Tensor<2>>,
    /// `[classes]`.
    bias: Param<Tensor<1>>,
}

impl Head {
    /// Creates a head. Weight and bias of the linear layer are uniform in `±1 / √channels`, as in PyTorch.
    pub fn new(channels: usize, classes: usize, init: &Init) -> Self {
        let bound = (channels as f64).sqrt().recip();
        let scope = init.scope("linear");
        Self {
            norm: BatchNorm::new(channels, &init.scope("norm")),
            linear: Linear {
                weight: scope.uniform("weight", [classes, channels], bound),
                bias: scope.uniform("bias", [classes], bound),
            },
        }
    }
}

impl Layer<Tensor<4>, Tensor<2>> for Head {
    fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        let [batch, height, width, _] = input.dims();
        // The linear layer is applied before the mean over pixels. The result is the same, and normalization,
        // ReLU and the linear layer become one fused operation.
        let scores = self.norm.relu_linear(input, self.linear.weight.val());
        let classes = scores.dims()[3];
        let scores = scores.reshape([batch, height * width, classes]).mean_dim(1);
        scores.squeeze_dim::<2>(1) + self.linear.bias.val().unsqueeze()
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        height_and_width(input, self.norm.channels())?;
        Ok([self.linear.bias.shape()[0]].into())
    }
}
