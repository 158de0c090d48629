use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::Tensor;
use parareal::net::Init;
use parareal_kernels::{
    Center, Layer, Normalization, Statistics, Stepping, conv2d, depthwise_conv2d,
    preactivation_conv2d,
};

/// What the running statistics take of a batch's.
const MOMENTUM: f64 = 0.1;
const EPSILON: f64 = 1e-5;

/// Batch normalization with PyTorch's conventions: the running variance takes the
/// unbiased estimate, the normalization the biased one.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Mean for evaluation, `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Variance for evaluation, `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
    training: Param<Flag>,
}

impl BatchNorm {
    /// The identity, but for the normalization.
    pub fn new(channels: usize, init: &Init) -> Self {
        Self {
            weight: init.constant([channels], 1.0),
            bias: init.constant([channels], 0.0),
            running_mean: init.running([channels], 0.0),
            running_var: init.running([channels], 1.0),
            training: Param::from_bool(true),
        }
    }

    /// Normalization, ReLU and a linear map of each pixel.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to `[batch, height, width, to]`, by a weight of
    /// `[to, channels]`.
    pub fn relu_linear(&self, input: Tensor<4>, weight: Tensor<2>) -> Tensor<4> {
        let [batch, height, width, channels] = input.dims();
        let to = weight.dims()[0];
        let weight = weight.reshape([to, channels, 1, 1]);
        let normalization = self.normalization(self.center());
        let pointwise = Stepping { stride: 1, padding: 0 };
        let (output, statistics) =
            preactivation_conv2d(input, normalization, weight, pointwise, None);
        self.saw(&statistics, batch * height * width);
        output
    }

    /// Normalization, ReLU and a convolution at once; gives also the statistics that a second
    /// convolution of the same input can take.
    ///
    /// # Shapes
    /// As for [`Conv2d::forward`]; the residual has the output's.
    pub fn relu_conv2d(
        &self,
        input: Tensor<4>,
        conv: &Conv2d,
        residual: Option<Tensor<4>>,
    ) -> (Tensor<4>, Center) {
        let [batch, height, width, _] = input.dims();
        let (output, statistics) = self.relu_conv2d_by(input, conv, self.center(), residual);
        self.saw(&statistics, batch * height * width);
        let center = match self.training.is_enabled() {
            true => Center::OfBatch(Some(statistics)),
            false => Center::Constant(statistics),
        };
        (output, center)
    }

    /// Normalization, ReLU and a convolution as a layer of a residual unit, whose statistics
    /// [`Self::saw`] takes.
    pub fn layer(&self, conv: &Conv2d) -> Layer {
        let normalization = Some(self.normalization(self.center()));
        Layer { normalization, weight: conv.weight.val(), stepping: conv.stepping() }
    }

    /// The batch's own statistics while training, otherwise the running ones.
    fn center(&self) -> Center {
        if self.training.is_enabled() {
            return Center::OfBatch(None);
        }
        let (mean, variance) = (self.running_mean.value(), self.running_var.value());
        Center::Constant(Statistics { mean, variance })
    }

    fn normalization(&self, center: Center) -> Normalization {
        let (scale, shift) = (self.weight.val(), self.bias.val());
        Normalization { scale, shift, center, epsilon: EPSILON }
    }

    /// As [`Self::relu_conv2d`], with statistics that are there already.
    pub fn relu_conv2d_by(
        &self,
        input: Tensor<4>,
        conv: &Conv2d,
        center: Center,
        residual: Option<Tensor<4>>,
    ) -> (Tensor<4>, Statistics) {
        let normalization = self.normalization(center);
        preactivation_conv2d(input, normalization, conv.weight.val(), conv.stepping(), residual)
    }

    /// Takes the statistics of a batch of so many pixels into the running ones, while training.
    pub fn saw(&self, batch: &Statistics, pixels: usize) {
        // Nothing has no statistics.
        if pixels == 0 || !self.training.is_enabled() {
            return;
        }
        let samples = pixels as f64;
        // As PyTorch: n / (n - 1) of the biased variance (a single value has none to correct).
        let unbiased = samples / (samples - 1.0).max(1.0);
        keep(&self.running_mean, batch.mean.clone());
        keep(&self.running_var, batch.variance.clone().mul_scalar(unbiased));
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.weight.shape()[0]
    }
}

fn keep(state: &RunningState<Tensor<1>>, new: Tensor<1>) {
    let old = state.value().inner().mul_scalar(1.0 - MOMENTUM);
    state.update((old + new.mul_scalar(MOMENTUM)).autodiff());
    // Burn keeps an update per thread until the next one: settle it now, so that a reader on
    // another thread sees it.
    state.value_sync();
}

/// Convolution with a square kernel and no bias, padded to keep the size at stride 1.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[channels_out, channels_in, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    stride: usize,
}

impl Conv2d {
    /// He initialization: normal with variance `2 / (kernel² · channels_out)` (fan-out).
    pub fn new(from: usize, to: usize, kernel: usize, stride: usize, init: &Init) -> Self {
        let deviation = (2.0 / (kernel * kernel * to) as f64).sqrt();
        let weight = init.normal("weight", [to, from, kernel, kernel], deviation);
        Self { weight, stride }
    }

    /// Applies the convolution.
    ///
    /// # Shapes
    /// `[batch, h, w, channels_in]` to `[batch, ⌈h/stride⌉, ⌈w/stride⌉, channels_out]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        conv2d(input, self.weight.val(), self.stepping())
    }

    fn stepping(&self) -> Stepping {
        Stepping { stride: self.stride, padding: self.weight.shape()[2] / 2 }
    }

    /// Input channels.
    pub fn channels_in(&self) -> usize {
        self.weight.shape()[1]
    }

    /// Output channels.
    pub fn channels_out(&self) -> usize {
        self.weight.shape()[0]
    }

    /// The output's height or width for the input's.
    pub fn output_size(&self, size: usize) -> usize {
        size.div_ceil(self.stride)
    }
}

/// 3×3 convolution of each channel by itself, without a bias, padded to keep the size at stride 1.
#[derive(Module, Debug)]
pub struct DepthwiseConv2d {
    /// `[channels, 1, 3, 3]`.
    pub weight: Param<Tensor<4>>,
    stride: usize,
}

impl DepthwiseConv2d {
    /// He initialization: normal with variance `2 / 9`, as each output sees nine numbers and each
    /// number nine outputs.
    pub fn new(channels: usize, stride: usize, init: &Init) -> Self {
        let weight = init.normal("weight", [channels, 1, 3, 3], (2.0f64 / 9.0).sqrt());
        Self { weight, stride }
    }

    /// Applies the convolution, and adds the residual.
    ///
    /// # Shapes
    /// `[batch, h, w, channels]` to `[batch, ⌈h/stride⌉, ⌈w/stride⌉, channels]`, which the residual
    /// has too.
    pub fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        let stepping = Stepping { stride: self.stride, padding: 1 };
        depthwise_conv2d(input, self.weight.val(), stepping, residual)
    }

    /// The output's height or width for the input's.
    pub fn output_size(&self, size: usize) -> usize {
        size.div_ceil(self.stride)
    }
}
