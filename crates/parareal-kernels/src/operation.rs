//! The operations that networks are made of, fused where the tensors allow it.

use burn::tensor::Tensor;

use crate::fused::{self, Addend};
use crate::fused_depthwise;
use crate::{composed, operand};

/// How a convolution moves over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepping {
    /// Rows and columns from one place of the kernel to the next.
    pub stride: usize,
    /// Rows and columns of zeros on each side.
    pub padding: usize,
}

/// Mean and biased variance of each channel, `[channels]`, outside every graph.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// The mean over all pixels of the batch.
    pub mean: Tensor<1>,
    /// The mean squared distance from it.
    pub variance: Tensor<1>,
}

/// What an input is normalized by.
#[derive(Clone, Debug)]
pub enum Center {
    /// Its own statistics, computed here, or handed over by who has them already. They depend on
    /// the input, and its gradient says so.
    OfBatch(Option<Statistics>),
    /// Constants, such as running statistics.
    Constant(Statistics),
}

impl Center {
    /// The statistics that need not be computed.
    pub(crate) fn given(&self) -> Option<&Statistics> {
        match self {
            Self::OfBatch(given) => given.as_ref(),
            Self::Constant(given) => Some(given),
        }
    }
}

/// Batch normalization: `scale · (x - mean) / √(variance + epsilon) + shift` for each channel.
#[derive(Clone, Debug)]
pub struct Normalization {
    /// `[channels]`.
    pub scale: Tensor<1>,
    /// `[channels]`.
    pub shift: Tensor<1>,
    /// Mean and variance.
    pub center: Center,
    /// What keeps the denominator from zero.
    pub epsilon: f64,
}

/// A convolution without a bias, and what its input goes through first.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Normalization, followed by ReLU; `None` takes the input as it is.
    pub normalization: Option<Normalization>,
    /// `[to, from, kernel, kernel]`.
    pub weight: Tensor<4>,
    /// How it moves over its input.
    pub stepping: Stepping,
}

/// A residual unit: `input + (layer_n ∘ … ∘ layer_1)(input)`.
///
/// On Burn's CPU backend with 32-bit floats, two or three normalized layers are one operation; see
/// [`preactivation_conv2d`].
///
/// # Shapes
/// `[batch, height, width, channels]`, in and out.
///
/// Besides the result it gives the statistics of each normalization, in order.
///
/// # Panics
/// Where the shapes do not fit each other, as Burn's operations do.
pub fn residual(input: Tensor<4>, layers: Vec<Layer>) -> (Tensor<4>, Vec<Statistics>) {
    if let 2..=3 = layers.len()
        && let Some(done) = fused::chain(&input, &layers, &Addend::Input)
    {
        return done;
    }
    let (mut state, mut all) = (input.clone(), Vec::new());
    for Layer { normalization, weight, stepping } in layers {
        match normalization {
            Some(normalization) => {
                let (output, statistics) =
                    preactivation_conv2d(state, normalization, weight, stepping, None);
                state = output;
                all.push(statistics);
            }
            None => state = conv2d(state, weight, stepping),
        }
    }
    (input + state, all)
}

/// `residual + conv2d(relu(normalize(input)), weight)`, without a bias.
///
/// On Burn's CPU backend with 32-bit floats this is one operation: what is normalized exists only
/// in the cache, and the gradient computes it again instead of keeping it. Elsewhere it is made of
/// Burn's own operations.
///
/// # Shapes
/// - `input`: `[batch, height, width, from]`
/// - `weight`: `[to, from, kernel, kernel]`
/// - `residual` and the result: `[batch, output height, output width, to]`
///
/// Besides the result it gives the statistics that it used.
///
/// # Panics
/// Where the shapes do not fit each other, as Burn's operations do.
pub fn preactivation_conv2d(
    input: Tensor<4>,
    normalization: Normalization,
    weight: Tensor<4>,
    stepping: Stepping,
    residual: Option<Tensor<4>>,
) -> (Tensor<4>, Statistics) {
    let addend = residual.as_ref().map_or(Addend::Nothing, Addend::Other);
    let layer =
        Layer { normalization: Some(normalization.clone()), weight: weight.clone(), stepping };
    if let Some((output, mut statistics)) = fused::chain(&input, &[layer], &addend)
        && let Some(statistics) = statistics.pop()
    {
        return (output, statistics);
    }
    let operands = composed::Operands { input, weight, residual, stepping };
    composed::preactivation_conv2d(operands, normalization)
}

/// Convolution of what lies in memory pixel by pixel, without a bias.
///
/// # Shapes
/// - `input`: `[batch, height, width, from]`
/// - `weight`: `[to, from, kernel, kernel]`
/// - the result: `[batch, output height, output width, to]`
///
/// # Panics
/// Where the shapes do not fit each other, as Burn's operations do.
pub fn conv2d(input: Tensor<4>, weight: Tensor<4>, stepping: Stepping) -> Tensor<4> {
    let layer = Layer { normalization: None, weight: weight.clone(), stepping };
    match fused::chain(&input, &[layer], &Addend::Nothing) {
        Some((output, _)) => output,
        None => composed::conv2d(composed::Operands { input, weight, residual: None, stepping }),
    }
}

/// `residual + conv2d(input, weight)` with a kernel of its own for each channel (depthwise), without
/// a bias.
///
/// # Shapes
/// - `input`: `[batch, height, width, channels]`
/// - `weight`: `[channels, 1, kernel, kernel]`
/// - `residual` and the result: `[batch, output height, output width, channels]`
///
/// # Panics
/// Where the shapes do not fit each other, as Burn's operations do.
pub fn depthwise_conv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    stepping: Stepping,
    residual: Option<Tensor<4>>,
) -> Tensor<4> {
    match fused_depthwise::depthwise(&input, &weight, stepping, residual.as_ref()) {
        Some(output) => output,
        None => composed::depthwise(composed::Operands { input, weight, residual, stepping }),
    }
}

/// Whether operations on this tensor can be fused: Burn's CPU backend, 32-bit floats, and the
/// environment variable `PARAREAL_KERNELS` is not `composed`.
pub fn is_fused(tensor: &Tensor<4>) -> bool {
    operand::is_fused(tensor)
}
