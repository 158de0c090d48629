//! The public operations composed of Burn's own operations, for every backend and precision. States in bfloat16 are
//! converted to 32-bit floats for an operation, and its result is rounded.

use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm, batch_norm_train, conv2d as burn_conv2d};
use burn::tensor::ops::ConvOptions as BurnConvOptions;
use burn::tensor::{DType, FloatDType, Tensor, s};

use parareal_autodiff::{replica_sum, sum_over_replicas};

use crate::conv::ConvOptions;
use crate::normalization::{ChannelStatistics, NormStatistics, Normalization};

/// The operands of a convolution.
pub(crate) struct Operands {
    pub(crate) input: Tensor<4>,
    pub(crate) weight: Tensor<4>,
    pub(crate) residual: Option<Tensor<4>>,
    pub(crate) options: ConvOptions,
}

/// Converts a state in bfloat16 to 32-bit floats, unless the parameters of the operation are in bfloat16 as well. Returns
/// true if it was converted.
fn widened(state: Tensor<4>, parameters: DType) -> (Tensor<4>, bool) {
    match (state.dtype(), parameters) {
        (DType::BF16, DType::BF16) => (state, false),
        (DType::BF16, _) => (state.cast(FloatDType::F32), true),
        _ => (state, false),
    }
}

/// Rounds a state to bfloat16 if its input was in bfloat16.
fn narrowed(state: Tensor<4>, is_narrow: bool) -> Tensor<4> {
    if is_narrow { state.cast(FloatDType::BF16) } else { state }
}

impl Operands {
    /// Converts the states, and returns true if the input was in bfloat16.
    fn widened(self) -> (Self, bool) {
        let parameters = self.weight.dtype();
        let (input, is_narrow) = widened(self.input, parameters);
        let residual = self.residual.map(|residual| widened(residual, parameters).0);
        (Self { input, residual, ..self }, is_narrow)
    }
}

pub(crate) fn preactivation_conv2d(
    operands: Operands,
    normalization: Normalization,
) -> (Tensor<4>, ChannelStatistics) {
    let (operands, is_narrow) = operands.widened();
    let (input, statistics) = norm_relu(operands.input, normalization);
    (narrowed(conv2d(Operands { input, ..operands }), is_narrow), statistics)
}

/// Applies normalization and ReLU.
pub(crate) fn norm_relu(
    input: Tensor<4>,
    normalization: Normalization,
) -> (Tensor<4>, ChannelStatistics) {
    let (input, is_narrow) = widened(input, normalization.scale.dtype());
    let (normalized, statistics) = norm(input, normalization);
    (narrowed(relu(normalized), is_narrow), statistics)
}

/// Applies normalization.
pub(crate) fn norm(
    input: Tensor<4>,
    normalization: Normalization,
) -> (Tensor<4>, ChannelStatistics) {
    let running = normalization.updates().cloned();
    let Normalization { scale, shift, statistics, epsilon, .. } = normalization;
    let (input, is_narrow) = widened(input, scale.dtype());
    let shape = input.dims();
    // Burn's normalization expects the channels right after the batch.
    let pixels = input.reshape([-1, shape[3] as i32]);
    let (normalized, mut statistics) = match statistics {
        // They have to be computed within the graph, even if they are given.
        NormStatistics::Batch(_) if replica_sum().is_some() => {
            batch_norm_over_replicas(pixels, scale, shift, epsilon)
        }
        NormStatistics::Batch(_) => {
            let count = pixels.dims()[0];
            let done = batch_norm_train(pixels, scale, shift, epsilon);
            let [mean, variance] = [done.mean, done.variance].map(Tensor::inner);
            (done.output, ChannelStatistics { mean, variance, count, running: None })
        }
        NormStatistics::Running(statistics) => {
            let ChannelStatistics { mean, variance, .. } = statistics.clone();
            let [mean, variance] = [mean, variance].map(|constant| like(constant, &pixels));
            (batch_norm(pixels, scale, shift, mean, variance, epsilon), statistics)
        }
    };
    if let Some(running) = running {
        statistics.running = Some(running.updated(&statistics));
    }
    (narrowed(normalized.reshape(shape), is_narrow), statistics)
}

/// Normalizes pixels with the statistics of all replicas.
fn batch_norm_over_replicas(
    pixels: Tensor<2>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
) -> (Tensor<2>, ChannelStatistics) {
    let mut count = [pixels.dims()[0] as f64];
    if let Some(replicas) = replica_sum() {
        replicas.sum(&mut count);
    }
    // A product, because Burn's gradient of a division by a number is rounded to single precision.
    let mean_over_replicas =
        |values: Tensor<2>| sum_over_replicas(values.sum_dim(0)).mul_scalar(count[0].recip());
    let mean = mean_over_replicas(pixels.clone());
    let deviation = pixels - mean.clone();
    let variance = mean_over_replicas(deviation.clone().square());
    let normalized = deviation / variance.clone().add_scalar(epsilon).sqrt();
    let output = normalized * scale.unsqueeze() + shift.unsqueeze();
    let [mean, variance] = [mean, variance].map(|statistic| statistic.squeeze_dim(0).inner());
    (output, ChannelStatistics { mean, variance, count: count[0] as usize, running: None })
}

