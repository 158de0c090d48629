//! The factors of products. Their values are computed from tensors in memory, where a product loads them. States and their
//! gradients consist of elements `E`; all other tensors, and all computations, are 32-bit floats.

use cubecl::prelude::*;

use super::product::{Factor, FactorExpand};
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

/// The pixels that a convolution multiplies. For output pixel `pixel`, step `place · in_channels + channel` has an input value
/// after normalization and ReLU. It is 0 outside of the image, for steps after the last, and for pixels after the last.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Convolved<E: Float> {
    /// `[pixels of the input, in_channels]`.
    input: Box<[E]>,
    /// The folded normalization.
    map: Box<[f32]>,
    /// Number of pixels in the output.
    pixels: usize,
    #[cube(comptime)]
    shape: ConvShape,
    /// True if the input is normalized.
    #[cube(comptime)]
    normalized: bool,
}

#[cube]
impl<E: Float> Factor for Convolved<E> {
    fn value(&self, pixel: usize, step: usize) -> f32 {
        let shape = comptime!(self.shape);
        let channels = comptime!(shape.in_channels);
        let mut result = 0.0f32;
        if pixel < self.pixels && step < comptime!(shape.depth()) {
            let channel = step % channels;
            let mut index = pixel * channels + channel;
            let mut is_inside = true;
            if comptime!(!shape.is_pointwise()) {
                let place = step / channels;
                let position = position(pixel, shape.out_height, shape.out_width);
                // Coordinates in the padded image.
                let y = position.row * comptime!(shape.stride) + place / comptime!(shape.kernel);
                let x = position.column * comptime!(shape.stride) + place % comptime!(shape.kernel);
                let padding = comptime!(shape.padding);
                is_inside = y >= padding
                    && y < comptime!(shape.height + shape.padding)
                    && x >= padding
                    && x < comptime!(shape.width + shape.padding);
                // Not used if the coordinates are outside of the image.
                let row = position.image * comptime!(shape.height) + y - padding;
                index = (row * comptime!(shape.width) + x - padding) * channels + channel;
            }
            if is_inside {
                let value = f32::cast_from(self.input[index]);
                result = value;
                if comptime!(self.normalized) {
                    result = relu(activation(value, &self.map, channel, channels));
                }
            }
        }
        result
    }
}

/// The weight of a convolution: for output channel `channel`, the values in the order of [`Convolved`].
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Weight {
    weight: Box<[f32]>,
    #[cube(comptime)]
    shape: ConvShape,
}

#[cube]
impl Factor for Weight {
    fn value(&self, channel: usize, step: usize) -> f32 {
        let shape = comptime!(self.shape);
        let mut result = 0.0f32;
        if step < comptime!(shape.depth()) && channel < comptime!(shape.out_channels) {
            let in_channel = step % comptime!(shape.in_channels);
            let place = step / comptime!(shape.in_channels);
            result = self.weight[weight_index(channel, in_channel, place, shape)];
        }
        result
    }
}

/// The gradient of the output of a convolution. With `normalized`, it is that of a normalized value.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Along<E: Float> {
    /// `[pixels of the output, out_channels]`.
    gradient: Box<[E]>,
    /// The output itself.
    values: Box<[E]>,
    /// See [`normalized_gradient`].
    coefficients: Box<[f32]>,
    /// Number of pixels in the output.
    pixels: usize,
    #[cube(comptime)]
    channels: usize,
    #[cube(comptime)]
    normalized: bool,
}

#[cube]
impl<E: Float> Along<E> {
    fn at(&self, index: usize, channel: usize) -> f32 {
        let channels = comptime!(self.channels);
        let mut result = f32::cast_from(self.gradient[index]);
        if comptime!(self.normalized) {
            let value = f32::cast_from(self.values[index]);
            result = normalized_gradient(result, value, &self.coefficients, channel, channels);
        }
        result
    }
}

