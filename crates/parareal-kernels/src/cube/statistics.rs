//! Mean and variance of each channel, in two stages: blocks measure parts of the pixels, and a second launch combines them.
//!
//! Moments of a part are its mean and the sum of squared deviations from that mean, so nothing is lost if the mean is large
//! compared to the deviations. They are stored as `[2, channels, parts]`: the parts of a channel are next to each other,
//! because the second launch reads them in this order. All parts have the same number of pixels except for the last, which may
//! have fewer.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elements::launch_for_states;
use super::factors::{FOLDED_ROWS, INVERSE_STD, MEAN, OFFSET, SLOPE};
use super::reduction::sum_over_units;
use super::tensors::{Arena, empty};
use super::tile::{MAX_BLOCKS, Scale, grid};
use crate::normalization::unbiased_factor;

/// Moments of the channels of a tensor, in parts.
#[derive(Clone, Debug)]
pub(crate) struct PartialMoments {
    /// `[2, channels, parts]`.
    pub(crate) values: CubeTensor,
    /// Number of channels.
    pub(crate) channels: usize,
    /// Number of pixels in each part but the last.
    pub(crate) part: usize,
    /// Number of pixels in all parts.
    pub(crate) pixels: usize,
}

impl PartialMoments {
    /// Creates moments without values.
    pub(crate) fn empty(like: &CubeTensor, channels: usize, part: usize, pixels: usize) -> Self {
        let values = empty(like, [2, channels, pixels.div_ceil(part)]);
        Self { values, channels, part, pixels }
    }
}

/// Statistics of a batch, and the normalization that is folded from them.
#[derive(Clone, Debug)]
pub(crate) struct Folded {
    /// Mean of each channel, `[channels]`.
    pub(crate) mean: CubeTensor,
    /// Biased variance of each channel, `[channels]`.
    pub(crate) variance: CubeTensor,
    /// Slope and offset of the normalization as an affine map, mean and inverse standard deviation: `[4, channels]`.
    pub(crate) map: CubeTensor,
}

/// Scale, shift and epsilon of a normalization.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine<'a> {
    /// `[channels]`.
    pub(crate) scale: &'a CubeTensor,
    /// `[channels]`.
    pub(crate) shift: &'a CubeTensor,
    pub(crate) epsilon: f32,
}

/// The division of pixels and channels among blocks and units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Division {
    channels: usize,
    /// Pixels of a block.
    part: usize,
    /// Channels of a block, each with units of its own.
    across: usize,
    /// Units that share a channel, a power of two.
    down: usize,
}

/// Measures the moments of a tensor `[…, channels]`.
pub(crate) fn measure(input: &CubeTensor, channels: usize) -> PartialMoments {
    let pixels = input.meta.shape().num_elements() / channels;
    let (part, across, down) = match Scale::of(&input.client) {
        Scale::Wide => (128, channels.next_power_of_two().clamp(8, 32), 8),
        Scale::Narrow => (16, 1, 1),
    };
    let part = part.max(pixels.div_ceil(MAX_BLOCKS));
    let moments = PartialMoments::empty(input, channels, part, pixels);
    let division = Division { channels, part, across, down };
    launch_for_states!(
        input.dtype,
        measure_kernel(
            &input.client,
            grid(pixels.div_ceil(part), channels.div_ceil(across), 1),
            CubeDim::new_2d(across as u32, down as u32),
            input.clone().into_buffer_arg(),
            moments.values.clone().into_buffer_arg(),
            division,
        )
    );
    moments
}

