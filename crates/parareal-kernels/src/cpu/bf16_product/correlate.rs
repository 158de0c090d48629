//! Weight gradients as tile products whose depth are pixels.

use super::Bf16Products;
use super::operands::{panels, pixel_pairs, planes};
use super::rounding::Number;
use super::tile::{
    Destination, MAX_PANELS, Operands, PANEL, Shape, TILE, TileScratch, Tiles, step_depth,
};
use crate::cpu::implicit_gemm::{Grid, Window};

/// Division of a row of output pixels into steps.
struct Steps {
    /// Pixels of a step.
    depth: usize,
    /// Steps of a row.
    count: usize,
    /// True for a single row of pixels and a kernel of one pixel.
    is_row: bool,
}

impl Steps {
    /// Returns the steps of a weight gradient, `None` if it is not supported.
    fn new(window: Window, channels: usize, padded: usize) -> Option<Self> {
        let fits = window.stride == 1
            && window.images == 1
            && padded.is_multiple_of(TILE)
            && (channels < TILE || channels.is_multiple_of(TILE));
        let is_row = window.rows == 1 && window.kernel == [1, 1];
        let depth = match fits {
            false => return None,
            // Zeros may follow a single row.
            true if is_row => 2 * TILE,
            true => step_depth(window.columns)?,
        };
        Some(Self { depth, count: window.columns.div_ceil(depth), is_row })
    }
}

/// Adds the gradient of a kernel to `to`, in the layout of [`implicit_gemm::correlate`] with `to_pitch` numbers from one step
/// to the next. Returns false, and adds nothing, if its sizes are not supported. Those of pointwise convolutions are, if both
/// numbers of channels are multiples of [`TILE`].
///
/// [`implicit_gemm::correlate`]: crate::cpu::implicit_gemm::correlate
///
/// # Safety
/// The machine has the instructions. The grid can be read at all positions of the window. For each step, an index into
/// `[kernel row, kernel column, channel of the grid]`, `to` has room for the channels of the gradient, which are at most
/// `to_pitch`.
///
/// # Panics
/// If the output's gradient does not consist of the pixels of the window.
#[inline(never)]
pub(crate) unsafe fn correlate<T: Number>(
    products: Bf16Products,
    (grid, window): (Grid<'_, T>, Window),
    gradient: Grid<'_, T>,
    (to, to_pitch): (*mut f32, usize),
    scratch: &mut TileScratch,
) -> bool {
    debug_assert!(grid.holds(window));
    let (channels, padded) = (grid.channels, gradient.channels);
    let Some(Steps { depth, count: steps, is_row }) = Steps::new(window, channels, padded) else {
        return false;
    };
    let [kernel_rows, kernel_columns] = window.kernel;
    // Pixels of a row of the grid; a single row has no stride.
    let row = if window.rows * kernel_rows == 1 { window.columns } else { grid.row / channels };
    let used = (window.rows + kernel_rows - 2) * row + window.columns + kernel_columns - 1;
    let most = used.max(steps * depth).next_multiple_of(2);
    let TileScratch { pairs, planes: buffer, panels: right, .. } = scratch;
    let pairs = pixel_pairs(&grid.values[..used * channels], channels, most, pairs);
    // A kernel with several columns also multiplies the second pixel of a pair with the first one of the next. Planes have
    // such pairs at every second number.
    // The left operand, with its strides between channels and in depth, in pairs.
    let (left, [pitch, pair]) = match is_row && products.reads_pairs_apart() {
        true => (pairs, [1, channels]),
        false => (planes(pairs, channels, buffer), [most / 2, 1]),
    };
    assert_eq!(gradient.values.len(), window.rows * window.columns * padded);
    let right = panels(gradient.values, padded, depth, right);
    let rows = channels.min(TILE);
    let total = padded / TILE;
    // SAFETY: the machine has the instructions, as the caller promises. There are channels, the depth is even and a tile has
    // room for it, and these are the only tiles until this function returns.
    let tiles = unsafe { Tiles::new(products, Shape { rows, depth }) };
    for kernel_row in 0..kernel_rows {
        for kernel_column in 0..kernel_columns {
            for channel in (0..channels).step_by(TILE) {
                for first in (0..total).step_by(MAX_PANELS) {
                    let count = MAX_PANELS.min(total - first);
                    let pixels = left[channel * pitch..].as_ptr().cast::<u16>();
                    let step = (kernel_row * kernel_columns + kernel_column) * channels + channel;
                    // SAFETY: the last pixel that is read is the last one of the last row for the last place of the kernel.
                    // It is within the left operand, which has `most` pixels: `depth · count` is the number of columns, or
                    // there is a single row, and `most` is at least that. The panels have all steps. `to` has room for the
                    // whole gradient, as the caller promises.
                    unsafe {
                        let operands = Operands {
                            runs: window.rows,
                            steps,
                            a: pixels.add(kernel_row * row + kernel_column),
                            pitch: 2 * pitch,
                            pair: 2 * pair,
                            run: row,
                            b: right[first * PANEL..].as_ptr(),
                            step: total * PANEL,
                            panels: count,
                        };
                        let to = to.add(step * to_pitch + first * TILE);
                        tiles.multiply(operands, Destination { to, pitch: to_pitch, adds: true });
                    }
                }
            }
        }
    }
    true
}
