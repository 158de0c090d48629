//! Convolutions as tile products, without unfolding the image: the rows of the left operand are pixels of the grid, and a
//! run in depth is one row of the kernel (module `implicit_gemm`).

use half::bf16;

use super::Bf16Products;
use super::operands::narrowed;
use super::tile::{
    Destination, MAX_PANELS, Operands, PANEL, Shape, TILE, TileScratch, Tiles, step_depth,
};
use crate::cpu::element::rounded;
use crate::cpu::implicit_gemm::{Grid, OutputView, Window};

/// A kernel of a convolution, `[step][panel]`.
#[derive(Debug)]
pub(crate) struct PairedPanels {
    products: Bf16Products,
    values: Vec<u32>,
    /// Numbers in depth of a step.
    depth: usize,
    /// Number of output channels.
    columns: usize,
}

impl PairedPanels {
    /// Packs a kernel of these rows and columns, rounded to bfloat16. The value in `column` at `step` is `weight[first +
    /// column · stride]`, where `[first, stride] = place(step)`. Returns `None` if a row of the kernel cannot be divided
    /// into steps.
    pub(crate) fn pack(
        products: Bf16Products,
        kernel: [usize; 2],
        [in_channels, columns]: [usize; 2],
        weight: &[f32],
        place: impl Fn(usize) -> [usize; 2],
    ) -> Option<Self> {
        let run = kernel[1] * in_channels;
        let depth = step_depth(run)?;
        let panels = columns.div_ceil(TILE);
        let mut values = vec![0; kernel[0] * run / depth * panels * PANEL];
        for step in 0..kernel[0] * run {
            let [first, stride] = place(step);
            let (tile, within) = (step / depth, step % depth);
            let line = weight[first..].iter().step_by(stride).take(columns);
            for (column, value) in line.enumerate() {
                let pair = (tile * panels + column / TILE) * PANEL + within / 2 * TILE;
                let bits = u32::from(rounded(value.to_bits()));
                values[pair + column % TILE] |= bits << (16 * (within % 2));
            }
        }
        Some(Self { products, values, depth, columns })
    }

    /// Computes `to = grid * kernel`.
    ///
    /// # Safety
    /// The machine has the instructions for which the kernel was packed. The grid has the input channels of the kernel, and
    /// the window its rows and columns and a single image. The grid can be read at all positions of the window, and `rows ·
    /// columns` output pixels can be written. `place` has no addend.
    pub(crate) unsafe fn convolve(
        &self,
        grid: Grid<'_>,
        window: Window,
        place: OutputView,
        scratch: &mut TileScratch,
    ) {
        let Window { kernel: [kernel_rows, kernel_columns], stride, .. } = window;
        let used = ((window.rows - 1) * stride + kernel_rows - 1) * grid.row
            + ((window.columns - 1) * stride + kernel_columns) * grid.channels;
        let Grid { values, row, channels } = grid;
        let values = narrowed(&values[..used], &mut scratch.rows);
        // SAFETY: as the caller promises.
        unsafe { self.convolve_narrow(Grid { values, row, channels }, window, place) };
    }

    /// Computes `to = grid * kernel` for a grid of bfloat16 numbers.
    ///
    /// # Safety
    /// As for [`Self::convolve`].
    #[inline(never)]
    pub(crate) unsafe fn convolve_narrow(
        &self,
        grid: Grid<'_, bf16>,
        window: Window,
        place: OutputView,
    ) {
        debug_assert!(place.add.is_null() && window.images == 1 && grid.holds(window));
        let Window { kernel: [kernel_rows, kernel_columns], stride, .. } = window;
        let run = kernel_columns * grid.channels;
        let panels = self.columns.div_ceil(TILE);
        let rows = window.columns.min(TILE);
        let mut partial = [0.0; TILE * MAX_PANELS * TILE];
        // SAFETY: the machine has the instructions, as the caller promises. A window has columns, a step of a packed kernel
        // has an even depth for which a tile has room, and these are the only tiles until this function returns.
        let tiles = unsafe { Tiles::new(self.products, Shape { rows, depth: self.depth }) };
        for y in 0..window.rows {
            for x in (0..window.columns).step_by(rows) {
                // The last tile of a row computes some pixels again.
                let x = x.min(window.columns - rows);
                place.prefetch.issue(y * window.columns + x, rows);
                for first in (0..panels).step_by(MAX_PANELS) {
                    let count = MAX_PANELS.min(panels - first);
                    let left = y * stride * grid.row + x * stride * grid.channels;
                    let operands = Operands {
                        runs: kernel_rows,
                        steps: run / self.depth,
                        a: grid.values[left..].as_ptr().cast(),
                        pitch: stride * grid.channels,
                        pair: 2,
                        run: grid.row,
                        b: self.values[first * PANEL..].as_ptr(),
                        step: panels * PANEL,
                        panels: count,
                    };
                    let columns = (count * TILE).min(self.columns - first * TILE);
                    // SAFETY: the rows are those of the window, and the panels those of the kernel. The pixels may be
                    // written, as the caller promises; a panel with fewer columns is computed apart from them.
                    unsafe {
                        let to = place.to.add(y * place.row + x * place.pixel + first * TILE);
                        if columns == count * TILE {
                            let to = Destination { to, pitch: place.pixel, adds: false };
                            tiles.multiply(operands, to);
                            continue;
                        }
                        let pitch = count * TILE;
                        let sums = Destination { to: partial.as_mut_ptr(), pitch, adds: false };
                        tiles.multiply(operands, sums);
                        for (row, sums) in partial.chunks_exact(pitch).enumerate().take(rows) {
                            let to = to.add(row * place.pixel);
                            to.copy_from_nonoverlapping(sums.as_ptr(), columns);
                        }
                    }
                }
            }
        }
    }
}
