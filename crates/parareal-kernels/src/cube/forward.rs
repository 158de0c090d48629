//! The forward pass: `output = residual + convolution(relu(normalize(input)))`, and moments of the output.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elements::launch_product;
use super::factors::{Convolved, ConvolvedLaunch, Weight, WeightLaunch};
use super::matrices::FactorType;
use super::product::{Order, first_column, first_row, product};
use super::shape::ConvShape;
use super::statistics::PartialMoments;
use super::tensors::{empty, empty_state};
use super::tile::{Scale, Tile, grid};

/// The operands of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution<'a> {
    pub(crate) shape: ConvShape,
    /// Number of images.
    pub(crate) batch: usize,
    /// `[batch, height, width, in_channels]`.
    pub(crate) input: &'a CubeTensor,
    /// The folded normalization, `[4, in_channels]`. With `None`, the input is convolved as it is.
    pub(crate) map: Option<&'a CubeTensor>,
    /// `[out_channels, in_channels, kernel, kernel]`.
    pub(crate) weight: &'a CubeTensor,
    /// The type of factors for the device's matrix instructions, which are used where one fits.
    pub(crate) factors: Option<FactorType>,
}

impl Convolution<'_> {
    /// The folded normalization. Without one, another buffer, which the kernel does not read.
    pub(crate) fn map_or_any(&self) -> &CubeTensor {
        self.map.unwrap_or(self.weight)
    }

    /// The first factor of the forward pass.
    pub(crate) fn convolved<E: Float>(&self) -> ConvolvedLaunch<E> {
        let [input, map] =
            [self.input, self.map_or_any()].map(|tensor| tensor.clone().into_buffer_arg());
        ConvolvedLaunch::new(input, map, self.out_pixels(), self.shape, self.map.is_some())
    }

    /// The tile of a product with a row for each pixel.
    pub(crate) fn tall_tile(&self, columns: usize, has_costly_places: bool) -> Tile {
        let client = &self.input.client;
        let tile = Tile::tall(Scale::of(client), columns);
        let tile = if has_costly_places { tile.with_costly_places() } else { tile };
        tile.with_matrices(client, self.factors)
    }

    /// Number of pixels in the output.
    pub(crate) fn out_pixels(&self) -> usize {
        self.batch * self.shape.out_height * self.shape.out_width
    }

    /// Number of pixels in the input.
    pub(crate) fn in_pixels(&self) -> usize {
        self.batch * self.shape.height * self.shape.width
    }
}

/// Compile-time parameters of the forward kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Variant {
    shape: ConvShape,
    tile: Tile,
    residual: bool,
    moments: bool,
}

/// Returns the tile of the forward pass.
pub(crate) fn forward_tile(convolution: Convolution<'_>) -> Tile {
    let shape = convolution.shape;
    convolution.tall_tile(shape.out_channels, shape.kernel > 1 && shape.in_channels > 128)
}

/// Returns `residual + convolution`, `[batch, out_height, out_width, out_channels]`. If `measures` is true, also returns the
/// moments of the output.
pub(crate) fn forward(
    convolution: Convolution<'_>,
    residual: Option<&CubeTensor>,
    measures: bool,
) -> (CubeTensor, Option<PartialMoments>) {
    let Convolution { shape, batch, input, weight, .. } = convolution;
    let client = &input.client;
    let tile = forward_tile(convolution);
    let pixels = convolution.out_pixels();
    let output = [batch, shape.out_height, shape.out_width, shape.out_channels];
    let output = empty_state(input, output);
    let moments =
        measures.then(|| PartialMoments::empty(input, shape.out_channels, tile.rows, pixels));
    // Buffers that the kernel does not use are replaced by others of the same type. Those that are written have to be different.
    let partial = moments.as_ref().map(|moments| moments.values.clone());
    let partial = partial.unwrap_or_else(|| empty(input, [1]));
    let variant = Variant { shape, tile, residual: residual.is_some(), moments: measures };
    launch_product!(
        input.dtype,
        tile,
        forward_kernel(
            client,
            grid(pixels.div_ceil(tile.rows), shape.out_channels.div_ceil(tile.columns), 1),
            tile.block(),
            convolution.convolved(),
            WeightLaunch::new(weight.clone().into_buffer_arg(), shape),
            residual.unwrap_or(input).clone().into_buffer_arg(),
            output.clone().into_buffer_arg(),
            partial.into_buffer_arg(),
            variant,
        )
    );
    (output, moments)
}