/// The gradient of the output, in lines of a channel each.
#[cube]
impl<E: Float> Factor for Along<E> {
    fn value(&self, channel: usize, pixel: usize) -> f32 {
        let channels = comptime!(self.channels);
        let mut result = 0.0f32;
        if pixel < self.pixels && channel < channels {
            result = self.at(pixel * channels + channel, channel);
        }
        result
    }
}

/// The pixels that an input gradient multiplies. For input pixel `pixel`, step `place · out_channels + channel` has the gradient
/// of the output value that the input pixel reaches through this place of the kernel, or 0 without such an output value.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Reached<E: Float> {
    along: Along<E>,
    /// Number of pixels in the input.
    pixels: usize,
    #[cube(comptime)]
    shape: ConvShape,
}

#[cube]
impl<E: Float> Factor for Reached<E> {
    fn value(&self, pixel: usize, step: usize) -> f32 {
        let shape = comptime!(self.shape);
        let channels = comptime!(shape.out_channels);
        let mut result = 0.0f32;
        if pixel < self.pixels && step < comptime!(shape.places() * shape.out_channels) {
            let channel = step % channels;
            let mut index = pixel * channels + channel;
            let mut is_inside = true;
            if comptime!(!shape.is_pointwise()) {
                let place = step / channels;
                let position = position(pixel, shape.height, shape.width);
                // Positions of the kernel's corner in the padded image, shifted by the kernel's size so that they are not
                // negative.
                let shift = comptime!(shape.kernel);
                let edge = comptime!(shape.padding + shape.kernel);
                let y = position.row + edge - place / comptime!(shape.kernel);
                let x = position.column + edge - place % comptime!(shape.kernel);
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
                let row = position.image * comptime!(shape.out_height) + out_row;
                index = (row * comptime!(shape.out_width) + out_column) * channels + channel;
            }
            if is_inside {
                result = self.along.at(index, channel);
            }
        }
        result
    }
}

/// The weight of a convolution: for input channel `channel`, the values in the order of [`Reached`].
#[derive(CubeType, CubeLaunch)]
pub(crate) struct TransposedWeight {
    weight: Box<[f32]>,
    #[cube(comptime)]
    shape: ConvShape,
}

#[cube]
impl Factor for TransposedWeight {
    fn value(&self, channel: usize, step: usize) -> f32 {
        let shape = comptime!(self.shape);
        let mut result = 0.0f32;
        if step < comptime!(shape.places() * shape.out_channels)
            && channel < comptime!(shape.in_channels)
        {
            let out_channel = step % comptime!(shape.out_channels);
            let place = step / comptime!(shape.out_channels);
            result = self.weight[weight_index(out_channel, channel, place, shape)];
        }
        result
    }
}

/// The pixels of a convolution as the second factor of a weight gradient: lines are steps of its depth, and steps are pixels.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct ConvolvedByStep<E: Float> {
    convolved: Convolved<E>,
}

#[cube]
impl<E: Float> Factor for ConvolvedByStep<E> {
    fn value(&self, step: usize, pixel: usize) -> f32 {
        self.convolved.value(pixel, step)
    }
}

/// Returns the index in the weight, `[out_channels, in_channels, kernel, kernel]`.
#[cube]
pub(crate) fn weight_index(
    out_channel: usize,
    in_channel: usize,
    place: usize,
    #[comptime] shape: ConvShape,
) -> usize {
    let row = out_channel * comptime!(shape.in_channels) + in_channel;
    row * comptime!(shape.places()) + place
}

/// A pixel of a batch of images.
#[derive(CubeType)]
struct Position {
    image: usize,
    row: usize,
    column: usize,
}

/// Returns the position of a pixel in images of this size.
#[cube]
fn position(pixel: usize, #[comptime] height: usize, #[comptime] width: usize) -> Position {
    let rest = pixel / width;
    Position { image: rest / height, row: rest % height, column: pixel % width }
}
