use burn::module::{Flag, Module, ModuleMapper, Param, RunningState};
use burn::tensor::Tensor;
use parareal::net::Init;
use parareal_kernels::{
    ChannelStatistics, ConvOptions, NormStatistics, Normalization, PreactivationConv,
    RunningStatistics, norm, norm_relu, preactivation_conv2d,
};

use super::conv2d::Conv2d;

/// Momentum of the running statistics: the weight of the statistics of a new batch.
const MOMENTUM: f64 = 0.1;
/// Constant that is added to the variance.
const EPSILON: f64 = 1e-5;

/// Batch normalization with PyTorch's conventions: the running variance is updated with the unbiased
/// estimate, but the normalization of a batch uses the biased one.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Running mean, for evaluation, `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running variance, for evaluation, `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
    training: Param<Flag>,
}

impl BatchNorm {
    /// Creates a normalization with scale 1 and shift 0.
    pub fn new(channels: usize, init: &Init) -> Self {
        Self {
            weight: init.constant([channels], 1.0),
            bias: init.constant([channels], 0.0),
            running_mean: init.running([channels], 0.0),
            running_var: init.running([channels], 1.0),
            training: Param::from_bool(true),
        }
    }

    /// Applies normalization, ReLU and a linear layer to each pixel.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to `[batch, height, width, to]`, with a weight of shape `[to,
    /// channels]`.
    pub fn relu_linear(&self, input: Tensor<4>, weight: Tensor<2>) -> Tensor<4> {
        let [to, channels] = weight.dims();
        let weight = weight.reshape([to, channels, 1, 1]);
        let normalization = self.normalization(self.statistics());
        let pointwise = ConvOptions { stride: 1, padding: 0 };
        let (output, statistics) =
            preactivation_conv2d(input, normalization, weight, pointwise, None);
        self.update_running_statistics(&statistics);
        output
    }

    /// Applies the normalization.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]`, in and out.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (output, statistics) = norm(input, self.normalization(self.statistics()));
        self.update_running_statistics(&statistics);
        output
    }

    /// Applies normalization and ReLU.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]`, in and out.
    pub fn relu(&self, input: Tensor<4>) -> Tensor<4> {
        let (output, statistics) = norm_relu(input, self.normalization(self.statistics()));
        self.update_running_statistics(&statistics);
        output
    }

    /// Applies normalization, ReLU and a convolution, and adds the residual if there is one, all as one
    /// operation. Also returns the statistics, for a second convolution of the same input
    /// ([`Self::relu_conv2d_with`]).
    ///
    /// # Shapes
    /// As for [`Conv2d::forward`]. The residual has the shape of the output.
    pub fn relu_conv2d(
        &self,
        input: Tensor<4>,
        conv: &Conv2d,
        residual: Option<Tensor<4>>,
    ) -> (Tensor<4>, NormStatistics) {
        let (output, statistics) = self.relu_conv2d_with(input, conv, self.statistics(), residual);
        self.update_running_statistics(&statistics);
        let statistics = match self.training.is_enabled() {
            true => NormStatistics::Batch(Some(statistics)),
            false => NormStatistics::Running(statistics),
        };
        (output, statistics)
    }

    /// Returns normalization, ReLU and a convolution as a step of a fused residual unit. After running the
    /// unit, the caller must pass the statistics that it returns to [`Self::update_running_statistics`].
    pub fn preactivation_conv(&self, conv: &Conv2d) -> PreactivationConv {
        let normalization = Some(self.normalization(self.statistics()));
        PreactivationConv { normalization, weight: conv.weight.val(), options: conv.options() }
    }

    /// Returns the source of the statistics: the batch in training mode, otherwise the running statistics.
    fn statistics(&self) -> NormStatistics {
        if self.training.is_enabled() {
            return NormStatistics::Batch(None);
        }
        let (mean, variance) = (self.running_mean.value(), self.running_var.value());
        NormStatistics::Running(ChannelStatistics { mean, variance, count: 0, running: None })
    }

    fn normalization(&self, statistics: NormStatistics) -> Normalization {
        let (scale, shift) = (self.weight.val(), self.bias.val());
        let running = self.training.is_enabled().then(|| self.running());
        Normalization { scale, shift, statistics, epsilon: EPSILON, running }
    }

    /// Applies the operation of [`Self::relu_conv2d`] with the given statistics. Does not update the running
    /// statistics.
    pub fn relu_conv2d_with(
        &self,
        input: Tensor<4>,
        conv: &Conv2d,
        statistics: NormStatistics,
        residual: Option<Tensor<4>>,
    ) -> (Tensor<4>, ChannelStatistics) {
        let normalization = self.normalization(statistics);
        preactivation_conv2d(input, normalization, conv.weight.val(), conv.options(), residual)
    }

    /// Updates the running statistics with the statistics of a batch, or replaces them by those that an operation has already
    /// computed ([`ChannelStatistics::running`]). Does nothing outside training mode.
    pub fn update_running_statistics(&self, batch: &ChannelStatistics) {
        if !self.training.is_enabled() {
            return;
        }
        let updated = batch.running.clone().unwrap_or_else(|| self.running().updated(batch));
        replace(&self.running_mean, updated.mean);
        replace(&self.running_var, updated.variance);
    }

    fn running(&self) -> RunningStatistics {
        RunningStatistics {
            mean: self.running_mean.value().inner(),
            variance: self.running_var.value().inner(),
            momentum: MOMENTUM,
        }
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.weight.shape()[0]
    }
}

/// Replaces a running statistic.
///
/// Burn's own update is stored in the calling thread until the value is synchronized, and then divides the sum over threads by
/// their number, on a GPU with a launch of its own. Clones of a running statistic share its value, so mapping one of them changes
/// all, at once and for all threads.
fn replace(state: &RunningState<Tensor<1>>, new: Tensor<1>) {
    state.clone().map(&mut Replacement(new.autodiff()));
}

/// Replaces tensors by another.
struct Replacement(Tensor<1>);

impl ModuleMapper for Replacement {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let new = Tensor::from_dispatch(self.0.clone().into_dispatch());
        Param::initialized(parameter.id, new)
    }
}