#[cube(launch)]
fn forward_kernel<E: Float, F: Float>(
    convolved: &Convolved<E>,
    weight: &Weight,
    residual: &[E],
    output: &mut [E],
    moments: &mut [f32],
    #[comptime] variant: Variant,
) {
    let tile = comptime!(variant.tile);
    let channels = comptime!(variant.shape.out_channels);
    let pixels = output.len() / channels;
    let begin_row = CUBE_POS_X as usize * comptime!(tile.rows);
    let begin_column = CUBE_POS_Y as usize * comptime!(tile.columns);
    let mut results = product::<Convolved<E>, Weight, F>(
        convolved,
        weight,
        begin_row,
        begin_column,
        0,
        comptime!(variant.shape.depth()),
        comptime!([Order::Steps, Order::Steps]),
        tile,
    );
    let row = begin_row + first_row(tile);
    let column = begin_column + first_column(tile);
    #[unroll]
    for i in 0..comptime!(tile.unit_rows) {
        let pixel = row + comptime!(i * tile.units_down());
        #[unroll]
        for j in 0..comptime!(tile.unit_columns) {
            let channel = column + comptime!(j * tile.units_across());
            if pixel < pixels && channel < channels {
                let place = comptime!(i * tile.unit_columns + j);
                let index = pixel * channels + channel;
                if comptime!(variant.residual) {
                    results[place] += f32::cast_from(residual[index]);
                }
                let value = E::cast_from(results[place]);
                output[index] = value;
                // Moments are those of the output as it is stored.
                results[place] = f32::cast_from(value);
            }
        }
    }
    if comptime!(variant.moments) {
        write_moments(&results, moments, pixels, channels, tile);
    }
}

/// Writes the moments of each column of a tile of results. `pixels` and `channels` are the numbers of rows and columns of the
/// whole product.
#[cube]
fn write_moments(
    results: &Array<f32>,
    moments: &mut [f32],
    pixels: usize,
    #[comptime] channels: usize,
    #[comptime] tile: Tile,
) {
    let part = CUBE_POS_X as usize;
    let begin_row = part * comptime!(tile.rows);
    let begin_column = CUBE_POS_Y as usize * comptime!(tile.columns);
    let count = f32::cast_from(min(pixels - begin_row, comptime!(tile.rows)));
    let row = first_row(tile);
    let column = first_column(tile);
    let unit = UNIT_POS as usize;
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(tile.units_down() * tile.columns));
    let mut means = Shared::<[f32]>::new_slice(comptime!(tile.columns));
    #[unroll]
    for j in 0..comptime!(tile.unit_columns) {
        let mut sum = 0.0f32;
        #[unroll]
        for i in 0..comptime!(tile.unit_rows) {
            if begin_row + row + comptime!(i * tile.units_down()) < pixels {
                sum += results[comptime!(i * tile.unit_columns + j)];
            }
        }
        let place = row * comptime!(tile.columns) + column + comptime!(j * tile.units_across());
        scratch[place] = sum;
    }
    sync_cube();
    let mut own = unit;
    while own < comptime!(tile.columns) {
        means[own] = sum_of_column(&scratch, own, tile) / count;
        own += comptime!(tile.units());
    }
    sync_cube();
    #[unroll]
    for j in 0..comptime!(tile.unit_columns) {
        let within = column + comptime!(j * tile.units_across());
        let mean = means[within];
        let mut sum = 0.0f32;
        #[unroll]
        for i in 0..comptime!(tile.unit_rows) {
            if begin_row + row + comptime!(i * tile.units_down()) < pixels {
                let deviation = results[comptime!(i * tile.unit_columns + j)] - mean;
                sum = fma(deviation, deviation, sum);
            }
        }
        scratch[row * comptime!(tile.columns) + within] = sum;
    }
    sync_cube();
    let parts = moments.len() / comptime!(2 * channels);
    let mut own = unit;
    while own < comptime!(tile.columns) {
        let channel = begin_column + own;
        if channel < channels {
            let index = channel * parts + part;
            moments[index] = means[own];
            moments[channels * parts + index] = sum_of_column(&scratch, own, tile);
        }
        own += comptime!(tile.units());
    }
}

/// Returns the sum of the values that the units of a column of a tile have written.
#[cube]
pub(crate) fn sum_of_column(scratch: &Shared<[f32]>, column: usize, #[comptime] tile: Tile) -> f32 {
    let mut sum = 0.0f32;
    for row in 0..comptime!(tile.units_down()) {
        sum += scratch[row * comptime!(tile.columns) + column];
    }
    sum
}