/// Converts a constant for operations with `other`: detached from any graph, and on an autodiff
/// device if `other` is on one.
fn like<const D: usize>(constant: Tensor<1>, other: &Tensor<D>) -> Tensor<1> {
    let values = constant.inner();
    if other.device().is_autodiff() { values.autodiff() } else { values }
}

pub(crate) fn conv2d(operands: Operands) -> Tensor<4> {
    let (operands, is_narrow) = operands.widened();
    let Operands { input, weight, residual, options: ConvOptions { stride, padding } } = operands;
    let [to, from, kernel, _] = weight.dims();
    let output = if kernel == 1 && padding == 0 {
        // A pointwise convolution is a matrix product. Burn computes the gradient of a product
        // several times faster than that of a convolution, especially with a stride. There is one
        // product for each image, so that the gradient of the weight is a sum of many products,
        // which fill a GPU. A single product over all pixels would have a result of few rows and
        // columns, for which CubeCL launches only two to eight blocks (`benchmarks/gpu`).
        let input = subsample(input, stride);
        let [batch, height, width, _] = input.dims();
        let pixels = input.reshape([batch, height * width, from]);
        let weight = weight.reshape([1, to, from]).transpose();
        pixels.matmul(weight).reshape([batch, height, width, to])
    } else {
        let options = BurnConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
        burn_conv2d(input.permute([0, 3, 1, 2]), weight, None, options).permute([0, 2, 3, 1])
    };
    let output = match residual {
        Some(residual) => residual + output,
        None => output,
    };
    narrowed(output, is_narrow)
}

/// Applies a depthwise convolution, with one kernel for each channel.
pub(crate) fn depthwise(operands: Operands) -> Tensor<4> {
    let (operands, is_narrow) = operands.widened();
    let Operands { input, weight, residual, options: ConvOptions { stride, padding } } = operands;
    let options = BurnConvOptions::new([stride; 2], [padding; 2], [1, 1], input.dims()[3]);
    let output = burn_conv2d(input.permute([0, 3, 1, 2]), weight, None, options);
    let output = output.permute([0, 2, 3, 1]);
    let output = match residual {
        Some(residual) => residual + output,
        None => output,
    };
    narrowed(output, is_narrow)
}

/// Averages blocks of 2×2 pixels. The last row or column of an odd size forms smaller blocks.
pub(crate) fn average_pool2d(input: Tensor<4>) -> Tensor<4> {
    let (input, is_narrow) = widened(input, DType::F32);
    // The mean of a value and its copy is the value.
    let input = repeat_last(repeat_last(input, 1), 2);
    let [batch, height, width, channels] = input.dims();
    let blocks = input.reshape([batch, height / 2, 2, width / 2, 2, channels]);
    let means = blocks.mean_dim(4).mean_dim(2);
    narrowed(means.reshape([batch, height / 2, width / 2, channels]), is_narrow)
}

/// Repeats the last slice along a dimension of odd size, which makes the size even.
fn repeat_last(input: Tensor<4>, dim: usize) -> Tensor<4> {
    let size = input.dims()[dim];
    if size.is_multiple_of(2) {
        return input;
    }
    let last = input.clone().narrow(dim, size - 1, 1);
    Tensor::cat(vec![input, last], dim)
}

/// Repeats each pixel of the input in a block of 2×2, and adds the residual. Pixels outside the residual are
/// left out.
pub(crate) fn upsample2d(input: Tensor<4>, residual: Tensor<4>) -> Tensor<4> {
    let ((input, is_narrow), (residual, _)) =
        (widened(input, DType::F32), widened(residual, DType::F32));
    let [batch, height, width, channels] = input.dims();
    let blocks = input.reshape([batch, height, 1, width, 1, channels]);
    let blocks = blocks.expand([batch, height, 2, width, 2, channels]);
    let mut upsampled = blocks.reshape([batch, 2 * height, 2 * width, channels]);
    for dim in [1, 2] {
        let size = residual.dims()[dim];
        if size + 1 == upsampled.dims()[dim] {
            upsampled = upsampled.narrow(dim, 0, size);
        }
    }
    narrowed(residual + upsampled, is_narrow)
}

/// Selects every `stride`-th pixel of every `stride`-th row, starting with the first.
fn subsample(input: Tensor<4>, stride: usize) -> Tensor<4> {
    let [batch, height, width, channels] = input.dims();
    if stride == 1 {
        return input;
    }
    if !height.is_multiple_of(stride) || !width.is_multiple_of(stride) {
        return input.slice(s![.., ..;stride as isize, ..;stride as isize, ..]);
    }
    let (rows, columns) = (height / stride, width / stride);
    // Narrowing two dimensions of a reshaped image has a cheap gradient; slicing with steps does
    // not.
    input
        .reshape([batch * rows, stride * width * channels])
        .narrow(1, 0, width * channels)
        .reshape([batch * rows * columns, stride * channels])
        .narrow(1, 0, channels)
        .reshape([batch, rows, columns, channels])
}
