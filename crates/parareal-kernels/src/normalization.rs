//! Batch normalization: parameters and statistics.

use burn::tensor::Tensor;

/// Mean and biased variance of each channel, `[channels]`, outside every graph.
#[derive(Clone, Debug)]
pub struct ChannelStatistics {
    /// The mean over all pixels of the batch.
    pub mean: Tensor<1>,
    /// The mean squared distance from it.
    pub variance: Tensor<1>,
}

/// The statistics that an input is normalized by.
#[derive(Clone, Debug)]
pub enum NormStatistics {
    /// Statistics of the batch, as in training. They depend on the input, and its gradient takes
    /// that into account. `None` computes them; given ones must be those of the input.
    Batch(Option<ChannelStatistics>),
    /// Constants, such as running statistics in evaluation.
    Running(ChannelStatistics),
}

impl NormStatistics {
    /// The statistics that need not be computed.
    pub(crate) fn given(&self) -> Option<&ChannelStatistics> {
        match self {
            Self::Batch(given) => given.as_ref(),
            Self::Running(given) => Some(given),
        }
    }
}

/// Batch normalization: `scale · (x - mean) / √(variance + epsilon) + shift` for each channel.
#[derive(Clone, Debug)]
pub struct Normalization {
    /// Scale, `[channels]`.
    pub scale: Tensor<1>,
    /// Shift, `[channels]`.
    pub shift: Tensor<1>,
    /// Mean and variance.
    pub statistics: NormStatistics,
    /// The constant that keeps the denominator from zero.
    pub epsilon: f64,
}