#[cube(launch)]
fn measure_kernel<E: Float>(input: &[E], moments: &mut [f32], #[comptime] division: Division) {
    let channels = comptime!(division.channels);
    let part = comptime!(division.part);
    let pixels = input.len() / channels;
    let parts = moments.len() / comptime!(2 * division.channels);
    let channel = CUBE_POS_Y as usize * comptime!(division.across) + UNIT_POS_X as usize;
    let begin = CUBE_POS_X as usize * part;
    let end = min(begin + part, pixels);
    let count = f32::cast_from(end - begin);
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(division.across * division.down));
    let mut sum = 0.0f32;
    if channel < channels {
        let mut pixel = begin + UNIT_POS_Y as usize;
        while pixel < end {
            sum += f32::cast_from(input[pixel * channels + channel]);
            pixel += comptime!(division.down);
        }
    }
    let mean = sum_down(sum, &mut scratch, division) / count;
    let mut squares = 0.0f32;
    if channel < channels {
        let mut pixel = begin + UNIT_POS_Y as usize;
        while pixel < end {
            let deviation = f32::cast_from(input[pixel * channels + channel]) - mean;
            squares = fma(deviation, deviation, squares);
            pixel += comptime!(division.down);
        }
    }
    let squares = sum_down(squares, &mut scratch, division);
    if channel < channels && UNIT_POS_Y == 0 {
        let index = channel * parts + CUBE_POS_X as usize;
        moments[index] = mean;
        moments[channels * parts + index] = squares;
    }
}

/// Returns the sum over the units that share a channel.
#[cube]
fn sum_down(value: f32, scratch: &mut Shared<[f32]>, #[comptime] division: Division) -> f32 {
    let column = UNIT_POS_X as usize;
    let row = UNIT_POS_Y as usize;
    let across = comptime!(division.across);
    scratch[row * across + column] = value;
    sync_cube();
    let mut sum = 0.0f32;
    #[unroll]
    for row in 0..comptime!(division.down) {
        sum += scratch[comptime!(row * division.across) + column];
    }
    // The next sum must not overwrite these values before all units have read them.
    sync_cube();
    sum
}

/// Running statistics.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// `[channels]`.
    pub(crate) mean: CubeTensor,
    /// `[channels]`.
    pub(crate) variance: CubeTensor,
    /// The weight of a new batch.
    pub(crate) momentum: f64,
}

/// Returns the numbers of elements of the tensors that [`combine`] creates for a normalization of `channels` channels.
pub(crate) fn combined_lengths(channels: usize) -> [usize; 5] {
    [channels, channels, FOLDED_ROWS * channels, channels, channels]
}

/// Combines moments to the statistics of all pixels, and folds the normalization with them. Also returns the running
/// statistics after this batch, if some are given.
pub(crate) fn combine(
    moments: &PartialMoments,
    affine: Affine<'_>,
    running: Option<&Running>,
    arena: &mut Arena,
) -> (Folded, Option<Running>) {
    let PartialMoments { values, channels, part, pixels } = moments;
    let (channels, units) = (*channels, Scale::of(&values.client).reducing_units());
    let [mean, variance] = [(); 2].map(|()| arena.empty([channels]));
    let map = arena.empty([FOLDED_ROWS, channels]);
    let updated = running.map(|Running { momentum, .. }| Running {
        mean: arena.empty([channels]),
        variance: arena.empty([channels]),
        momentum: *momentum,
    });
    let mut running_arg = SequenceArg::new();
    if let (Some(old), Some(new)) = (running, &updated) {
        let [old_mean, old_variance, mean, variance] =
            [&old.mean, &old.variance, &new.mean, &new.variance]
                .map(|tensor| tensor.clone().into_buffer_arg());
        let batch = old.momentum as f32;
        let unbiased = (old.momentum * unbiased_factor(*pixels)) as f32;
        let kept = (1.0 - old.momentum) as f32;
        running_arg.push(RunningUpdateLaunch::new(
            old_mean,
            old_variance,
            mean,
            variance,
            kept,
            batch,
            unbiased,
        ));
    }
    let is_updated = updated.is_some();
    combine_kernel::launch(
        &values.client,
        CubeCount::new_1d(channels as u32),
        CubeDim::new_1d(units as u32),
        values.clone().into_buffer_arg(),
        affine.scale.clone().into_buffer_arg(),
        affine.shift.clone().into_buffer_arg(),
        mean.clone().into_buffer_arg(),
        variance.clone().into_buffer_arg(),
        map.clone().into_buffer_arg(),
        running_arg,
        affine.epsilon,
        *part,
        *pixels,
        units,
        is_updated,
    );
    (Folded { mean, variance, map }, updated)
}

