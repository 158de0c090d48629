//! Weight gradient.

use pulp::{Simd, WithSimd};

use super::block::{Block, POINT_PADDING, Scratch, transform_inputs};
use super::transform::Transform;
use super::{Tile, with_transform};
use crate::cpu::implicit_gemm::{Grid, Window};
use crate::cpu::microkernel::{
    Columns, Depth, Output, Rows, load, multiply_tile, store, tile_width, tiles, with_tile_shape,
};
use crate::cpu::scratch::scratch_slice;

/// Stride between points, in values.
fn pitch(in_channels: usize, padded: usize) -> usize {
    in_channels * padded + POINT_PADDING
}

/// Number of values in the transformed gradient of a kernel.
pub(crate) fn transformed_len(tile: Tile, in_channels: usize, padded: usize) -> usize {
    tile.points() * pitch(in_channels, padded)
}

/// Adds the transformed gradient of a kernel to `sum`,
/// `[point][in_channels][out_channels, padded to whole tiles]`. Values in the padding are meaningless.
///
/// # Safety
/// The grid can be read at all positions of the window.
///
/// # Panics
/// If one of these conditions is violated:
///
/// * the window is for a 3×3 kernel without a stride, with whole tiles of output pixels;
/// * the gradient has the pixels of the window;
/// * the channels of the gradient are whole vectors;
/// * `sum` has [`transformed_len`] values.
#[inline(always)]
pub(crate) unsafe fn correlate<S: Simd>(
    simd: S,
    tile: Tile,
    grid: Grid<'_>,
    window: Window,
    gradient: Grid<'_>,
    sum: &mut [f32],
    Scratch { inputs, outputs: gradients }: &mut Scratch,
) {
    let (in_channels, out_channels) = (grid.channels, gradient.channels);
    let padded = out_channels.next_multiple_of(tile_width::<S>(out_channels));
    window.assert_tiles(tile);
    assert_eq!(sum.len(), transformed_len(tile, in_channels, padded));
    assert_eq!(gradient.row, window.columns * out_channels);
    assert_eq!(gradient.values.len(), window.images * window.rows * gradient.row);
    for block in Block::all(window, tile, in_channels.max(padded)) {
        let inputs = scratch_slice(inputs, tile.points() * block.pitch(in_channels));
        let gradients = scratch_slice(gradients, tile.points() * block.pitch(padded));
        with_transform!(tile, transform_gradients(simd, gradient, padded, block, gradients));
        // SAFETY: the block's tiles are in the window.
        unsafe {
            with_transform!(tile, transform_inputs(simd, grid, window.rows, block, inputs));
        }
        let channels = [in_channels, padded];
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
fn transform_gradients<S: Simd, T: Transform<M, N>, const M: usize, const N: usize>(
    simd: S,
    gradient: Grid<'_>,
    padded: usize,
    block: Block,
    to: &mut [f32],
) {
    let (channels, pitch) = (gradient.channels, block.pitch(padded));
    assert!(channels.is_multiple_of(S::F32_LANES) && channels <= padded);
    assert!(to.len() >= N * N * pitch);
    let zero = simd.splat_f32s(0.0);
    for tile_row in 0..block.rows {
        let first = M * (block.y + tile_row) * gradient.row + M * block.x * channels;
        let end = first + (M - 1) * gradient.row + M * block.columns * channels;
        assert!(end <= gradient.values.len());
        for tile in 0..block.columns {
            for channel in (0..channels).step_by(S::F32_LANES) {
                // SAFETY: the pixels of the tile are within the gradient, and the tile at all
                // points is within `to`, as asserted.
                unsafe {
                    let from = gradient.values.as_ptr().add(first + M * tile * channels + channel);
                    let tile = tile_row * block.columns + tile;
                    let to = to.as_mut_ptr().add(tile * padded + channel);
                    let mut columns = [[zero; N]; M];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let mut values = [zero; M];
                        for (y, value) in values.iter_mut().enumerate() {
                            *value = load::<S>(from.add(y * gradient.row + x * channels));
                        }
                        *column = T::output_gradient(simd, values);
                    }
                    for i in 0..N {
                        let mut row = [zero; M];
                        for (x, column) in columns.iter().enumerate() {
                            row[x] = column[i];
                        }
                        let row = T::output_gradient(simd, row);
                        for (j, value) in row.into_iter().enumerate() {
                            store::<S>(to.add((N * i + j) * pitch), value);
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
    pub(crate) tile: Tile,
    pub(crate) partials: &'a [Vec<f32>],
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
}

impl WithSimd for InverseTransformKernel<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { tile, partials, in_channels, out_channels } = self;
        let padded = out_channels.next_multiple_of(tile_width::<S>(out_channels));
        let pitch = pitch(in_channels, padded);
        let mut weight = vec![0.0; out_channels * in_channels * 9];
        let mut lines = vec![0.0; 9 * out_channels];
        for channel in 0..in_channels {
            for column in (0..out_channels).step_by(S::F32_LANES) {
                let (first, to) = (channel * padded + column, &mut lines[column..]);
                with_transform!(
                    tile,
                    inverse_transform_kernel(simd, partials, [first, pitch], to, out_channels)
                );
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

/// Writes `Gᵀ s G` for one vector of output channels to `lines`, with a distance of `out_channels` values between the
/// nine values of the kernel. The sums at the first point start at `first`, those at the next `pitch` values further.
#[inline(always)]
fn inverse_transform_kernel<S: Simd, T: Transform<M, N>, const M: usize, const N: usize>(
    simd: S,
    partials: &[Vec<f32>],
    [first, pitch]: [usize; 2],
    lines: &mut [f32],
    out_channels: usize,
) {
    let zero = simd.splat_f32s(0.0);
    let mut rows = [[zero; 3]; N];
    for (i, row) in rows.iter_mut().enumerate() {
        let mut points = [zero; N];
        for (j, sum) in points.iter_mut().enumerate() {
            for partial in partials {
                let partial = &partial[(N * i + j) * pitch + first..][..S::F32_LANES];
                // SAFETY: the slice has the length of a vector.
                *sum = simd.add_f32s(*sum, unsafe { load::<S>(partial.as_ptr()) });
            }
        }
        *row = T::kernel_gradient(simd, points);
    }
    for x in 0..3 {
        let mut values = [zero; N];
        for (value, row) in values.iter_mut().zip(&rows) {
            *value = row[x];
        }
        for (y, value) in T::kernel_gradient(simd, values).into_iter().enumerate() {
            let line = &mut lines[(3 * y + x) * out_channels..][..S::F32_LANES];
            // SAFETY: the slice has the length of a vector.
            unsafe { store::<S>(line.as_mut_ptr(), value) };
        }
    }
}
