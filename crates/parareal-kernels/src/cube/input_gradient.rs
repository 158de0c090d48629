//! The gradient of a convolution's input: of the input itself, or `δ`, its gradient before the normalization, with the sums
//! over pixels that the gradient of the normalization needs.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elements::launch_product;
use super::factors::{
    AlongLaunch, INVERSE_STD, MEAN, Reached, ReachedLaunch, TransposedWeight,
    TransposedWeightLaunch, activation,
};
use super::forward::{Convolution, sum_of_column};
use super::product::{Order, first_column, first_row, product};
use super::shape::ConvShape;
use super::tensors::Arena;
use super::tile::{Tile, grid};

/// The gradient of the output of a convolution.
#[derive(Clone, Debug)]
pub(crate) struct OutputGradient {
    /// The gradient itself. If the next layer normalizes the output, `δ`: the gradient before the statistics are taken into
    /// account.
    pub(crate) gradient: CubeTensor,
    /// The normalization of the output by the next layer.
    pub(crate) norm: Option<OutputNorm>,
}

/// Operands, beside `δ`, of the gradient of a normalized output. That gradient is computed where it is needed, and never
/// stored.
#[derive(Clone, Debug)]
pub(crate) struct OutputNorm {
    /// The output of the convolution.
    pub(crate) values: CubeTensor,
    /// `[4, channels]`.
    pub(crate) coefficients: CubeTensor,
}

impl OutputGradient {
    /// The gradient of the output of this convolution as a factor. Buffers that are not read are replaced by others of the
    /// same type.
    pub(crate) fn along<E: Float>(&self, convolution: Convolution<'_>) -> AlongLaunch<E> {
        let buffers = match &self.norm {
            Some(OutputNorm { values, coefficients }) => [&self.gradient, values, coefficients],
            None => [&self.gradient, &self.gradient, convolution.weight],
        };
        let [gradient, values, coefficients] =
            buffers.map(|tensor| tensor.clone().into_buffer_arg());
        let (pixels, channels) = (convolution.out_pixels(), convolution.shape.out_channels);
        AlongLaunch::new(gradient, values, coefficients, pixels, channels, self.norm.is_some())
    }
}

/// Sums over pixels of `δ` and of `δ · (x - mean) / deviation`, in parts: `[2, channels, parts]`.
#[derive(Clone, Debug)]
pub(crate) struct PartialSums(pub(crate) CubeTensor);

/// Compile-time parameters of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Variant {
    shape: ConvShape,
    tile: Tile,
    /// True if the input of the convolution was normalized.
    normalized: bool,
    /// True if another gradient of the normalized input is added.
    adds: bool,
}

/// Returns the tile of the product.
pub(crate) fn input_gradient_tile(convolution: Convolution<'_>) -> Tile {
    let shape = convolution.shape;
    convolution.tall_tile(shape.in_channels, shape.kernel > 1 && shape.stride > 1)
}

/// Returns the gradient of the input, `[batch, height, width, in_channels]`. If the input is normalized, it is `δ`, and there
/// are partial sums as well. `other`, another gradient of the input after normalization and ReLU, is added.
pub(crate) fn input_gradient(
    convolution: Convolution<'_>,
    gradient: &OutputGradient,
    other: Option<&CubeTensor>,
) -> (CubeTensor, Option<PartialSums>) {
    let Convolution { shape, batch, input, map, weight, .. } = convolution;
    let client = &input.client;
    let tile = input_gradient_tile(convolution);
    let pixels = convolution.in_pixels();
    let parts = pixels.div_ceil(tile.rows);
    // Without a normalization, the kernel does not write sums.
    let sums = if map.is_some() { [2, shape.in_channels, parts] } else { [1; 3] };
    let delta = [batch, shape.height, shape.width, shape.in_channels];
    let len = |shape: &[usize]| shape.iter().product();
    let lengths = [(input.dtype, len(&delta)), (DType::F32, len(&sums))];
    let mut arena = Arena::with_types(input, lengths);
    let (delta, sums) = (arena.empty_of(input.dtype, delta), arena.empty(sums));
    let variant = Variant { shape, tile, normalized: map.is_some(), adds: other.is_some() };
    launch_product!(
        input.dtype,
        tile,
        input_gradient_kernel(
            client,
            grid(parts, shape.in_channels.div_ceil(tile.columns), 1),
            tile.block(),
            ReachedLaunch::new(gradient.along(convolution), pixels, shape),
            TransposedWeightLaunch::new(weight.clone().into_buffer_arg(), shape),
            input.clone().into_buffer_arg(),
            convolution.map_or_any().clone().into_buffer_arg(),
            other.unwrap_or(input).clone().into_buffer_arg(),
            delta.clone().into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            variant,
        )
    );
    (delta, map.map(|_| PartialSums(sums)))
}