/// Running statistics before and after a batch, and the factors of the update: of the old statistics, of the mean of the
/// batch, and of its biased variance.
#[derive(CubeType, CubeLaunch)]
struct RunningUpdate {
    old_mean: Box<[f32]>,
    old_variance: Box<[f32]>,
    mean: Box<[f32]>,
    variance: Box<[f32]>,
    kept: f32,
    batch: f32,
    unbiased: f32,
}

/// `running` has one element if `is_updated` is true, and otherwise none.
#[cube(launch)]
fn combine_kernel(
    moments: &[f32],
    scale: &[f32],
    shift: &[f32],
    mean_of: &mut [f32],
    variance_of: &mut [f32],
    map: &mut [f32],
    running: &mut Sequence<RunningUpdate>,
    epsilon: f32,
    part: usize,
    pixels: usize,
    #[comptime] units: usize,
    #[comptime] is_updated: bool,
) {
    let channels = scale.len();
    let parts = moments.len() / (2 * channels);
    let channel = CUBE_POS;
    let first = channel * parts;
    let first_square = (channels + channel) * parts;
    let total = f32::cast_from(pixels);
    let mut scratch = Shared::<[f32]>::new_slice(units);
    let mut sum = 0.0f32;
    let mut index = UNIT_POS as usize;
    while index < parts {
        let count = f32::cast_from(min(part, pixels - index * part));
        sum = fma(count, moments[first + index], sum);
        index += units;
    }
    let mean = sum_over_units(sum, &mut scratch, units) / total;
    let mut squares = 0.0f32;
    let mut index = UNIT_POS as usize;
    while index < parts {
        let count = f32::cast_from(min(part, pixels - index * part));
        let distance = moments[first + index] - mean;
        squares += fma(count * distance, distance, moments[first_square + index]);
        index += units;
    }
    let variance = sum_over_units(squares, &mut scratch, units) / total;
    if UNIT_POS == 0 {
        mean_of[channel] = mean;
        variance_of[channel] = variance;
        fold(scale[channel], shift[channel], mean, variance, epsilon, channel, map);
        if comptime!(is_updated) {
            let update = running.index_mut(0);
            let old = update.kept * update.old_mean[channel];
            update.mean[channel] = fma(update.batch, mean, old);
            let old = update.kept * update.old_variance[channel];
            update.variance[channel] = fma(update.unbiased, variance, old);
        }
    }
}

/// Folds the normalization with given statistics.
pub(crate) fn fold_given(mean: CubeTensor, variance: CubeTensor, affine: Affine<'_>) -> Folded {
    let channels = mean.meta.shape().num_elements();
    let map = empty(&mean, [FOLDED_ROWS, channels]);
    let units = Scale::of(&mean.client).elementwise_units();
    fold_kernel::launch(
        &mean.client,
        CubeCount::new_1d(channels.div_ceil(units) as u32),
        CubeDim::new_1d(units as u32),
        affine.scale.clone().into_buffer_arg(),
        affine.shift.clone().into_buffer_arg(),
        mean.clone().into_buffer_arg(),
        variance.clone().into_buffer_arg(),
        map.clone().into_buffer_arg(),
        affine.epsilon,
    );
    Folded { mean, variance, map }
}

#[cube(launch)]
fn fold_kernel(
    scale: &[f32],
    shift: &[f32],
    mean: &[f32],
    variance: &[f32],
    map: &mut [f32],
    epsilon: f32,
) {
    let channel = ABSOLUTE_POS;
    if channel < scale.len() {
        let (scale, shift) = (scale[channel], shift[channel]);
        fold(scale, shift, mean[channel], variance[channel], epsilon, channel, map);
    }
}

/// Writes a channel of the folded map.
#[cube]
fn fold(
    scale: f32,
    shift: f32,
    mean: f32,
    variance: f32,
    epsilon: f32,
    channel: usize,
    map: &mut [f32],
) {
    let channels = map.len() / FOLDED_ROWS;
    let inverse_std = 1.0f32 / f32::sqrt(variance + epsilon);
    let slope = scale * inverse_std;
    map[SLOPE * channels + channel] = slope;
    map[OFFSET * channels + channel] = fma(-mean, slope, shift);
    map[MEAN * channels + channel] = mean;
    map[INVERSE_STD * channels + channel] = inverse_std;
}
