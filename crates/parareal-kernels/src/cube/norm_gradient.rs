//! The gradients of a normalization: of scale and shift, and of its input.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elements::launch_for_states;
use super::factors::{
    CENTER, COEFFICIENT_ROWS, CONSTANT, DELTA_FACTOR, FOLDED_ROWS, INPUT_FACTOR, INVERSE_STD, MEAN,
    SLOPE, normalized_gradient,
};
use super::input_gradient::PartialSums;
use super::reduction::sum_over_units;
use super::tensors::{Arena, empty_state};
use super::tile::{ELEMENTWISE_BLOCKS, Scale};

/// The gradients of scale and shift, and the coefficients of the input gradient.
#[derive(Clone, Debug)]
pub(crate) struct NormGradient {
    /// `[channels]`.
    pub(crate) scale: CubeTensor,
    /// `[channels]`.
    pub(crate) shift: CubeTensor,
    /// The input gradient is `factor · δ + input_factor · (x - center) + constant`: `[4, channels]`.
    pub(crate) coefficients: CubeTensor,
}

/// Returns the numbers of elements of the tensors that [`norm_gradient`] creates for a normalization of `channels` channels.
pub(crate) fn norm_gradient_lengths(channels: usize) -> [usize; 3] {
    [channels, channels, COEFFICIENT_ROWS * channels]
}

/// Computes the gradients of a normalization from the sums over its pixels. `map` is the folded normalization. If
/// `is_batch` is false, its statistics were constants.
pub(crate) fn norm_gradient(
    sums: &PartialSums,
    map: &CubeTensor,
    pixels: usize,
    is_batch: bool,
    arena: &mut Arena,
) -> NormGradient {
    let channels = map.meta.shape().num_elements() / FOLDED_ROWS;
    let units = Scale::of(&map.client).reducing_units();
    let [scale, shift] = [(); 2].map(|()| arena.empty([channels]));
    let coefficients = arena.empty([COEFFICIENT_ROWS, channels]);
    norm_gradient_kernel::launch(
        &map.client,
        CubeCount::new_1d(channels as u32),
        CubeDim::new_1d(units as u32),
        sums.0.clone().into_buffer_arg(),
        map.clone().into_buffer_arg(),
        scale.clone().into_buffer_arg(),
        shift.clone().into_buffer_arg(),
        coefficients.clone().into_buffer_arg(),
        pixels,
        units,
        is_batch,
    );
    NormGradient { scale, shift, coefficients }
}

#[cube(launch)]
fn norm_gradient_kernel(
    sums: &[f32],
    map: &[f32],
    scale: &mut [f32],
    shift: &mut [f32],
    coefficients: &mut [f32],
    pixels: usize,
    #[comptime] units: usize,
    #[comptime] is_batch: bool,
) {
    let channels = scale.len();
    let parts = sums.len() / (2 * channels);
    let channel = CUBE_POS;
    let mut scratch = Shared::<[f32]>::new_slice(units);
    let mut delta = 0.0f32;
    let mut product = 0.0f32;
    let mut index = UNIT_POS as usize;
    while index < parts {
        delta += sums[channel * parts + index];
        product += sums[(channels + channel) * parts + index];
        index += units;
    }
    let delta = sum_over_units(delta, &mut scratch, units);
    let product = sum_over_units(product, &mut scratch, units);
    if UNIT_POS == 0 {
        scale[channel] = product;
        shift[channel] = delta;
        let slope = map[SLOPE * channels + channel];
        let mut input_factor = 0.0f32;
        let mut constant = 0.0f32;
        if comptime!(is_batch) {
            let per_pixel = slope / f32::cast_from(pixels);
            input_factor = -per_pixel * product * map[INVERSE_STD * channels + channel];
            constant = -per_pixel * delta;
        }
        coefficients[DELTA_FACTOR * channels + channel] = slope;
        coefficients[INPUT_FACTOR * channels + channel] = input_factor;
        coefficients[CENTER * channels + channel] = map[MEAN * channels + channel];
        coefficients[CONSTANT * channels + channel] = constant;
    }
}

/// Returns the gradient of the input of a normalization, plus `skip` if it is given.
pub(crate) fn normalized_input_gradient(
    delta: &CubeTensor,
    values: &CubeTensor,
    coefficients: &CubeTensor,
    skip: Option<&CubeTensor>,
) -> CubeTensor {
    let channels = coefficients.meta.shape().num_elements() / COEFFICIENT_ROWS;
    let len = delta.meta.shape().num_elements();
    let units = Scale::of(&delta.client).elementwise_units();
    let blocks = len.div_ceil(units).min(ELEMENTWISE_BLOCKS);
    let [batch, height, width, _] = delta.meta.shape().dims();
    let gradient = empty_state(delta, [batch, height, width, channels]);
    launch_for_states!(
        delta.dtype,
        input_kernel(
            &delta.client,
            CubeCount::new_1d(blocks as u32),
            CubeDim::new_1d(units as u32),
            delta.clone().into_buffer_arg(),
            values.clone().into_buffer_arg(),
            coefficients.clone().into_buffer_arg(),
            skip.unwrap_or(delta).clone().into_buffer_arg(),
            gradient.clone().into_buffer_arg(),
            channels,
            blocks * units,
            skip.is_some(),
        )
    );
    gradient
}

#[cube(launch)]
fn input_kernel<E: Float>(
    delta: &[E],
    values: &[E],
    coefficients: &[f32],
    skip: &[E],
    gradient: &mut [E],
    #[comptime] channels: usize,
    #[comptime] units: usize,
    #[comptime] adds_skip: bool,
) {
    let mut index = ABSOLUTE_POS;
    while index < gradient.len() {
        let channel = index % channels;
        let delta = f32::cast_from(delta[index]);
        let value = f32::cast_from(values[index]);
        let mut result = normalized_gradient(delta, value, coefficients, channel, channels);
        if comptime!(adds_skip) {
            result += f32::cast_from(skip[index]);
        }
        gradient[index] = E::cast_from(result);
        index += units;
    }
}
