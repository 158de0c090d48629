use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, softmax};
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use super::definition::UnitDefinition;
use crate::image::{Image, height_and_width};
use crate::layers::{LayerNorm, Linear};
use crate::size::Size;

/// Number of channels of an attention head.
const HEAD_CHANNELS: usize = 64;
/// Largest number of heads if the number of channels is not a multiple of [`HEAD_CHANNELS`].
const MAX_SMALL_HEADS: usize = 3;
/// Number of channels between the two linear layers, relative to those of the unit.
const EXPANSION: usize = 4;
/// Standard deviation of initial weights.
const DEVIATION: f64 = 0.02;

/// A block of a vision transformer with normalization first: multi-head self-attention over all pixels of the
/// image, and two linear layers with GELU in between, both after layer normalization and with a skip connection.
///
/// There is one head for 64 channels. A number of channels that is not a multiple of 64 is divided among three heads,
/// or two or one if it requires this.
#[derive(Module, Debug)]
pub struct TransformerUnit {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    linear1: Linear,
    linear2: Linear,
}

/// Returns the number of attention heads of a unit.
pub(super) fn heads(channels: usize) -> usize {
    match channels.is_multiple_of(HEAD_CHANNELS) {
        true => channels / HEAD_CHANNELS,
        false => {
            let divides = |heads: &usize| channels.is_multiple_of(*heads);
            (1..=MAX_SMALL_HEADS).rev().find(divides).unwrap_or(1)
        }
    }
}

impl UnitDefinition for TransformerUnit {
    const NAME: &'static str = "transformer";
    const SUPPORTS_BFLOAT16: bool = false;

    /// The unit has the shape `to`, which a vision transformer never changes.
    fn new(_: Image, to: Image, init: &Init) -> Self {
        let (channels, wide) = (to.channels, EXPANSION * to.channels);
        let linear = |name, from, to| Linear::normal(from, to, DEVIATION, &init.scope(name));
        Self {
            norm1: LayerNorm::new(channels, init),
            qkv: linear("qkv", channels, 3 * channels),
            proj: linear("proj", channels, channels),
            norm2: LayerNorm::new(channels, init),
            linear1: linear("linear1", channels, wide),
            linear2: linear("linear2", wide, channels),
        }
    }

    fn size(_: Image, to: Image) -> Size {
        let Image { channels, .. } = to;
        let (wide, tokens) = (Image { channels: EXPANSION * channels, ..to }, to.pixels());
        let attention = Size {
            parameters: 0,
            // The products of queries and keys and their softmax, and the queries, keys and values.
            stored: 2 * heads(channels) * tokens * tokens + 3 * to.values(),
            multiply_adds: 2 * tokens * tokens * channels,
        };
        let norm = Size::normalization(to).storing(to.values());
        let layers = [
            norm,
            Size::linear(to, 3 * channels),
            attention,
            Size::linear(to, channels),
            norm,
            Size::linear(to, wide.channels),
            // The input of GELU is stored as well.
            Size::linear(wide, channels).storing(wide.values()),
        ];
        layers.into_iter().sum()
    }
}

impl Layer<Tensor<4>, Tensor<4>> for TransformerUnit {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = input.dims();
        let tokens = input.reshape([batch, height * width, channels]);
        let attended = self.attention(self.norm1.forward(tokens.clone()));
        let tokens = tokens + self.proj.forward(attended);
        let hidden = gelu(self.linear1.forward(self.norm2.forward(tokens.clone())));
        let tokens = tokens + self.linear2.forward(hidden);
        tokens.reshape([batch, height, width, channels])
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        height_and_width(input, self.norm1.channels())?;
        Ok(input.clone())
    }
}

impl TransformerUnit {
    /// Applies scaled dot-product attention of all heads, without the last linear layer.
    ///
    /// # Shapes
    /// `[batch, tokens, channels]`, in and out.
    fn attention(&self, tokens: Tensor<3>) -> Tensor<3> {
        let [batch, count, channels] = tokens.dims();
        let heads = heads(channels);
        let size = channels / heads;
        let all = self.qkv.forward(tokens).reshape([batch, count, 3, heads, size]);
        let all = all.permute([2, 0, 3, 1, 4]);
        let part = |index| -> Tensor<4> { all.clone().narrow(0, index, 1).squeeze_dim(0) };
        let [query, key, value] = [0, 1, 2].map(part);
        let scale = (size as f64).sqrt().recip();
        let scores = query.mul_scalar(scale).matmul(key.transpose());
        let mixed = softmax(scores, 3).matmul(value);
        mixed.permute([0, 2, 1, 3]).reshape([batch, count, channels])
    }
}
