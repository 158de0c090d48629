//! The gradients of the weights of convolutions. The product over all pixels is split into parts, each computed by blocks of
//! their own. A second launch adds the parts in a fixed order, for several weights at once.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elements::launch_product;
use super::factors::{Along, ConvolvedByStep, ConvolvedByStepLaunch, weight_index};
use super::forward::Convolution;
use super::input_gradient::OutputGradient;
use super::product::{Order, first_column, first_row, product};
use super::shape::ConvShape;
use super::tensors::{Arena, empty};
use super::tile::{MAX_BLOCKS, Scale, Tile, grid};

/// The number of blocks from which on the product is not split further.
const ENOUGH_BLOCKS: usize = 512;

/// The smallest number of pixels of a part.
const MIN_PIXELS: usize = 128;

/// The gradient of a weight in parts, one for each part of the pixels.
#[derive(Debug)]
pub(crate) struct PartialGradient {
    /// `[parts, out_channels, depth]`.
    values: CubeTensor,
    parts: usize,
    shape: ConvShape,
}

/// Returns the tile of the product.
pub(crate) fn weight_gradient_tile(convolution: Convolution<'_>) -> Tile {
    let Convolution { shape, input, factors, .. } = convolution;
    let tile = Tile::fitting(Scale::of(&input.client), shape.out_channels, shape.depth());
    tile.with_matrices(&input.client, factors)
}

/// Computes the parts of the gradient of the weight.
pub(crate) fn partial_gradient(
    convolution: Convolution<'_>,
    gradient: &OutputGradient,
) -> PartialGradient {
    let Convolution { shape, input, .. } = convolution;
    let client = &input.client;
    let tile = weight_gradient_tile(convolution);
    let pixels = convolution.out_pixels();
    let [rows, columns] =
        [shape.out_channels.div_ceil(tile.rows), shape.depth().div_ceil(tile.columns)];
    let parts = ENOUGH_BLOCKS.div_ceil(rows * columns).clamp(1, pixels.div_ceil(MIN_PIXELS));
    let part = pixels.div_ceil(parts).next_multiple_of(tile.depth);
    let parts = pixels.div_ceil(part);
    let values = empty(input, [parts, shape.out_channels, shape.depth()]);
    launch_product!(
        input.dtype,
        tile,
        partial_kernel(
            client,
            grid(columns, rows, parts),
            tile.block(),
            gradient.along(convolution),
            ConvolvedByStepLaunch::new(convolution.convolved()),
            values.clone().into_buffer_arg(),
            part,
            pixels,
            shape,
            tile,
        )
    );
    PartialGradient { values, parts, shape }
}

#[cube(launch)]
fn partial_kernel<E: Float, F: Float>(
    along: &Along<E>,
    convolved: &ConvolvedByStep<E>,
    partial: &mut [f32],
    part: usize,
    pixels: usize,
    #[comptime] shape: ConvShape,
    #[comptime] tile: Tile,
) {
    let channels = comptime!(shape.out_channels);
    let begin_row = CUBE_POS_Y as usize * comptime!(tile.rows);
    let begin_column = CUBE_POS_X as usize * comptime!(tile.columns);
    // Parts consist of whole steps of the tile, except for the last.
    let begin = CUBE_POS_Z as usize * part;
    let results = product::<Along<E>, ConvolvedByStep<E>, F>(
        along,
        convolved,
        begin_row,
        begin_column,
        begin,
        min(begin + part, pixels),
        comptime!([Order::Lines, Order::Lines]),
        tile,
    );
    let depth = comptime!(shape.depth());
    let row = begin_row + first_row(tile);
    let column = begin_column + first_column(tile);
    #[unroll]
    for i in 0..comptime!(tile.unit_rows) {
        let channel = row + comptime!(i * tile.units_down());
        #[unroll]
        for j in 0..comptime!(tile.unit_columns) {
            let step = column + comptime!(j * tile.units_across());
            if channel < channels && step < depth {
                let index = (CUBE_POS_Z as usize * channels + channel) * depth + step;
                partial[index] = results[comptime!(i * tile.unit_columns + j)];
            }
        }
    }
}

