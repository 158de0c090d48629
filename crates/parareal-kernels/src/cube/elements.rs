//! Single values of the factors of a product, computed from tensors in memory.

use cubecl::prelude::*;

use super::shape::ConvShape;

/// The rows of a folded normalization, `[4, channels]`: see [`activation`].
pub(crate) const SLOPE: usize = 0;
pub(crate) const OFFSET: usize = 1;
pub(crate) const MEAN: usize = 2;
pub(crate) const INVERSE_STD: usize = 3;
/// Number of rows of a folded normalization.
pub(crate) const FOLDED_ROWS: usize = 4;

/// The rows of the coefficients of an input gradient, `[4, channels]`: see [`normalized_gradient`].
pub(crate) const DELTA_FACTOR: usize = 0;
pub(crate) const INPUT_FACTOR: usize = 1;
pub(crate) const CENTER: usize = 2;
pub(crate) const CONSTANT: usize = 3;
/// Number of rows of coefficients.
pub(crate) const COEFFICIENT_ROWS: usize = 4;

/// Returns `slope · value + offset` of a channel, before ReLU.
#[cube]
pub(crate) fn activation(
    value: f32,
    folded: &[f32],
    channel: usize,
    #[comptime] channels: usize,
) -> f32 {
    let slope = folded[comptime!(SLOPE * channels) + channel];
    let offset = folded[comptime!(OFFSET * channels) + channel];
    fma(value, slope, offset)
}

/// Returns the value if it is positive, otherwise 0. NaN remains NaN.
#[cube]
pub(crate) fn relu(value: f32) -> f32 {
    select(value <= 0.0f32, 0.0f32, value)
}

/// Returns the gradient of a normalized value from `delta`, the gradient before the statistics are taken into account, and
/// the value itself.
#[cube]
pub(crate) fn normalized_gradient(
    delta: f32,
    value: f32,
    coefficients: &[f32],
    channel: usize,
    #[comptime] channels: usize,
) -> f32 {
    let factor = coefficients[comptime!(DELTA_FACTOR * channels) + channel];
    let input_factor = coefficients[comptime!(INPUT_FACTOR * channels) + channel];
    let center = coefficients[comptime!(CENTER * channels) + channel];
    let constant = coefficients[comptime!(CONSTANT * channels) + channel];
    fma(delta, factor, fma(value - center, input_factor, constant))
}

/// Returns the value that a convolution multiplies for output pixel `pixel` at `step` of its depth, which is
/// `place · in_channels + channel`: an input value after normalization and ReLU. It is 0 outside of the image, for steps
/// after the last, and for pixels after the last.
#[cube]
pub(crate) fn convolved_value(
    input: &[f32],
    folded: &[f32],
    pixel: usize,
    step: usize,
    pixels: usize,
    #[comptime] shape: ConvShape,
    #[comptime] normalized: bool,
) -> f32 {
    let channels = comptime!(shape.in_channels);
    let mut result = 0.0f32;
    if pixel < pixels && step < comptime!(shape.depth()) {
        let channel = step % channels;
        let mut index = pixel * channels + channel;
        let mut is_inside = true;
        if comptime!(!shape.is_pointwise()) {
            let place = step / channels;
            let column = pixel % comptime!(shape.out_width);
            let rest = pixel / comptime!(shape.out_width);
            let row = rest % comptime!(shape.out_height);
            let image = rest / comptime!(shape.out_height);
            // Coordinates in the padded image.
            let y = row * comptime!(shape.stride) + place / comptime!(shape.kernel);
            let x = column * comptime!(shape.stride) + place % comptime!(shape.kernel);
            let padding = comptime!(shape.padding);
            is_inside = y >= padding
                && y < comptime!(shape.height + shape.padding)
                && x >= padding
                && x < comptime!(shape.width + shape.padding);
            // Not used if the coordinates are outside of the image.
            let row = image * comptime!(shape.height) + y - padding;
            index = (row * comptime!(shape.width) + x - padding) * channels + channel;
        }
        if is_inside {
            let value = input[index];
            result = value;
            if comptime!(normalized) {
                result = relu(activation(value, folded, channel, channels));
            }
        }
    }
    result
}

/// Returns the gradient of the output of a convolution at `index`, where `channel` is its channel. With `normalized`, it is
/// the gradient of a normalized value, and otherwise `gradient` itself.
#[cube]
pub(crate) fn output_gradient(
    gradient: &[f32],
    values: &[f32],
    coefficients: &[f32],
    index: usize,
    channel: usize,
    #[comptime] channels: usize,
    #[comptime] normalized: bool,
) -> f32 {
    let mut result = gradient[index];
    if comptime!(normalized) {
        result = normalized_gradient(result, values[index], coefficients, channel, channels);
    }
    result
}

/// Returns the value that the input gradient of a convolution multiplies for input pixel `pixel` at `step` of its depth, which
/// is `place · out_channels + channel`: the gradient of the output value that the input pixel reaches through this place of
/// the kernel, or 0 without such an output value.
#[cube]
pub(crate) fn reached_gradient(
    gradient: &[f32],
    values: &[f32],
    coefficients: &[f32],
    pixel: usize,
    step: usize,
    pixels: usize,
    #[comptime] shape: ConvShape,
    #[comptime] normalized: bool,
) -> f32 {
    let channels = comptime!(shape.out_channels);
    let mut result = 0.0f32;
    if pixel < pixels && step < comptime!(shape.places() * shape.out_channels) {
        let channel = step % channels;
        let mut index = pixel * channels + channel;
        let mut is_inside = true;
        if comptime!(!shape.is_pointwise()) {
            let place = step / channels;
            let column = pixel % comptime!(shape.width);
            let rest = pixel / comptime!(shape.width);
            let row = rest % comptime!(shape.height);
            let image = rest / comptime!(shape.height);
            // Positions of the kernel's corner in the padded image, shifted by the kernel's size so that they are not
            // negative.
            let shift = comptime!(shape.kernel);
            let y = row + comptime!(shape.padding + shift) - place / comptime!(shape.kernel);
            let x = column + comptime!(shape.padding + shift) - place % comptime!(shape.kernel);
            let stride = comptime!(shape.stride);
            is_inside = y >= shift && x >= shift;
            // Not used if the position is outside of the image.
            let out_row = (y - shift) / stride;
            let out_column = (x - shift) / stride;
            is_inside = is_inside
                && out_row * stride == y - shift
                && out_column * stride == x - shift
                && out_row < comptime!(shape.out_height)
                && out_column < comptime!(shape.out_width);
            let row = image * comptime!(shape.out_height) + out_row;
            index = (row * comptime!(shape.out_width) + out_column) * channels + channel;
        }
        if is_inside {
            result = output_gradient(
                gradient,
                values,
                coefficients,
                index,
                channel,
                channels,
                normalized,
            );
        }
    }
    result
}
