//! Weight gradient.

use pulp::{Simd, WithSimd};

use super::block::{Block, POINT_PADDING, POINTS, Scratch, scratch_slice, transform_inputs};
use crate::cpu::implicit_gemm::{Grid, Window};
use crate::cpu::microkernel::{
    Columns, Depth, Output, Rows, load, multiply_tile, store, tile_width, tiles, with_tile_shape,
};

/// Applies `A` to two vectors.
#[inline(always)]
fn transform_gradient<S: Simd>(simd: S, [a, b]: [S::f32s; 2]) -> [S::f32s; 4] {
    [a, simd.add_f32s(a, b), simd.sub_f32s(a, b), b]
}

/// Applies `Gᵀ` to four vectors.
#[inline(always)]
fn inverse_transform_kernel<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 3] {
    let half = simd.splat_f32s(0.5);
    let sum = simd.mul_f32s(simd.add_f32s(b, c), half);
    let difference = simd.mul_f32s(simd.sub_f32s(b, c), half);
    [simd.add_f32s(a, sum), difference, simd.add_f32s(sum, d)]
}

/// Stride between points, in values.
fn pitch(in_channels: usize, padded: usize) -> usize {
    in_channels * padded + POINT_PADDING
}

/// Number of values in the transformed gradient of a kernel.
pub(crate) fn transformed_len(in_channels: usize, padded: usize) -> usize {
    POINTS * pitch(in_channels, padded)
}

/// Adds the transformed gradient of a kernel to `sum`,
/// `[point][in_channels][out_channels, padded]`. Values in the padding are meaningless.
///
/// # Safety
/// The grid can be read at all positions of the window.
///
/// # Panics
/// If one of these conditions is violated:
///
/// * the window is for a 3×3 kernel without a stride, and the numbers of output rows and columns
///   are even;
/// * the gradient has the pixels of the window;
/// * the channels of the gradient are whole vectors, and `padded` is a multiple of the tile width;
/// * `sum` has [`transformed_len`] values.
#[inline(always)]
pub(crate) unsafe fn correlate<S: Simd>(
    simd: S,
    grid: Grid<'_>,
    window: Window,
    gradient: Grid<'_>,
    padded: usize,
    sum: &mut [f32],
    Scratch { inputs, outputs: gradients }: &mut Scratch,
) {
    window.assert_even();
    assert_eq!(sum.len(), transformed_len(grid.channels, padded));
    assert_eq!(gradient.row, window.columns * gradient.channels);
    assert_eq!(gradient.values.len(), window.rows * gradient.row);
    for block in Block::all(window, grid.channels.max(padded)) {
        let inputs = scratch_slice(inputs, block.pitch(grid.channels));
        let gradients = scratch_slice(gradients, block.pitch(padded));
        transform_gradients(simd, gradient, padded, block, gradients);
        // SAFETY: the block's tiles are in the window.
        unsafe { transform_inputs(simd, grid, block, inputs) };
        let (out_channels, channels) = (gradient.channels, [grid.channels, padded]);
        with_tile_shape!(
            S,
            out_channels,
            accumulate(simd, channels, block, inputs, gradients, sum)
        );
    }
}

/// Computes `A ∂y Aᵀ` for the tiles of a block, `[point][tile, channel]`. There is room for
/// `padded` channels; the padding is not written.
#[inline(always)]
fn transform_gradients<S: Simd>(
    simd: S,
    gradient: Grid<'_>,
    padded: usize,
    block: Block,
    to: &mut [f32],
) {
    let (channels, pitch) = (gradient.channels, block.pitch(padded));
    assert!(channels.is_multiple_of(S::F32_LANES) && channels <= padded);
    assert!(to.len() >= POINTS * pitch);
    for tile_row in 0..block.rows {
        let first = 2 * (block.y + tile_row) * gradient.row + 2 * block.x * channels;
        assert!(first + gradient.row + 2 * block.columns * channels <= gradient.values.len());
        for tile in 0..block.columns {
            for channel in (0..channels).step_by(S::F32_LANES) {
                // SAFETY: the pixels of the tile are within the gradient, and the tile at all
                // points is within `to`, as asserted.
                unsafe {
                    let from = gradient.values.as_ptr().add(first + 2 * tile * channels + channel);
                    let tile = tile_row * block.columns + tile;
                    let to = to.as_mut_ptr().add(tile * padded + channel);
                    let column = |x: usize| {
                        let pixel = |y: usize| load::<S>(from.add(y * gradient.row + x * channels));
                        transform_gradient(simd, [pixel(0), pixel(1)])
                    };
                    let [left, right] = [column(0), column(1)];
                    for (i, (left, right)) in left.into_iter().zip(right).enumerate() {
                        let transformed = transform_gradient(simd, [left, right]);
                        for (j, value) in transformed.into_iter().enumerate() {
                            store::<S>(to.add((4 * i + j) * pitch), value);
                        }
                    }
                }
            }
        }
    }
}

