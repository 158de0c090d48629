//! Batch normalization: parameters and statistics.

use burn::tensor::Tensor;

/// Mean and biased variance of each channel, `[channels]`, detached from any graph.
#[derive(Clone, Debug)]
pub struct ChannelStatistics {
    /// The mean over all pixels of the batch.
    pub mean: Tensor<1>,
    /// The mean squared deviation from the mean.
    pub variance: Tensor<1>,
    /// The number of values of each channel that they were computed from, over all replicas; 0 for running statistics.
    pub count: usize,
}

/// The statistics that are used to normalize an input.
#[derive(Clone, Debug)]
pub enum NormStatistics {
    /// Statistics of the batch, as in training. They depend on the input, and the gradient of the
    /// input takes this into account. With `None` they are computed. Given statistics must be those
    /// of the input.
    Batch(Option<ChannelStatistics>),
    /// Constants, such as running statistics in evaluation.
    Running(ChannelStatistics),
}

impl NormStatistics {
    /// Returns the statistics, unless they have to be computed.
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
    /// Small constant that keeps the denominator from being zero.
    pub epsilon: f64,
}
