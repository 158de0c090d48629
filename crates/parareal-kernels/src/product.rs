//! Convolutions as matrix products of tiles.
//!
//! An image in memory as rows of pixels, each with its channels, is already the left operand of a
//! convolution: below one row of the kernel, the values that an output pixel sees lie in one run of
//! `kernel · channels` numbers. So nothing is rearranged; a tile reads as many runs as the kernel
//! has rows.

use pulp::Simd;

use crate::tile::{Output, Rows, tile, tile_width, with_tile};

/// Steps along the depth that are taken at once, so that the right operand's part stays in the
/// first cache.
const DEPTH: usize = 128;

/// An image with its zeros around it, or any other grid of pixels.
#[derive(Clone, Copy)]
pub(crate) struct Grid<'a> {
    pub(crate) values: &'a [f32],
    /// From one row of the image to the next.
    pub(crate) row: usize,
    /// Channels of a pixel.
    pub(crate) channels: usize,
}

/// What a convolution sees of a grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Output pixels.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Rows and columns of the kernel.
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
}

/// Where the pixels of an output are.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) to: *mut f32,
    /// From one row of pixels to the next.
    pub(crate) row: usize,
    /// From one pixel to the next.
    pub(crate) pixel: usize,
    /// What to add, pixel by pixel as `to`; null for nothing.
    pub(crate) add: *const f32,
}

impl Grid<'_> {
    /// Whether the window sees nothing but this grid.
    fn holds(&self, window: Window) -> bool {
        let seen = |pixels: usize, kernel: usize| (pixels - 1) * window.stride + kernel;
        let rows = seen(window.rows, window.kernel[0]) - 1;
        let columns = seen(window.columns, window.kernel[1]);
        rows * self.row + columns * self.channels <= self.values.len()
    }
}

impl Place {
    /// One pixel after the other.
    pub(crate) fn dense(to: *mut f32, columns: usize, channels: usize, add: *const f32) -> Self {
        Self { to, row: columns * channels, pixel: channels, add }
    }
}

/// The right operand, in panels as wide as a tile: `[panel][kernel row, kernel column, from][width]`,
/// the last panel filled up with zeros.
pub(crate) struct Panels {
    pub(crate) values: Vec<f32>,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    pub(crate) width: usize,
}

impl Panels {
    /// Packs `value(step, column)`.
    pub(crate) fn pack<S: Simd>(
        depth: usize,
        columns: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let width = tile_width::<S>(columns);
        let mut values = vec![0.0; columns.div_ceil(width) * depth * width];
        for (panel, panel_values) in values.chunks_exact_mut(depth * width).enumerate() {
            for (step, line) in panel_values.chunks_exact_mut(width).enumerate() {
                let first = panel * width;
                for (offset, place) in line.iter_mut().enumerate().take(columns - first) {
                    *place = value(step, first + offset);
                }
            }
        }
        Self { values, depth, columns, width }
    }
}

/// `to = add + grid * panels`: a convolution of one grid.
///
/// # Safety
/// The grid can be read wherever the window sees it; the place can be written for `rows · columns`
/// pixels of `panels.columns` channels, and what it adds (if not null) read.
#[inline(always)]
pub(crate) unsafe fn convolve<S: Simd>(
    simd: S,
    grid: Grid<'_>,
    window: Window,
    panels: &Panels,
    place: Place,
) {
    // SAFETY: as the caller promises.
    unsafe { with_tile!(S, panels.columns, convolve_tiled(simd, grid, window, panels, place)) }
}

#[inline(always)]
unsafe fn convolve_tiled<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    grid: Grid<'_>,
    window: Window,
    panels: &Panels,
    place: Place,
) {
    let width = NV * S::F32_LANES;
    debug_assert_eq!(width, panels.width);
    debug_assert!(grid.holds(window), "{window:?}");
    let run = window.kernel[1] * grid.channels;
    for (panel, values) in panels.values.chunks_exact(panels.depth * width).enumerate() {
        let first = panel * width;
        let columns = width.min(panels.columns - first);
        for kernel_row in 0..window.kernel[0] {
            for begin in (0..run).step_by(DEPTH) {
                let depth = DEPTH.min(run - begin);
                let b = values[(kernel_row * run + begin) * width..][..depth * width].as_ptr();
                let start = kernel_row == 0 && begin == 0;
                for y in 0..window.rows {
                    for x in (0..window.columns).step_by(MR) {
                        let pixel = y * place.row + x * place.pixel + first;
                        let rows = MR.min(window.columns - x);
                        // SAFETY: the pixels from `x` on, as far as the window sees them.
                        unsafe {
                            let seen = (y * window.stride + kernel_row) * grid.row
                                + x * window.stride * grid.channels
                                + begin;
                            let a = Rows {
                                start: grid.values.as_ptr().add(seen),
                                pitch: window.stride * grid.channels,
                                step: 1,
                            };
                            let to = place.to.add(pixel);
                            let add = match start {
                                false => to.cast_const(),
                                true if place.add.is_null() => place.add,
                                true => place.add.add(pixel),
                            };
                            let out = Output { to, pitch: place.pixel, add, rows, columns };
                            tile::<S, MR, NV>(simd, depth, a, b, width, out);
                        }
                    }
                }
            }
        }
    }
}

/// Adds to `to` what the outputs' gradients say of a kernel: `to[step][column]` of the padded
/// layout `[kernel row, kernel column, from][to, padded]` gets the sum over output pixels of what
/// the kernel sees at this step times the gradient of this column.
///
/// # Safety
/// The grid can be read wherever the window sees it; `gradient` has `rows · columns` pixels, one
/// after the other, of `padded` numbers each, a multiple of the tile's width; `to` has room.
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
        with_tile!(S, columns, correlate_tiled(simd, grid, window, gradient, padded, to));
    }
}

#[inline(always)]
unsafe fn correlate_tiled<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    grid: Grid<'_>,
    window: Window,
    gradient: *const f32,
    padded: usize,
    to: *mut f32,
) {
    let width = NV * S::F32_LANES;
    debug_assert!(grid.holds(window), "{window:?}");
    let run = window.kernel[1] * grid.channels;
    for kernel_row in 0..window.kernel[0] {
        for step in (0..run).step_by(MR) {
            let rows = MR.min(run - step);
            for first in (0..padded).step_by(width) {
                // SAFETY: the same places for all output rows, within what the window sees.
                unsafe {
                    let to = to.add((kernel_row * run + step) * padded + first);
                    let out =
                        Output { to, pitch: padded, add: to.cast_const(), rows, columns: width };
                    let start = grid.values.as_ptr().add(kernel_row * grid.row + step);
                    let rows = Rows { start, pitch: 1, step: window.stride * grid.channels };
                    let gradient = gradient.add(first);
                    gather::<S, MR, NV>(simd, window, grid.row, rows, gradient, padded, out);
                }
            }
        }
    }
}

/// A tile whose depth are all pixels of a window.
#[inline(always)]
unsafe fn gather<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    window: Window,
    grid_row: usize,
    a: Rows,
    b: *const f32,
    b_step: usize,
    out: Output,
) {
    for y in 0..window.rows {
        // SAFETY: a row of the window, and the gradients of its pixels.
        unsafe {
            let start = a.start.add(y * window.stride * grid_row);
            let b = b.add(y * window.columns * b_step);
            tile::<S, MR, NV>(simd, window.columns, Rows { start, ..a }, b, b_step, out);
        }
    }
}
