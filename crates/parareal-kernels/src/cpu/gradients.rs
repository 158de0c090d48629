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
#[derive(Debug)]
pub(crate) struct Gradients<E> {
    /// `[batch, height, width, in_channels]`.
    pub(crate) input: Option<Vec<E>>,
    /// `[out_channels, in_channels, kernel, kernel]`.
    pub(crate) weight: Option<Vec<f32>>,
    /// `[in_channels]`.
    pub(crate) scale: Option<Vec<f32>>,
    /// `[in_channels]`.
    pub(crate) shift: Option<Vec<f32>>,
}

impl<E> Default for Gradients<E> {
    fn default() -> Self {
        Self { input: None, weight: None, scale: None, shift: None }
    }
}
