//! Blocks of tiles, and the transform of the input that forward pass and weight gradient share.

use pulp::Simd;

use crate::cpu::implicit_gemm::{Grid, Window};
use crate::cpu::microkernel::{load, store};

/// Number of points of a tile: 4×4 input pixels.
pub(super) const POINTS: usize = 16;

/// Approximate number of values in a block of tiles at one point. The inputs and products at all
/// points then take 128 KiB of the second-level cache. With 64 or more channels, a block has at
/// most 16 tiles, which are the rows of a product.
const BLOCK_LEN: usize = 1024;

/// Padding between the points of a block, in values (one cache line). Without it, all points of a
/// tile would be in the same set of the first-level cache.
pub(super) const POINT_PADDING: usize = 16;

impl Window {
    /// Checks that the window belongs to a convolution that these transforms support: 3×3, without
    /// a stride, with an even number of output rows and columns.
    pub(super) fn assert_even(&self) {
        assert_eq!((self.kernel, self.stride), ([3, 3], 1), "{self:?}");
        assert!(self.rows.is_multiple_of(2) && self.columns.is_multiple_of(2), "{self:?}");
    }
}

/// Reusable working memory.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(super) inputs: Vec<f32>,
    /// Products or gradients.
    pub(super) outputs: Vec<f32>,
}

/// Returns memory for `pitch` values at each point. It may contain values from earlier uses.
pub(super) fn scratch_slice(values: &mut Vec<f32>, pitch: usize) -> &mut [f32] {
    let len = POINTS * pitch;
    if values.len() < len {
        *values = vec![0.0; len];
    }
    &mut values[..len]
}

/// Tiles of an image that are computed together.
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

    /// Returns the blocks of an image.
    pub(super) fn all(window: Window, channels: usize) -> impl Iterator<Item = Self> {
        let [rows, columns] = [window.rows / 2, window.columns / 2];
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

/// Applies `Bᵀ` to four vectors.
#[inline(always)]
fn transform_input<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
    [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(d, b)]
}

/// Computes `Bᵀ d B` for the tiles of a block, `[point][tile, channel]`.
///
/// # Safety
/// The grid has whole vectors of channels, and all pixels that the tiles of the block depend on.
#[inline(always)]
pub(super) unsafe fn transform_inputs<S: Simd>(
    simd: S,
    grid: Grid<'_>,
    block: Block,
    to: &mut [f32],
) {
    let (channels, pitch) = (grid.channels, block.pitch(grid.channels));
    assert!(to.len() >= POINTS * pitch);
    for tile_row in 0..block.rows {
        let first = 2 * (block.y + tile_row) * grid.row + 2 * block.x * channels;
        debug_assert!(
            first + 3 * grid.row + (2 * block.columns + 2) * channels <= grid.values.len()
        );
        for channel in (0..channels).step_by(S::F32_LANES) {
            // SAFETY: pixels that these tiles depend on, as the caller promises; the values of the
            // tiles at all points are within `to`, as asserted.
            unsafe {
                let from = grid.values.as_ptr().add(first + channel);
                let to = to.as_mut_ptr().add(tile_row * block.columns * channels + channel);
                let column = |x: usize| {
                    let pixel = |y: usize| load::<S>(from.add(y * grid.row + x * channels));
                    transform_input(simd, [pixel(0), pixel(1), pixel(2), pixel(3)])
                };
                let mut columns = [column(0), column(1)];
                for tile in 0..block.columns {
                    let next = [column(2 * tile + 2), column(2 * tile + 3)];
                    for i in 0..4 {
                        let row = [columns[0][i], columns[1][i], next[0][i], next[1][i]];
                        for (j, value) in transform_input(simd, row).into_iter().enumerate() {
                            store::<S>(to.add((4 * i + j) * pitch + tile * channels), value);
                        }
                    }
                    columns = next;
                }
            }
        }
    }
}
