//! The public operations, which are fused if the tensors support it.

use burn::tensor::Tensor;

use crate::conv::{ConvOptions, PreactivationConv, Projection};
#[cfg(feature = "cube")]
use crate::cube;
use crate::fused_chain::{self, Residual};
use crate::normalization::{ChannelStatistics, NormStatistics, Normalization};
use crate::{composed, flex, fused_depthwise, fused_resample};

/// Applies a residual unit: `input + (layer_n ∘ … ∘ layer_1)(input)`.
///
/// On Burn's CPU backend, and with the feature `cube` on CubeCL's devices, two to four normalized layers are one fused operation if
/// states are 32-bit floats or bfloat16; see [`preactivation_conv2d`].
///
/// # Shapes
/// Input and output: `[batch, height, width, channels]`.
///
/// Also returns the statistics of each normalization, in order.
///
/// # Panics
/// If the shapes are not compatible.
pub fn residual(
    input: Tensor<4>,
    layers: Vec<PreactivationConv>,
) -> (Tensor<4>, Vec<ChannelStatistics>) {
    if let 2..=4 = layers.len()
        && let Some(done) = fused(&input, &layers, &Residual::Input)
    {
        return done;
    }
    let (mut state, mut all) = (input.clone(), Vec::new());
    for PreactivationConv { normalization, weight, options } in layers {
        match normalization {
            Some(normalization) => {
                let (output, statistics) =
                    preactivation_conv2d(state, normalization, weight, options, None);
                state = output;
                all.push(statistics);
            }
            None => state = conv2d(state, weight, options),
        }
    }
    (input + state, all)
}

/// Applies a residual unit that changes the shape: `projection(a) + (layer_n ∘ … ∘ layer_1)(input)`, where `a` is the input
/// after the normalization and ReLU of the first layer.
///
/// On CubeCL's devices (feature `cube`), two to four normalized layers and the projection are one fused
/// operation. Elsewhere each convolution is one; see [`preactivation_conv2d`].
///
/// # Shapes
/// The projection has the output shape of the last layer.
///
/// Also returns the statistics of each normalization, in order.
///
/// # Panics
/// If the shapes are not compatible.
pub fn projected_residual(
    input: Tensor<4>,
    layers: Vec<PreactivationConv>,
    projection: Projection,
) -> (Tensor<4>, Vec<ChannelStatistics>) {
    if let 2..=4 = layers.len()
        && let Some(done) = fused(&input, &layers, &Residual::Projection(&projection))
    {
        return done;
    }
    let (mut state, mut all, mut skip) = (input, Vec::new(), None);
    let last = layers.len().saturating_sub(1);
    let mut projection = Some(projection);
    for (index, PreactivationConv { normalization, weight, options }) in
        layers.into_iter().enumerate()
    {
        let input = state.clone();
        match &normalization {
            Some(normalization) => {
                let added = skip.take_if(|_| index == last);
                let (output, statistics) =
                    preactivation_conv2d(state, normalization.clone(), weight, options, added);
                state = output;
                all.push(statistics);
            }
            None => state = conv2d(state, weight, options),
        }
        if let Some(Projection { weight, options }) = projection.take() {
            skip = Some(match normalization.zip(all.first()) {
                Some((normalization, found)) => {
                    let statistics = match normalization.statistics {
                        NormStatistics::Batch(_) => NormStatistics::Batch(Some(found.clone())),
                        given @ NormStatistics::Running(_) => given,
                    };
                    let normalization = Normalization { statistics, ..normalization };
                    preactivation_conv2d(input, normalization, weight, options, None).0
                }
                None => conv2d(input, weight, options),
            });
        }
    }
    // Without layers, the input itself is projected.
    let project = |Projection { weight, options }| conv2d(state.clone(), weight, options);
    match skip.or_else(|| projection.map(project)) {
        Some(skip) => (state + skip, all),
        None => (state, all),
    }
}

/// Computes `residual + conv2d(relu(normalize(input)), weight)`, without a bias.
///
/// On Burn's CPU backend and on CubeCL's devices (feature `cube`), this is one fused operation for 32-bit floats. The normalized
/// input exists only in the cache, and the backward pass recomputes it. Input and residual may also be in bfloat16, and the
/// result then is as well. On other backends and with other precisions, Burn's own operations are used.
///
/// # Shapes
/// - `input`: `[batch, height, width, in_channels]`
/// - `weight`: `[out_channels, in_channels, kernel, kernel]`
/// - `residual` and the result: `[batch, output height, output width, out_channels]`
///
/// Also returns the statistics that the normalization used.
///
/// # Panics
/// If the shapes are not compatible.
pub fn preactivation_conv2d(
    input: Tensor<4>,
    normalization: Normalization,
    weight: Tensor<4>,
    options: ConvOptions,
    residual: Option<Tensor<4>>,
) -> (Tensor<4>, ChannelStatistics) {
    let added = residual.as_ref().map_or(Residual::None, Residual::Tensor);
    let layer = PreactivationConv {
        normalization: Some(normalization.clone()),
        weight: weight.clone(),
        options,
    };
    if let Some((output, mut statistics)) = fused(&input, &[layer], &added)
        && let Some(statistics) = statistics.pop()
    {
        return (output, statistics);
    }
    let operands = composed::Operands { input, weight, residual, options };
    composed::preactivation_conv2d(operands, normalization)
}

