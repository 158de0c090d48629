//! Forward convolution.

use pulp::Simd;

use super::block::{Block, Scratch, transform_inputs};
use super::transform::Transform;
use super::{Tile, with_transform};
use crate::cpu::implicit_gemm::{Grid, OutputView, Window};
use crate::cpu::microkernel::{
    Columns, Depth, Output, Rows, load, multiply_tile, store, tile_width, tiles, with_tile_shape,
};
use crate::cpu::scratch::scratch_slice;

/// A transformed kernel: `[point][panel][in_channels][width]`, the last panel of each point
/// padded with zeros.
pub(crate) struct TransformedKernel {
    tile: Tile,
    values: Vec<f32>,
    in_channels: usize,
    out_channels: usize,
    width: usize,
}

impl TransformedKernel {
    /// Packs a kernel. A `step` is an index into `[kernel row, kernel column, in_channels]`. The
    /// value in `column` at `step` is `weight[first + column · stride]`, where
    /// `[first, stride] = place(step)`.
    ///
    /// # Panics
    /// If `out_channels` is not a multiple of the vector length, or `weight` is too short.
    #[inline(always)]
    pub(crate) fn pack<S: Simd>(
        simd: S,
        tile: Tile,
        [in_channels, out_channels]: [usize; 2],
        weight: &[f32],
        place: impl Fn(usize) -> [usize; 2],
    ) -> Self {
        assert!(out_channels.is_multiple_of(S::F32_LANES), "{out_channels} channels");
        let width = tile_width::<S>(out_channels);
        let size = out_channels.div_ceil(width) * in_channels * width;
        let mut values = vec![0.0; tile.points() * size];
        let mut lines = vec![0.0; 9 * out_channels];
        for channel in 0..in_channels {
            for (step, line) in lines.chunks_exact_mut(out_channels).enumerate() {
                let [first, stride] = place(step * in_channels + channel);
                let column =
                    weight[first..][..(out_channels - 1) * stride + 1].iter().step_by(stride);
                line.iter_mut().zip(column).for_each(|(target, &value)| *target = value);
            }
            for column in (0..out_channels).step_by(S::F32_LANES) {
                let (panel, lane) = (column / width, column % width);
                let first = (panel * in_channels + channel) * width + lane;
                let (lines, to) = (&lines[column..], &mut values[first..]);
                with_transform!(tile, transform_kernel(simd, lines, out_channels, to, size));
            }
        }
        Self { tile, values, in_channels, out_channels, width }
    }

    /// Computes `to = add + grid * kernel`.
    ///
    /// # Safety
    /// The grid can be read at all positions of the window. `rows · columns` output pixels with the
    /// output channels of the kernel can be written, and the addend, if not null, can be read for
    /// the same pixels.
    ///
    /// # Panics
    /// If the grid and the kernel differ in the number of channels, or the window is not for a 3×3
    /// kernel without a stride with whole tiles of output pixels.
    #[inline(always)]
    pub(crate) unsafe fn convolve<S: Simd>(
        &self,
        simd: S,
        grid: Grid<'_>,
        window: Window,
        place: OutputView,
        scratch: &mut Scratch,
    ) {
        let Scratch { inputs, outputs: products } = scratch;
        let &Self { tile, in_channels, out_channels, .. } = self;
        window.assert_tiles(tile);
        assert_eq!(grid.channels, in_channels);
        for block in Block::all(window, tile, in_channels.max(out_channels)) {
            let inputs = scratch_slice(inputs, tile.points() * block.pitch(in_channels));
            let products = scratch_slice(products, tile.points() * block.pitch(out_channels));
            // SAFETY: the block's tiles are in the window.
            unsafe {
                with_transform!(tile, transform_inputs(simd, grid, window.rows, block, inputs));
                with_tile_shape!(S, out_channels, multiply(simd, self, block, inputs, products));
                with_transform!(
                    tile,
                    inverse_transform_outputs(simd, out_channels, block, products, place)
                );
            }
        }
    }
}

