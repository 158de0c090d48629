use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::module::{batch_norm, batch_norm_train, conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, s};
use parareal::net::Init;

/// What the running statistics take of a batch's.
const MOMENTUM: f64 = 0.1;
const EPSILON: f64 = 1e-5;

/// Batch normalization of images with PyTorch's conventions: the running variance takes the
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

    /// Normalizes each channel, by the batch's statistics while training and by the running ones
    /// otherwise.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]`, in and out.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if !self.training.is_enabled() {
            let (mean, variance) = (self.running_mean.value(), self.running_var.value());
            return batch_norm(input, weight, bias, mean, variance, EPSILON);
        }
        let [batch, _, height, width] = input.dims();
        let samples = (batch * height * width) as f64;
        let normalized = batch_norm_train(input, weight, bias, EPSILON);
        // As PyTorch: n / (n - 1) of the biased variance (a single value has none to correct).
        let unbiased = samples / (samples - 1.0).max(1.0);
        keep(&self.running_mean, normalized.mean);
        keep(&self.running_var, normalized.variance.mul_scalar(unbiased));
        normalized.output
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.weight.shape()[0]
    }
}

fn keep(state: &RunningState<Tensor<1>>, new: Tensor<1>) {
    let old = state.value().inner().mul_scalar(1.0 - MOMENTUM);
    state.update((old + new.inner().mul_scalar(MOMENTUM)).autodiff());
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
    /// `[batch, channels_in, h, w]` to `[batch, channels_out, ⌈h/stride⌉, ⌈w/stride⌉]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let [to, from, kernel, _] = weight.dims();
        let input = if kernel == 1 { subsample(input, self.stride) } else { input };
        if kernel == 1 {
            // A matrix product: Burn's gradient of it is several times faster than that of a
            // convolution, the more so where there is a stride.
            let [batch, _, height, width] = input.dims();
            let pixels = input.reshape([batch, from, height * width]);
            return weight
                .reshape([1, to, from])
                .matmul(pixels)
                .reshape([batch, to, height, width]);
        }
        let padding = kernel / 2;
        let options = ConvOptions::new([self.stride; 2], [padding; 2], [1, 1], 1);
        conv2d(input, weight, None, options)
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

/// Every `stride`-th pixel of every `stride`-th row, the first of each kept.
fn subsample(input: Tensor<4>, stride: usize) -> Tensor<4> {
    let [batch, channels, height, width] = input.dims();
    if stride == 1 {
        return input;
    }
    if !height.is_multiple_of(stride) || !width.is_multiple_of(stride) {
        return input.slice(s![.., .., ..;stride as isize, ..;stride as isize]);
    }
    let (rows, columns) = (height / stride, width / stride);
    // Narrowing two dimensions of a reshaped image has a cheap gradient; slicing with steps has
    // not.
    input
        .reshape([batch * channels * rows, stride * width])
        .narrow(1, 0, width)
        .reshape([batch * channels * rows * columns, stride])
        .narrow(1, 0, 1)
        .reshape([batch, channels, rows, columns])
}