/// The division of the weight among blocks: `across` values, and `down` units that share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Division {
    across: usize,
    down: usize,
}

/// Adds the parts of several gradients in one launch, and returns the gradients in the order of the weights, `[out_channels,
/// in_channels, kernel, kernel]`.
pub(crate) fn sum_parts(partials: &[PartialGradient]) -> Vec<CubeTensor> {
    let Some(PartialGradient { values: first, .. }) = partials.first() else { return Vec::new() };
    let division = match Scale::of(&first.client) {
        Scale::Wide => Division { across: 16, down: 16 },
        Scale::Narrow => Division { across: 1, down: 1 },
    };
    let lengths = partials.iter().map(|partial| partial.shape.weight_len());
    let largest = lengths.clone().max().unwrap_or(0);
    let mut arena = Arena::new(first, lengths);
    let blocks = largest.div_ceil(division.across);
    let rows = blocks.div_ceil(MAX_BLOCKS);
    let gradients: Vec<CubeTensor> = partials
        .iter()
        .map(|PartialGradient { shape, .. }| {
            let ConvShape { in_channels, out_channels, kernel, .. } = *shape;
            arena.empty([out_channels, in_channels, kernel, kernel])
        })
        .collect();
    let mut sums = SequenceArg::new();
    for (PartialGradient { values, parts, shape }, gradient) in partials.iter().zip(&gradients) {
        let [values, gradient] = [values, gradient].map(|tensor| tensor.clone().into_buffer_arg());
        sums.push(WeightSumLaunch::new(values, gradient, *parts, *shape));
    }
    sum_kernel::launch(
        &first.client,
        grid(blocks.div_ceil(rows), rows, partials.len()),
        CubeDim::new_2d(division.across as u32, division.down as u32),
        sums,
        partials.len(),
        division,
    );
    gradients
}

/// The gradient of a weight, and the parts that it is the sum of.
#[derive(CubeType, CubeLaunch)]
struct WeightSum {
    partial: Box<[f32]>,
    gradient: Box<[f32]>,
    parts: usize,
    #[cube(comptime)]
    shape: ConvShape,
}

#[cube(launch)]
fn sum_kernel(
    sums: &mut Sequence<WeightSum>,
    #[comptime] count: usize,
    #[comptime] division: Division,
) {
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(division.across * division.down));
    #[unroll]
    for number in 0..count {
        if CUBE_POS_Z as usize == number {
            sum_weight(sums.index_mut(number), &mut scratch, division);
        }
    }
}

/// Computes this block's part of a gradient.
#[cube]
fn sum_weight(sum: &mut WeightSum, scratch: &mut Shared<[f32]>, #[comptime] division: Division) {
    let shape = comptime!(sum.shape);
    let len = comptime!(shape.weight_len());
    let across = comptime!(division.across);
    let column = UNIT_POS_X as usize;
    let row = UNIT_POS_Y as usize;
    let block = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    let index = block * across + column;
    let mut own = 0.0f32;
    if index < len {
        let mut part = row;
        while part < sum.parts {
            own += sum.partial[part * len + index];
            part += comptime!(division.down);
        }
    }
    scratch[row * across + column] = own;
    sync_cube();
    if index < len && UNIT_POS_Y == 0 {
        let mut total = 0.0f32;
        #[unroll]
        for row in 0..comptime!(division.down) {
            total += scratch[comptime!(row * division.across) + column];
        }
        let channel = index / comptime!(shape.depth());
        let step = index % comptime!(shape.depth());
        let place = step / comptime!(shape.in_channels);
        let in_channel = step % comptime!(shape.in_channels);
        sum.gradient[weight_index(channel, in_channel, place, shape)] = total;
    }
}