#[cube(launch)]
fn input_gradient_kernel<E: Float, F: Float>(
    reached: &Reached<E>,
    weight: &TransposedWeight,
    input: &[E],
    map: &[f32],
    other: &[E],
    delta: &mut [E],
    sums: &mut [f32],
    #[comptime] variant: Variant,
) {
    let shape = comptime!(variant.shape);
    let tile = comptime!(variant.tile);
    let channels = comptime!(shape.in_channels);
    let pixels = delta.len() / channels;
    let begin_row = CUBE_POS_X as usize * comptime!(tile.rows);
    let begin_column = CUBE_POS_Y as usize * comptime!(tile.columns);
    let mut results = product::<Reached<E>, TransposedWeight, F>(
        reached,
        weight,
        begin_row,
        begin_column,
        0,
        comptime!(shape.places() * shape.out_channels),
        comptime!([Order::Steps, Order::Lines]),
        tile,
    );
    let row = begin_row + first_row(tile);
    let column = begin_column + first_column(tile);
    #[unroll]
    for j in 0..comptime!(tile.unit_columns) {
        let channel = column + comptime!(j * tile.units_across());
        #[unroll]
        for i in 0..comptime!(tile.unit_rows) {
            let pixel = row + comptime!(i * tile.units_down());
            if pixel < pixels && channel < channels {
                let place = comptime!(i * tile.unit_columns + j);
                let index = pixel * channels + channel;
                if comptime!(variant.adds) {
                    results[place] += f32::cast_from(other[index]);
                }
                if comptime!(variant.normalized) {
                    // The same expression as in the forward pass, so that ReLU decides alike.
                    let value = f32::cast_from(input[index]);
                    if activation(value, map, channel, channels) <= 0.0f32 {
                        results[place] = 0.0f32;
                    }
                }
                let value = E::cast_from(results[place]);
                delta[index] = value;
                // Sums are those of `δ` as it is stored.
                results[place] = f32::cast_from(value);
            }
        }
    }
    if comptime!(variant.normalized) {
        write_sums(&results, input, map, sums, pixels, channels, tile);
    }
}

/// Writes the sums over each column of a tile of `δ`. `pixels` and `channels` are the numbers of rows and columns of the
/// whole product.
#[cube]
fn write_sums<E: Float>(
    results: &Array<f32>,
    input: &[E],
    map: &[f32],
    sums: &mut [f32],
    pixels: usize,
    #[comptime] channels: usize,
    #[comptime] tile: Tile,
) {
    let row = first_row(tile);
    let column = first_column(tile);
    let first_pixel = CUBE_POS_X as usize * comptime!(tile.rows) + row;
    let first_channel = CUBE_POS_Y as usize * comptime!(tile.columns) + column;
    let place = row * comptime!(tile.columns) + column;
    let len = comptime!(tile.units_down() * tile.columns);
    let mut scratch = Shared::<[f32]>::new_slice(len);
    let mut products = Array::<f32>::new(comptime!(tile.unit_columns));
    #[unroll]
    for j in 0..comptime!(tile.unit_columns) {
        let channel = first_channel + comptime!(j * tile.units_across());
        let mut sum = 0.0f32;
        let mut product = 0.0f32;
        if channel < channels {
            let mean = map[comptime!(MEAN * channels) + channel];
            #[unroll]
            for i in 0..comptime!(tile.unit_rows) {
                let pixel = first_pixel + comptime!(i * tile.units_down());
                if pixel < pixels {
                    let value = results[comptime!(i * tile.unit_columns + j)];
                    sum += value;
                    let from = f32::cast_from(input[pixel * channels + channel]);
                    product = fma(value, from - mean, product);
                }
            }
            product *= map[comptime!(INVERSE_STD * channels) + channel];
        }
        scratch[place + comptime!(j * tile.units_across())] = sum;
        products[j] = product;
    }
    sync_cube();
    let parts = sums.len() / comptime!(2 * channels);
    write_column_sums(&scratch, sums, 0, parts, channels, tile);
    sync_cube();
    #[unroll]
    for j in 0..comptime!(tile.unit_columns) {
        scratch[place + comptime!(j * tile.units_across())] = products[j];
    }
    sync_cube();
    write_column_sums(&scratch, sums, channels * parts, parts, channels, tile);
}

/// Writes the sum of each column of `scratch` as the part of this block, to sums that start at `first`.
#[cube]
fn write_column_sums(
    scratch: &Shared<[f32]>,
    sums: &mut [f32],
    first: usize,
    parts: usize,
    #[comptime] channels: usize,
    #[comptime] tile: Tile,
) {
    let begin_column = CUBE_POS_Y as usize * comptime!(tile.columns);
    let mut own = UNIT_POS as usize;
    while own < comptime!(tile.columns) {
        let channel = begin_column + own;
        if channel < channels {
            let index = first + channel * parts + CUBE_POS_X as usize;
            sums[index] = sum_of_column(scratch, own, tile);
        }
        own += comptime!(tile.units());
    }
}
