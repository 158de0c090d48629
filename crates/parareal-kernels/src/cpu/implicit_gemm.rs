//! Convolutions as matrix products of tiles, without unfolding the image (implicit GEMM).
//!
//! An image is stored as rows of pixels, each with its channels, and this is already the left
//! operand of the product. For one row of the kernel, the values that an output pixel depends on
//! are one run of `kernel · channels` contiguous values. No data are rearranged: a tile reads one
//! run for each row of the kernel.

use half::bf16;
use pulp::Simd;

use crate::cpu::microkernel::{
    Columns, Depth, Output, Rows, multiply_tile, tile_width, tiles, with_tile_shape,
};

/// Maximum number of values of the right operand that are used at once. They stay in the
/// first-level cache, together with the rows of the left operand.
const PANEL: usize = 4096;

/// An image with its padding, or any other grid of pixels.
#[derive(Clone, Copy)]
pub(crate) struct Grid<'a, T = f32> {
    pub(crate) values: &'a [T],
    /// Row stride, in values.
    pub(crate) row: usize,
    /// Number of channels of a pixel.
    pub(crate) channels: usize,
}

/// A grid of 32-bit floats, or of bfloat16 numbers.
#[derive(Clone, Copy)]
pub(crate) enum AnyGrid<'a> {
    Wide(Grid<'a>),
    Narrow(Grid<'a, bf16>),
}

/// The positions of a kernel on a grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Images, one below the other on the grid, each with its own padding. Only Winograd's algorithm takes several.
    pub(crate) images: usize,
    /// Rows of output pixels of an image.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Rows and columns of the kernel.
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
}

impl Window {
    /// Creates the positions of a pointwise kernel on a row of pixels.
    pub(crate) fn of_row(pixels: usize) -> Self {
        Self { images: 1, rows: 1, columns: pixels, kernel: [1, 1], stride: 1 }
    }
}

/// The layout of the pixels of an output.
#[derive(Clone, Copy)]
pub(crate) struct OutputView {
    pub(crate) to: *mut f32,
    /// Row stride, in values.
    pub(crate) row: usize,
    /// Pixel stride, in values.
    pub(crate) pixel: usize,
    /// The addend, in the layout of `to`; null for none.
    pub(crate) add: *const f32,
    /// Memory to prefetch.
    pub(crate) prefetch: Prefetch,
}

/// Memory that is read after a product and prefetched during it. For each pixel of the product,
/// `pixel` bytes are prefetched from each address in `from` that is not null.
#[derive(Clone, Copy)]
pub(crate) struct Prefetch {
    from: [*const u8; 2],
    pixel: [usize; 2],
}

impl Prefetch {
    pub(crate) const NOTHING: Self = Self { from: [std::ptr::null(); 2], pixel: [0; 2] };

    /// Prefetches pixels of `channels` values each from the addresses that are not null.
    pub(crate) fn new<E>(from: [*const E; 2], channels: [usize; 2]) -> Self {
        Self {
            from: from.map(<*const E>::cast),
            pixel: channels.map(|count| count * size_of::<E>()),
        }
    }

    /// Prefetches what belongs to these pixels of the product.
    #[inline(always)]
    pub(crate) fn issue(self, pixel: usize, pixels: usize) {
        for (from, size) in self.from.into_iter().zip(self.pixel) {
            if !from.is_null() {
                prefetch_lines(from.wrapping_add(pixel * size), pixels * size);
            }
        }
    }
}

/// Prefetches bytes. This is a hint and reads nothing, so any address is allowed.
#[inline(always)]
fn prefetch_lines(from: *const u8, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..count).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 machine has the instruction, and it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, count);
}

impl<'a, T> Grid<'a, T> {
    /// Creates a grid of a single row of pixels.
    pub(crate) fn of_row(values: &'a [T], channels: usize) -> Self {
        Self { values, row: 0, channels }
    }

    /// Returns true if all positions of the window are within the grid.
    pub(crate) fn holds(&self, window: Window) -> bool {
        let seen = |pixels: usize, kernel: usize| (pixels - 1) * window.stride + kernel;
        let rows = window.images * seen(window.rows, window.kernel[0]) - 1;
        let columns = seen(window.columns, window.kernel[1]);
        rows * self.row + columns * self.channels <= self.values.len()
    }
}

impl OutputView {
    /// Creates a view of contiguous pixels.
    pub(crate) fn dense(to: *mut f32, columns: usize, channels: usize, add: *const f32) -> Self {
        Self { to, row: columns * channels, pixel: channels, add, prefetch: Prefetch::NOTHING }
    }
}

/// The right operand, in panels as wide as a tile:
/// `[panel][kernel row, kernel column, in_channels][width]`, the last panel padded with zeros.
pub(crate) struct Panels {
    pub(crate) values: Vec<f32>,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    pub(crate) width: usize,
}

impl Panels {
    /// Packs a kernel. The value in `column` at `step` is `weight[first + column · stride]`, where
    /// `[first, stride] = place(step)`.
    pub(crate) fn pack<S: Simd>(
        depth: usize,
        columns: usize,
        weight: &[f32],
        place: impl Fn(usize) -> [usize; 2],
    ) -> Self {
        let width = tile_width::<S>(columns);
        let mut values = vec![0.0; columns.div_ceil(width) * depth * width];
        for step in 0..depth {
            let [first, stride] = place(step);
            let mut column = weight[first..].iter().step_by(stride).take(columns);
            for panel in values.chunks_exact_mut(depth * width) {
                let line = &mut panel[step * width..][..width];
                line.iter_mut().zip(&mut column).for_each(|(to, &value)| *to = value);
            }
        }
        Self { values, depth, columns, width }
    }
}

