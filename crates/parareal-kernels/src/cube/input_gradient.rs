//! The gradient of a convolution's input: of the input itself, or `δ`, its gradient before the normalization, with the sums
//! over pixels that the gradient of the normalization needs.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::elements::{INVERSE_STD, MEAN, activation, reached_gradient};
use super::forward::{Convolution, sum_of_column};
use super::product::{add_product, first_column, first_row};
use super::shape::ConvShape;
use super::tensors::empty;
use super::tile::{Scale, Tile, grid};

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
    /// Gradient, values and coefficients. Those that a kernel does not read are replaced by others.
    pub(crate) fn buffers(&self) -> [&CubeTensor; 3] {
        match &self.norm {
            Some(OutputNorm { values, coefficients }) => [&self.gradient, values, coefficients],
            None => [&self.gradient; 3],
        }
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
    /// True if the gradient of the output is that of a normalized value.
    along_normalized: bool,
}

/// Returns the gradient of the input, `[batch, height, width, in_channels]`. If the input is normalized, it is `δ`, and there
/// are partial sums as well.
pub(crate) fn input_gradient(
    convolution: Convolution<'_>,
    gradient: &OutputGradient,
) -> (CubeTensor, Option<PartialSums>) {
    let Convolution { shape, batch, input, map, weight } = convolution;
    let client = &input.client;
    let tile = Tile::tall(Scale::of(client), shape.in_channels);
    let pixels = convolution.in_pixels();
    let parts = pixels.div_ceil(tile.rows);
    let delta = empty(input, [batch, shape.height, shape.width, shape.in_channels]);
    let sums = map.map(|_| PartialSums(empty(input, [2, shape.in_channels, parts])));
    let partial = sums.as_ref().map(|sums| sums.0.clone()).unwrap_or_else(|| empty(input, [1]));
    let [along, values, coefficients] = gradient.buffers().map(Clone::clone);
    let variant = Variant {
        shape,
        tile,
        normalized: map.is_some(),
        along_normalized: gradient.norm.is_some(),
    };
    input_gradient_kernel::launch(
        client,
        grid(parts, shape.in_channels.div_ceil(tile.columns), 1),
        tile.block(),
        along.into_buffer_arg(),
        values.into_buffer_arg(),
        coefficients.into_buffer_arg(),
        weight.clone().into_buffer_arg(),
        input.clone().into_buffer_arg(),
        convolution.map_or_any().clone().into_buffer_arg(),
        delta.clone().into_buffer_arg(),
        partial.into_buffer_arg(),
        variant,
    );
    (delta, sums)
}

#[cube(launch)]
fn input_gradient_kernel(
    gradient: &[f32],
    values: &[f32],
    coefficients: &[f32],
    weight: &[f32],
    input: &[f32],
    map: &[f32],
    delta: &mut [f32],
    sums: &mut [f32],
    #[comptime] variant: Variant,
) {
    let shape = comptime!(variant.shape);
    let tile = comptime!(variant.tile);
    let channels = comptime!(shape.in_channels);
    let pixels = delta.len() / channels;
    let begin_row = CUBE_POS_X as usize * comptime!(tile.rows);
    let begin_column = CUBE_POS_Y as usize * comptime!(tile.columns);
    let unit = UNIT_POS as usize;
    let mut left = Shared::<[f32]>::new_slice(comptime!(tile.depth * tile.left_stride()));
    let mut right = Shared::<[f32]>::new_slice(comptime!(tile.depth * tile.right_stride()));
    let mut results = Array::<f32>::new(comptime!(tile.unit_results()));
    for round in 0..comptime!((shape.places() * shape.out_channels).div_ceil(tile.depth)) {
        let begin = round * comptime!(tile.depth);
        #[unroll(tile.unrolls_loads)]
        for load in 0..comptime!(tile.left_loads()) {
            let index = unit + load * comptime!(tile.units());
            let step = index % comptime!(tile.depth);
            let row = index / comptime!(tile.depth);
            if row < comptime!(tile.rows) {
                left[step * comptime!(tile.left_stride()) + row] = reached_gradient(
                    gradient,
                    values,
                    coefficients,
                    begin_row + row,
                    begin + step,
                    pixels,
                    shape,
                    comptime!(variant.along_normalized),
                );
            }
        }
        #[unroll(tile.unrolls_loads)]
        for load in 0..comptime!(tile.right_loads()) {
            let index = unit + load * comptime!(tile.units());
            let column = index % comptime!(tile.columns);
            let step = index / comptime!(tile.columns);
            if step < comptime!(tile.depth) {
                right[step * comptime!(tile.right_stride()) + column] =
                    transposed_weight(weight, begin + step, begin_column + column, shape);
            }
        }
        sync_cube();
        add_product(&left, &right, &mut results, tile);
        sync_cube();
    }
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
                if comptime!(variant.normalized) {
                    // The same expression as in the forward pass, so that ReLU decides alike.
                    if activation(input[index], map, channel, channels) <= 0.0f32 {
                        results[place] = 0.0f32;
                    }
                }
                delta[index] = results[place];
            }
        }
    }
    if comptime!(variant.normalized) {
        write_sums(&results, input, map, sums, pixels, channels, tile);
    }
}

/// Returns the weight that is multiplied at `step` of the depth of an input gradient for input channel `channel`, or 0 after
/// the last.
#[cube]
fn transposed_weight(
    weight: &[f32],
    step: usize,
    channel: usize,
    #[comptime] shape: ConvShape,
) -> f32 {
    let mut result = 0.0f32;
    if step < comptime!(shape.places() * shape.out_channels)
        && channel < comptime!(shape.in_channels)
    {
        let out_channel = step % comptime!(shape.out_channels);
        let place = step / comptime!(shape.out_channels);
        let row = out_channel * comptime!(shape.in_channels) + channel;
        result = weight[row * comptime!(shape.places()) + place];
    }
    result
}

/// Writes the sums over each column of a tile of `δ`. `pixels` and `channels` are the numbers of rows and columns of the
/// whole product.
#[cube]
fn write_sums(
    results: &Array<f32>,
    input: &[f32],
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
                    product = fma(value, input[pixel * channels + channel] - mean, product);
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