/// Applies a chain of convolutions as one operation. Returns `None` if the backend, precision or shapes are not supported.
fn fused(
    input: &Tensor<4>,
    layers: &[PreactivationConv],
    residual: &Residual<'_>,
) -> Option<(Tensor<4>, Vec<ChannelStatistics>)> {
    let done = fused_chain::chain(input, layers, residual);
    let (output, mut all) = done.or_else(|| on_cube(input, layers, residual))?;
    let normalizations = layers.iter().filter_map(|layer| layer.normalization.as_ref());
    for (normalization, statistics) in normalizations.zip(&mut all) {
        if let Some(running) = normalization.updates()
            && statistics.running.is_none()
        {
            statistics.running = Some(running.updated(statistics));
        }
    }
    Some((output, all))
}

/// Applies a chain of convolutions on one of CubeCL's devices.
#[cfg(feature = "cube")]
fn on_cube(
    input: &Tensor<4>,
    layers: &[PreactivationConv],
    residual: &Residual<'_>,
) -> Option<(Tensor<4>, Vec<ChannelStatistics>)> {
    cube::chain(input, layers, residual)
}

/// Returns `None`: there are no fused operations for CubeCL's devices without the feature `cube`.
#[cfg(not(feature = "cube"))]
fn on_cube(
    _: &Tensor<4>,
    _: &[PreactivationConv],
    _: &Residual<'_>,
) -> Option<(Tensor<4>, Vec<ChannelStatistics>)> {
    None
}

/// Convolves channels-last images, without a bias.
///
/// # Shapes
/// - `input`: `[batch, height, width, in_channels]`
/// - `weight`: `[out_channels, in_channels, kernel, kernel]`
/// - the result: `[batch, output height, output width, out_channels]`
///
/// # Panics
/// If the shapes are not compatible.
pub fn conv2d(input: Tensor<4>, weight: Tensor<4>, options: ConvOptions) -> Tensor<4> {
    let layer = PreactivationConv { normalization: None, weight: weight.clone(), options };
    match fused(&input, &[layer], &Residual::None) {
        Some((output, _)) => output,
        None => composed::conv2d(composed::Operands { input, weight, residual: None, options }),
    }
}

/// Computes `residual + conv2d(input, weight)` with one kernel per channel (depthwise), without a
/// bias.
///
/// # Shapes
/// - `input`: `[batch, height, width, channels]`
/// - `weight`: `[channels, 1, kernel, kernel]`
/// - `residual` and the result: `[batch, output height, output width, channels]`
///
/// # Panics
/// If the shapes are not compatible.
pub fn depthwise_conv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    options: ConvOptions,
    residual: Option<Tensor<4>>,
) -> Tensor<4> {
    match fused_depthwise::depthwise(&input, &weight, options, residual.as_ref()) {
        Some(output) => output,
        None => composed::depthwise(composed::Operands { input, weight, residual, options }),
    }
}

/// Computes `relu(normalize(input))`, composed of Burn's operations everywhere.
///
/// # Shapes
/// Input and output: `[batch, height, width, channels]`.
///
/// Also returns the statistics that the normalization used.
///
/// # Panics
/// If the shapes are not compatible.
pub fn norm_relu(input: Tensor<4>, normalization: Normalization) -> (Tensor<4>, ChannelStatistics) {
    composed::norm_relu(input, normalization)
}

/// Computes `normalize(input)`, composed of Burn's operations everywhere.
///
/// # Shapes
/// Input and output: `[batch, height, width, channels]`.
///
/// Also returns the statistics that the normalization used.
///
/// # Panics
/// If the shapes are not compatible.
pub fn norm(input: Tensor<4>, normalization: Normalization) -> (Tensor<4>, ChannelStatistics) {
    composed::norm(input, normalization)
}

/// Averages blocks of 2×2 pixels (average pooling). The last row or column of an odd size forms blocks of its
/// own, as with PyTorch's `ceil_mode=True, count_include_pad=False`. The operation is fused if both sizes are even.
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, ⌈height/2⌉, ⌈width/2⌉, channels]`.
pub fn average_pool2d(input: Tensor<4>) -> Tensor<4> {
    match fused_resample::average_pool(&input) {
        Some(output) => output,
        None => composed::average_pool2d(input),
    }
}

/// Adds `input`, interpolated to twice its height and width, to `residual`. Each pixel is repeated
/// in a block of 2×2 (nearest neighbor). The residual may have an odd height or width; the last row or
/// column of the interpolated image is then left out.
///
/// # Shapes
/// `[batch, height, width, channels]` to the shape of the residual, `[batch, 2·height, 2·width, channels]` or one
/// row or column less.
///
/// # Panics
/// If the residual has a different shape.
pub fn upsample2d(input: Tensor<4>, residual: Tensor<4>) -> Tensor<4> {
    match fused_resample::add_upsampled(&input, &residual) {
        Some(output) => output,
        None => composed::upsample2d(input, residual),
    }
}

/// Returns true if operations on this state can be fused.
///
/// The state consists of 32-bit floats or bfloat16, on Burn's CPU backend or, with the feature `cube`, on one of CubeCL's devices, and
/// the environment variable `PARAREAL_KERNELS` is not `composed`. On CubeCL's devices, only
/// [`conv2d`], [`preactivation_conv2d`], [`residual`] and [`projected_residual`] are fused.
pub fn is_fused(tensor: &Tensor<4>) -> bool {
    #[cfg(feature = "cube")]
    if cube::is_fused_state(tensor) {
        return true;
    }
    flex::is_fused_state(tensor)
}