/// Computes `to = add + grid * panels`, the convolution of one grid.
///
/// # Safety
/// The grid can be read at all positions of the window. `rows · columns` output pixels of
/// `panels.columns` channels can be written, and the addend, if not null, can be read for the same
/// pixels.
#[inline(always)]
pub(crate) unsafe fn convolve<S: Simd>(
    simd: S,
    grid: Grid<'_>,
    window: Window,
    panels: &Panels,
    place: OutputView,
) {
    // SAFETY: as the caller promises.
    unsafe {
        with_tile_shape!(S, panels.columns, convolve_tiled(simd, grid, window, panels, place))
    }
}

#[inline(always)]
unsafe fn convolve_tiled<S: Simd, const MR: usize, const SHORT: usize, const NV: usize>(
    simd: S,
    grid: Grid<'_>,
    window: Window,
    panels: &Panels,
    place: OutputView,
) {
    let width = NV * S::F32_LANES;
    debug_assert_eq!(width, panels.width);
    debug_assert!(window.images == 1 && grid.holds(window), "{window:?}");
    let [kernel_rows, kernel_columns] = window.kernel;
    let run = kernel_columns * grid.channels;
    for (panel, values) in panels.values.chunks_exact(panels.depth * width).enumerate() {
        let first = panel * width;
        let columns = width.min(panels.columns - first);
        // All rows of the kernel are processed at once if the panel stays in the first-level cache,
        // otherwise row by row.
        let whole = panels.depth * width <= PANEL;
        let (passes, runs) = if whole { (1, kernel_rows) } else { (kernel_rows, 1) };
        let longest = if whole { run } else { PANEL / width };
        for kernel_row in 0..passes {
            for begin in (0..run).step_by(longest) {
                let depth = Depth { runs, steps: longest.min(run - begin) };
                let first_value = (kernel_row * run + begin) * width;
                let last = (runs - 1) * run + depth.steps;
                let start = values[first_value..][..last * width].as_ptr();
                let b = Columns { start, step: width, run: run * width };
                let is_first = kernel_row == 0 && begin == 0;
                for y in 0..window.rows {
                    for (x, rows) in tiles::<MR, SHORT>(window.columns) {
                        let pixel = y * place.row + x * place.pixel + first;
                        // SAFETY: these pixels are within the window, as the caller promises.
                        unsafe {
                            let seen = (y * window.stride + kernel_row) * grid.row
                                + x * window.stride * grid.channels
                                + begin;
                            let a = Rows {
                                start: grid.values.as_ptr().add(seen),
                                pitch: window.stride * grid.channels,
                                step: 1,
                                run: grid.row,
                            };
                            let to = place.to.add(pixel);
                            let add = match is_first {
                                false => to.cast_const(),
                                true if place.add.is_null() => place.add,
                                true => place.add.add(pixel),
                            };
                            let out = Output { to, pitch: place.pixel, add, rows, columns };
                            multiply_tile::<S, MR, SHORT, NV>(simd, depth, a, b, out);
                        }
                        if is_first && panel == 0 {
                            place.prefetch.issue(y * window.columns + x, rows);
                        }
                    }
                }
            }
        }
    }
}

/// Adds the gradient of a kernel to `to`, in the padded layout
/// `[kernel row, kernel column, in_channels][out_channels, padded]`. The gradient at
/// `[step][column]` is the sum, over output pixels, of the input at this step times the output
/// gradient of this column.
///
/// # Safety
/// The grid can be read at all positions of the window. `gradient` has `rows · columns` contiguous
/// pixels of `padded` values each, where `padded` is a multiple of the tile width. `to` has room
/// for the whole gradient.
#[inline(always)]
pub(crate) unsafe fn correlate<S: Simd>(
    simd: S,
    grid: Grid<'_>,
    window: Window,
    gradient: *const f32,
    columns: usize,
    padded: usize,
    to: *mut f32,
) {
    // SAFETY: as the caller promises.
    unsafe {
        with_tile_shape!(S, columns, correlate_tiled(simd, grid, window, gradient, padded, to));
    }
}

#[inline(always)]
unsafe fn correlate_tiled<S: Simd, const MR: usize, const SHORT: usize, const NV: usize>(
    simd: S,
    grid: Grid<'_>,
    window: Window,
    gradient: *const f32,
    padded: usize,
    to: *mut f32,
) {
    let width = NV * S::F32_LANES;
    debug_assert!(window.images == 1 && grid.holds(window), "{window:?}");
    let run = window.kernel[1] * grid.channels;
    let depth = Depth { runs: window.rows, steps: window.columns };
    for kernel_row in 0..window.kernel[0] {
        for (step, rows) in tiles::<MR, SHORT>(run) {
            for first in (0..padded).step_by(width) {
                // SAFETY: these values are within the grid, `gradient` and `to`, as the caller
                // promises.
                unsafe {
                    let to = to.add((kernel_row * run + step) * padded + first);
                    let out =
                        Output { to, pitch: padded, add: to.cast_const(), rows, columns: width };
                    let a = Rows {
                        start: grid.values.as_ptr().add(kernel_row * grid.row + step),
                        pitch: 1,
                        step: window.stride * grid.channels,
                        run: window.stride * grid.row,
                    };
                    let start = gradient.add(first);
                    let b = Columns { start, step: padded, run: window.columns * padded };
                    multiply_tile::<S, MR, SHORT, NV>(simd, depth, a, b, out);
                }
            }
        }
    }
}
