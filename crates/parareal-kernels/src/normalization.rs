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
    /// The running statistics after this batch, if the normalization had some ([`Normalization::running`]).
    pub running: Option<RunningStatistics>,
}

/// Running statistics of a normalization: exponential moving averages over batches, with PyTorch's conventions. Detached from
/// any graph.
#[derive(Clone, Debug)]
pub struct RunningStatistics {
    /// Running mean, `[channels]`.
    pub mean: Tensor<1>,
    /// Running variance, `[channels]`: the average of unbiased estimates.
    pub variance: Tensor<1>,
    /// The weight of a new batch.
    pub momentum: f64,
}

impl RunningStatistics {
    /// Returns the running statistics after a batch. An empty batch does not change them.
    pub fn updated(&self, batch: &ChannelStatistics) -> Self {
        if batch.count == 0 {
            return self.clone();
        }
        let momentum = self.momentum;
        let average = |old: &Tensor<1>, new: Tensor<1>| {
            old.clone().inner().mul_scalar(1.0 - momentum) + new.mul_scalar(momentum)
        };
        let mean = average(&self.mean, batch.mean.clone());
        let unbiased = batch.variance.clone().mul_scalar(unbiased_factor(batch.count));
        Self { mean, variance: average(&self.variance, unbiased), momentum }
    }
}

/// Returns the ratio of the unbiased to the biased variance of `count` values. A single value is not corrected.
pub(crate) fn unbiased_factor(count: usize) -> f64 {
    let count = count as f64;
    count / (count - 1.0).max(1.0)
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
    /// Running statistics. If the statistics are computed ([`NormStatistics::Batch`] with `None`), the operation returns these
    /// after the batch, as [`ChannelStatistics::running`]. In fused operations on CubeCL's devices this takes no launch of its
    /// own.
    pub running: Option<RunningStatistics>,
}

impl Normalization {
    /// Returns the running statistics, if the operation has to update them.
    pub(crate) fn updates(&self) -> Option<&RunningStatistics> {
        match self.statistics {
            NormStatistics::Batch(None) => self.running.as_ref(),
            NormStatistics::Batch(Some(_)) | NormStatistics::Running(_) => None,
        }
    }
}