/// Writes `G g Gᵀ` for one vector of output channels to `to`, with a distance of `size` values between points.
/// `lines` has the nine values of the kernel, with a distance of `out_channels` values.
#[inline(always)]
fn transform_kernel<S: Simd, T: Transform<M, N>, const M: usize, const N: usize>(
    simd: S,
    lines: &[f32],
    out_channels: usize,
    to: &mut [f32],
    size: usize,
) {
    let zero = simd.splat_f32s(0.0);
    let mut rows = [[zero; N]; 3];
    for (y, row) in rows.iter_mut().enumerate() {
        let mut kernel = [zero; 3];
        for (x, value) in kernel.iter_mut().enumerate() {
            let line = &lines[(3 * y + x) * out_channels..][..S::F32_LANES];
            // SAFETY: the slice has the length of a vector.
            *value = unsafe { load::<S>(line.as_ptr()) };
        }
        *row = T::kernel(simd, kernel);
    }
    for j in 0..N {
        let mut column = [zero; 3];
        for (value, row) in column.iter_mut().zip(&rows) {
            *value = row[j];
        }
        for (i, value) in T::kernel(simd, column).into_iter().enumerate() {
            let to = &mut to[(N * i + j) * size..][..S::F32_LANES];
            // SAFETY: the slice has the length of a vector.
            unsafe { store::<S>(to.as_mut_ptr(), value) };
        }
    }
}

/// Computes the products at all points.
#[inline(always)]
fn multiply<S: Simd, const MR: usize, const SHORT: usize, const NV: usize>(
    simd: S,
    filter: &TransformedKernel,
    block: Block,
    inputs: &[f32],
    products: &mut [f32],
) {
    let &TransformedKernel { tile, ref values, in_channels, out_channels, width } = filter;
    assert_eq!(width, NV * S::F32_LANES);
    let depth = Depth { runs: 1, steps: in_channels };
    let inputs = inputs.chunks_exact(block.pitch(in_channels));
    let products = products.chunks_exact_mut(block.pitch(out_channels));
    let points = values.chunks_exact(values.len() / tile.points()).zip(inputs).zip(products);
    for ((values, inputs), products) in points {
        for (panel, values) in values.chunks_exact(in_channels * width).enumerate() {
            let (first, columns) = (panel * width, width.min(out_channels - panel * width));
            let b = Columns { start: values.as_ptr(), step: width, run: 0 };
            for (begin, rows) in tiles::<MR, SHORT>(block.tiles()) {
                // SAFETY: the `rows` tiles that start at `begin` are in the block, so they are
                // within its values at this point. The panel has full width for each input channel.
                unsafe {
                    let start = inputs.as_ptr().add(begin * in_channels);
                    let a = Rows { start, pitch: in_channels, step: 1, run: 0 };
                    let to_tile = products.as_mut_ptr().add(begin * out_channels + first);
                    let add = std::ptr::null();
                    let out = Output { to: to_tile, pitch: out_channels, add, rows, columns };
                    multiply_tile::<S, MR, SHORT, NV>(simd, depth, a, b, out);
                }
            }
        }
    }
}

/// Writes `Aᵀ m A` for the products `m` of each tile of the block, plus the addend if there is one.
///
/// # Safety
/// The pixels of the block can be written in `place`, and its addend, if not null, can be read.
#[inline(always)]
unsafe fn inverse_transform_outputs<S: Simd, T: Transform<M, N>, const M: usize, const N: usize>(
    simd: S,
    channels: usize,
    block: Block,
    products: &[f32],
    place: OutputView,
) {
    let pitch = block.pitch(channels);
    assert!(products.len() >= N * N * pitch && channels.is_multiple_of(S::F32_LANES));
    let zero = simd.splat_f32s(0.0);
    for tile_row in 0..block.rows {
        for tile in 0..block.columns {
            let pixel = M * (block.y + tile_row) * place.row + M * (block.x + tile) * place.pixel;
            let first = (tile_row * block.columns + tile) * channels;
            for channel in (0..channels).step_by(S::F32_LANES) {
                // SAFETY: the tile is within the products at all points, as asserted. Its pixels
                // can be written, as the caller promises.
                unsafe {
                    let from = products.as_ptr().add(first + channel);
                    let mut columns = [[zero; M]; N];
                    for (j, column) in columns.iter_mut().enumerate() {
                        let mut values = [zero; N];
                        for (i, value) in values.iter_mut().enumerate() {
                            *value = load::<S>(from.add((N * i + j) * pitch));
                        }
                        *column = T::output(simd, values);
                    }
                    for y in 0..M {
                        let mut row = [zero; N];
                        for (j, column) in columns.iter().enumerate() {
                            row[j] = column[y];
                        }
                        let row = T::output(simd, row);
                        for (x, mut value) in row.into_iter().enumerate() {
                            let index = pixel + y * place.row + x * place.pixel + channel;
                            if !place.add.is_null() {
                                value = simd.add_f32s(value, load::<S>(place.add.add(index)));
                            }
                            store::<S>(place.to.add(index), value);
                        }
                    }
                }
            }
        }
    }
}
