//! The operations that networks are made of, fused where the tensors allow it.

use burn::tensor::{DType, Tensor};

use crate::{composed, fused};

/// How a convolution moves over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepping {
    /// Rows and columns from one place of the kernel to the next.
    pub stride: usize,
    /// Rows and columns of zeros on each side.
    pub padding: usize,
}

/// Batch normalization: `scale · (x - mean) / √(variance + epsilon) + shift` for each channel.
#[derive(Clone, Debug)]
pub struct Normalization {
    /// `[channels]`.
    pub scale: Tensor<1>,
    /// `[channels]`.
    pub shift: Tensor<1>,
    /// `[channels]`.
    pub mean: Tensor<1>,
    /// The biased variance, `[channels]`.
    pub variance: Tensor<1>,
    /// What keeps the denominator from zero.
    pub epsilon: f64,
    /// Whether mean and variance are those of the very input that is normalized, as
    /// [`channel_statistics`] gives them: then they depend on it, and its gradient says so.
    /// Otherwise they are constants.
    pub of_batch: bool,
}

/// Mean and biased variance of each channel over all pixels of a batch, outside every graph.
///
/// # Shapes
/// `[batch, height, width, channels]` to `[channels]`, twice.
pub fn channel_statistics(input: &Tensor<4>) -> [Tensor<1>; 2] {
    fused::channel_statistics(input).unwrap_or_else(|| composed::channel_statistics(input))
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
/// # Panics
/// Where the shapes do not fit each other, as Burn's operations do.
pub fn preactivation_conv2d(
    input: Tensor<4>,
    normalization: &Normalization,
    weight: Tensor<4>,
    stepping: Stepping,
    residual: Option<Tensor<4>>,
) -> Tensor<4> {
    let whole = composed::Operands { input, weight, residual, stepping };
    match fused::Operands::new(&whole, Some(normalization)) {
        Some(fused) => fused.run(),
        None => composed::preactivation_conv2d(whole, normalization),
    }
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
    let whole = composed::Operands { input, weight, residual: None, stepping };
    match fused::Operands::new(&whole, None) {
        Some(fused) => fused.run(),
        None => composed::conv2d(whole),
    }
}

/// Whether operations on this tensor can be fused: Burn's CPU backend, 32-bit floats.
pub fn is_fused(tensor: &Tensor<4>) -> bool {
    tensor.dtype() == DType::F32 && fused::is_on_cpu(tensor)
}
