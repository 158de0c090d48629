//! Blocks of tiles, and the transform of the input that forward pass and weight gradient share.

use pulp::Simd;

use super::Tile;
use super::transform::Transform;
use crate::cpu::implicit_gemm::{Grid, Window};
use crate::cpu::microkernel::{load, store};

/// Approximate number of values in a block of tiles at one point. The inputs and products at all
/// points then take 128 KiB (tiles of 2×2 pixels) or 288 KiB (4×4) of the second-level cache. With 64 or more
/// channels, a block has at most 16 tiles, which are the rows of a product.
const BLOCK_LEN: usize = 1024;

/// Padding between the points of a block, in values (one cache line). Without it, all points of a
/// tile would be in the same set of the first-level cache.
pub(super) const POINT_PADDING: usize = 16;

impl Window {
    /// Checks that the window belongs to a convolution that these transforms support: 3×3, without
    /// a stride, with whole tiles of output pixels.
    pub(super) fn assert_tiles(&self, tile: Tile) {
        let size = tile.rows();
        assert_eq!((self.kernel, self.stride), ([3, 3], 1), "{self:?}");
        assert!(self.rows.is_multiple_of(size) && self.columns.is_multiple_of(size), "{self:?}");
    }
}

/// Reusable working memory.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(super) inputs: Vec<f32>,
    /// Products or gradients.
    pub(super) outputs: Vec<f32>,
}

/// Tiles that are computed together. Images, if there are several, are one below the other.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// Row and column of the first tile.
    pub(super) y: usize,
    pub(super) x: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Block {
    pub(super) fn tiles(self) -> usize {
        self.rows * self.columns
    }

    /// Returns the blocks of images that consist of whole tiles.
    pub(super) fn all(window: Window, tile: Tile, channels: usize) -> impl Iterator<Item = Self> {
        let size = tile.rows();
        let [rows, columns] = [window.images * window.rows / size, window.columns / size];
        let tiles = (BLOCK_LEN / channels).max(16);
        let [height, width] = [(tiles / columns).max(1), columns.min(tiles)];
        (0..rows).step_by(height).flat_map(move |y| {
            (0..columns).step_by(width).map(move |x| Self {
                y,
                x,
                rows: height.min(rows - y),
                columns: width.min(columns - x),
            })
        })
    }

    /// Stride between points in memory with this number of channels, in values.
    pub(super) fn pitch(self, channels: usize) -> usize {
        self.tiles() * channels + POINT_PADDING
    }
}

/// Computes `Bᵀ d B` for the tiles of a block, `[point][tile, channel]`, where an image has `rows` rows of output pixels.
///
/// # Safety
/// The grid has whole vectors of channels, and all pixels that the tiles of the block depend on.
#[inline(always)]
pub(super) unsafe fn transform_inputs<
    S: Simd,
    T: Transform<M, N>,
    const M: usize,
    const N: usize,
>(
    simd: S,
    grid: Grid<'_>,
    rows: usize,
    block: Block,
    to: &mut [f32],
) {
    let (channels, pitch) = (grid.channels, block.pitch(grid.channels));
    assert!(to.len() >= N * N * pitch);
    for tile_row in 0..block.rows {
        let output_row = M * (block.y + tile_row);
        // Each image has two more rows on the grid than it has output rows.
        let grid_row = output_row + 2 * (output_row / rows);
        let first = grid_row * grid.row + M * block.x * channels;
        debug_assert!(
            first + (N - 1) * grid.row + (M * block.columns + 2) * channels <= grid.values.len()
        );
        for channel in (0..channels).step_by(S::F32_LANES) {
            // SAFETY: pixels that these tiles depend on, as the caller promises; the values of the
            // tiles at all points are within `to`, as asserted.
            unsafe {
                let from = grid.values.as_ptr().add(first + channel);
                let to = to.as_mut_ptr().add(tile_row * block.columns * channels + channel);
                let mut columns = [[simd.splat_f32s(0.0); N]; N];
                for (x, column) in columns.iter_mut().enumerate().take(2) {
                    *column = transform_column::<S, T, M, N>(simd, from, x * channels, grid.row);
                }
                for tile in 0..block.columns {
                    for (x, column) in columns.iter_mut().enumerate().skip(2) {
                        let x = (M * tile + x) * channels;
                        *column = transform_column::<S, T, M, N>(simd, from, x, grid.row);
                    }
                    for i in 0..N {
                        let mut row = [columns[0][i]; N];
                        for (x, column) in columns.iter().enumerate() {
                            row[x] = column[i];
                        }
                        for (j, value) in T::input(simd, row).into_iter().enumerate() {
                            store::<S>(to.add((N * i + j) * pitch + tile * channels), value);
                        }
                    }
                    // The next tile starts with the last two columns of this one.
                    columns[0] = columns[M];
                    columns[1] = columns[M + 1];
                }
            }
        }
    }
}

/// Applies `Bᵀ` to the column of a tile that starts at `first`.
///
/// # Safety
/// `N` rows can be read.
#[inline(always)]
unsafe fn transform_column<S: Simd, T: Transform<M, N>, const M: usize, const N: usize>(
    simd: S,
    from: *const f32,
    first: usize,
    row: usize,
) -> [S::f32s; N] {
    let mut column = [simd.splat_f32s(0.0); N];
    for (y, value) in column.iter_mut().enumerate() {
        // SAFETY: as the caller promises.
        *value = unsafe { load::<S>(from.add(first + y * row)) };
    }
    T::input(simd, column)
}
