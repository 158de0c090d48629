//! Requests and results of the backward pass.

/// The gradients that a backward pass computes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GradientMask {
    /// The gradients of the input and of the normalization.
    pub(crate) input: bool,
    /// The gradient of the kernel.
    pub(crate) weight: bool,
}

/// The gradients that were requested.
#[derive(Debug, Default)]
pub(crate) struct Gradients {
    /// `[batch, height, width, in_channels]`.
    pub(crate) input: Option<Vec<f32>>,
    /// `[out_channels, in_channels, kernel, kernel]`.
    pub(crate) weight: Option<Vec<f32>>,
    /// `[in_channels]`.
    pub(crate) scale: Option<Vec<f32>>,
    /// `[in_channels]`.
    pub(crate) shift: Option<Vec<f32>>,
}
