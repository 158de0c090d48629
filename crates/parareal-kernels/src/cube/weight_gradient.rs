//! The gradient of a convolution's weight. Its product over all pixels is split into parts, each computed by blocks of their
//! own, and a second launch adds them in a fixed order.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elements::{convolved_value, output_gradient};
use super::forward::Convolution;
use super::input_gradient::OutputGradient;
use super::product::{add_product, first_column, first_row};
use super::shape::ConvShape;
use super::tensors::empty;
use super::tile::{MAX_BLOCKS, Scale, Tile, grid};

/// The number of blocks from which on the product is not split further.
const ENOUGH_BLOCKS: usize = 512;

/// The smallest number of pixels of a part.
const MIN_PIXELS: usize = 128;

/// Compile-time parameters of the kernel of the partial products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Variant {
    shape: ConvShape,
    tile: Tile,
    normalized: bool,
    /// True if the gradient of the output is that of a normalized value.
    along_normalized: bool,
}

/// Returns the gradient of the weight, `[out_channels, in_channels, kernel, kernel]`.
pub(crate) fn weight_gradient(
    convolution: Convolution<'_>,
    gradient: &OutputGradient,
) -> CubeTensor {
    let Convolution { shape, input, map, .. } = convolution;
    let client = &input.client;
    let scale = Scale::of(client);
    let tile = Tile::fitting(scale, shape.out_channels, shape.depth());
    let pixels = convolution.out_pixels();
    let [rows, columns] =
        [shape.out_channels.div_ceil(tile.rows), shape.depth().div_ceil(tile.columns)];
    let parts = ENOUGH_BLOCKS.div_ceil(rows * columns).clamp(1, pixels.div_ceil(MIN_PIXELS));
    let part = pixels.div_ceil(parts).next_multiple_of(tile.depth);
    let parts = pixels.div_ceil(part);
    let partial = empty(input, [parts, shape.out_channels, shape.depth()]);
    let [along, values, coefficients] = gradient.buffers().map(Clone::clone);
    let variant = Variant {
        shape,
        tile,
        normalized: map.is_some(),
        along_normalized: gradient.norm.is_some(),
    };
    partial_kernel::launch(
        client,
        grid(columns, rows, parts),
        tile.block(),
        along.into_buffer_arg(),
        values.into_buffer_arg(),
        coefficients.into_buffer_arg(),
        input.clone().into_buffer_arg(),
        convolution.map_or_any().clone().into_buffer_arg(),
        partial.clone().into_buffer_arg(),
        part,
        pixels,
        variant,
    );
    sum_parts(&partial, parts, shape)
}

#[cube(launch)]
fn partial_kernel(
    gradient: &[f32],
    values: &[f32],
    coefficients: &[f32],
    input: &[f32],
    map: &[f32],
    partial: &mut [f32],
    part: usize,
    pixels: usize,
    #[comptime] variant: Variant,
) {
    let shape = comptime!(variant.shape);
    let tile = comptime!(variant.tile);
    let channels = comptime!(shape.out_channels);
    let begin_row = CUBE_POS_Y as usize * comptime!(tile.rows);
    let begin_column = CUBE_POS_X as usize * comptime!(tile.columns);
    let unit = UNIT_POS as usize;
    let mut left = Shared::<[f32]>::new_slice(comptime!(tile.depth * tile.left_stride()));
    let mut right = Shared::<[f32]>::new_slice(comptime!(tile.depth * tile.right_stride()));
    let mut results = Array::<f32>::new(comptime!(tile.unit_results()));
    let mut begin = CUBE_POS_Z as usize * part;
    let end = min(begin + part, pixels);
    while begin < end {
        // Neighboring units read neighboring channels of a pixel.
        #[unroll(tile.unrolls_loads)]
        for load in 0..comptime!(tile.left_loads()) {
            let index = unit + load * comptime!(tile.units());
            let row = index % comptime!(tile.rows);
            let step = index / comptime!(tile.rows);
            if step < comptime!(tile.depth) {
                let channel = begin_row + row;
                let mut value = 0.0f32;
                if begin + step < end && channel < channels {
                    value = output_gradient(
                        gradient,
                        values,
                        coefficients,
                        (begin + step) * channels + channel,
                        channel,
                        channels,
                        comptime!(variant.along_normalized),
                    );
                }
                left[step * comptime!(tile.left_stride()) + row] = value;
            }
        }
        #[unroll(tile.unrolls_loads)]
        for load in 0..comptime!(tile.right_loads()) {
            let index = unit + load * comptime!(tile.units());
            let column = index % comptime!(tile.columns);
            let step = index / comptime!(tile.columns);
            if step < comptime!(tile.depth) {
                right[step * comptime!(tile.right_stride()) + column] = convolved_value(
                    input,
                    map,
                    begin + step,
                    begin_column + column,
                    end,
                    shape,
                    comptime!(variant.normalized),
                );
            }
        }
        sync_cube();
        add_product(&left, &right, &mut results, tile);
        sync_cube();
        begin += comptime!(tile.depth);
    }
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

/// Adds the parts, and orders the sums as the weight.
fn sum_parts(partial: &CubeTensor, parts: usize, shape: ConvShape) -> CubeTensor {
    let ConvShape { in_channels, out_channels, kernel, .. } = shape;
    let division = match Scale::of(&partial.client) {
        Scale::Wide => Division { across: 16, down: 16 },
        Scale::Narrow => Division { across: 1, down: 1 },
    };
    let gradient = empty(partial, [out_channels, in_channels, kernel, kernel]);
    let blocks = shape.weight_len().div_ceil(division.across);
    let rows = blocks.div_ceil(MAX_BLOCKS);
    sum_kernel::launch(
        &partial.client,
        grid(blocks.div_ceil(rows), rows, 1),
        CubeDim::new_2d(division.across as u32, division.down as u32),
        partial.clone().into_buffer_arg(),
        gradient.clone().into_buffer_arg(),
        parts,
        shape,
        division,
    );
    gradient
}

#[cube(launch)]
fn sum_kernel(
    partial: &[f32],
    gradient: &mut [f32],
    parts: usize,
    #[comptime] shape: ConvShape,
    #[comptime] division: Division,
) {
    let len = comptime!(shape.weight_len());
    let across = comptime!(division.across);
    let column = UNIT_POS_X as usize;
    let row = UNIT_POS_Y as usize;
    let index = CUBE_POS * across + column;
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(division.across * division.down));
    let mut sum = 0.0f32;
    if index < len {
        let mut part = row;
        while part < parts {
            sum += partial[part * len + index];
            part += comptime!(division.down);
        }
    }
    scratch[row * across + column] = sum;
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
        let row = channel * comptime!(shape.in_channels) + in_channel;
        gradient[row * comptime!(shape.places()) + place] = total;
    }
}