/// Adds the products at all points, summed over tiles, to `sum`.
#[inline(always)]
fn accumulate<S: Simd, const MR: usize, const SHORT: usize, const NV: usize>(
    simd: S,
    [in_channels, padded]: [usize; 2],
    block: Block,
    inputs: &[f32],
    gradients: &[f32],
    sum: &mut [f32],
) {
    let width = NV * S::F32_LANES;
    assert!(padded.is_multiple_of(width));
    let depth = Depth { runs: 1, steps: block.tiles() };
    let inputs = inputs.chunks_exact(block.pitch(in_channels));
    let gradients = gradients.chunks_exact(block.pitch(padded));
    let sums = sum.chunks_exact_mut(pitch(in_channels, padded));
    for ((inputs, gradients), sum) in inputs.zip(gradients).zip(sums) {
        for (step, rows) in tiles::<MR, SHORT>(in_channels) {
            for first in (0..padded).step_by(width) {
                // SAFETY: the `rows` input channels that start at `step`, and the `width` output
                // channels that start at `first`, are within the values of the tiles of the block
                // at this point.
                unsafe {
                    let start = inputs.as_ptr().add(step);
                    let a = Rows { start, pitch: 1, step: in_channels, run: 0 };
                    let start = gradients.as_ptr().add(first);
                    let b = Columns { start, step: padded, run: 0 };
                    let to = sum.as_mut_ptr().add(step * padded + first);
                    let add = to.cast_const();
                    let out = Output { to, pitch: padded, add, rows, columns: width };
                    multiply_tile::<S, MR, SHORT, NV>(simd, depth, a, b, out);
                }
            }
        }
    }
}

/// Computes the gradient of a kernel, `[out_channels, in_channels, 3, 3]`: `Gᵀ s G` for the sum `s`
/// of the partial sums of all chunks.
pub(crate) struct InverseTransformKernel<'a> {
    pub(crate) partials: &'a [Vec<f32>],
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
}

impl WithSimd for InverseTransformKernel<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { partials, in_channels, out_channels } = self;
        let padded = out_channels.next_multiple_of(tile_width::<S>(out_channels));
        let pitch = pitch(in_channels, padded);
        let mut weight = vec![0.0; out_channels * in_channels * 9];
        let mut lines = vec![0.0; 9 * out_channels];
        for channel in 0..in_channels {
            for column in (0..out_channels).step_by(S::F32_LANES) {
                let mut points = [simd.splat_f32s(0.0); POINTS];
                for (point, sum) in points.iter_mut().enumerate() {
                    let index = point * pitch + channel * padded + column;
                    for partial in partials {
                        let partial = &partial[index..][..S::F32_LANES];
                        // SAFETY: the slice has the length of a vector.
                        *sum = simd.add_f32s(*sum, unsafe { load::<S>(partial.as_ptr()) });
                    }
                }
                let [a, b, c, d] = [
                    inverse_transform_kernel(simd, [points[0], points[1], points[2], points[3]]),
                    inverse_transform_kernel(simd, [points[4], points[5], points[6], points[7]]),
                    inverse_transform_kernel(simd, [points[8], points[9], points[10], points[11]]),
                    inverse_transform_kernel(
                        simd,
                        [points[12], points[13], points[14], points[15]],
                    ),
                ];
                for x in 0..3 {
                    let transformed = inverse_transform_kernel(simd, [a[x], b[x], c[x], d[x]]);
                    for (y, value) in transformed.into_iter().enumerate() {
                        let line =
                            &mut lines[(3 * y + x) * out_channels + column..][..S::F32_LANES];
                        // SAFETY: the slice has the length of a vector.
                        unsafe { store::<S>(line.as_mut_ptr(), value) };
                    }
                }
            }
            for (place, line) in lines.chunks_exact(out_channels).enumerate() {
                for (column, &value) in line.iter().enumerate() {
                    weight[(column * in_channels + channel) * 9 + place] = value;
                }
            }
        }
        weight
    }
}
