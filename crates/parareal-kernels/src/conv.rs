//! Options of convolutions, and a convolution with the normalization of its input.

use burn::tensor::Tensor;

use crate::normalization::Normalization;

/// Stride and padding of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Distance between positions of the kernel, in rows and columns.
    pub stride: usize,
    /// Rows and columns of zeros on each side.
    pub padding: usize,
}

/// The convolution in the skip connection of a residual unit that changes the shape, without a bias.
#[derive(Clone, Debug)]
pub struct Projection {
    /// Weight, `[out_channels, in_channels, kernel, kernel]`.
    pub weight: Tensor<4>,
    /// Stride and padding.
    pub options: ConvOptions,
}

/// A convolution without a bias, after optional normalization and ReLU.
#[derive(Clone, Debug)]
pub struct PreactivationConv {
    /// Normalization, followed by ReLU; with `None`, the input is convolved without either.
    pub normalization: Option<Normalization>,
    /// Weight, `[out_channels, in_channels, kernel, kernel]`.
    pub weight: Tensor<4>,
    /// Stride and padding.
    pub options: ConvOptions,
}
