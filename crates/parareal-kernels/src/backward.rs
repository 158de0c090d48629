//! The backward pass: gradients with respect to the kernel, the input, and what normalizes it.
//!
//! With `z = max(0, slope · x + offset)` and `to = convolution(z)`, the gradient `γ` of `to` gives
//!
//! ```text
//! ∂L/∂weight = correlation of z and γ                  z is computed again, not kept
//! ∂L/∂z      = convolution of γ with the kernel turned around
//! δ          = ∂L/∂z where z > 0, otherwise 0
//! ∂L/∂shift  = Σ δ,   ∂L/∂scale = Σ δ · (x - mean) / deviation
//! ∂L/∂x      = slope · (δ - Σδ / n - (x - mean) · Σ(δ · (x - mean)) / (variance · n))
//! ```
//!
//! where `n` counts the pixels of the batch and the two sums in the last line are left out where
//! the statistics are constants (evaluation). `variance` includes the small constant `ε`. The last
//! line needs the sums, so it is a second pass over the input (the module `finish`).

use pulp::{Simd, WithSimd};

use crate::SimdLevel;
use crate::elementwise::{Sums, mask};
use crate::finish::Source;
use crate::forward::{Convolution, block_pixels};
use crate::geometry::Geometry;
use crate::memory::{Target, written_by};
use crate::parts::{Part, each_part};
use crate::phase::{PackBackward, Phase};
use crate::product::{Ahead, Grid, Place, Window, correlate};
use crate::tile::tile_width;
use crate::winograd::{self, GatherKernels, Scratch};

/// What is asked of the backward pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// The gradient of the input and of the normalization.
    pub(crate) input: bool,
    /// The gradient of the kernel.
    pub(crate) weight: bool,
}

/// Per-channel statistics that an activation was made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Center<'a> {
    pub(crate) mean: &'a [f32],
    /// What is missing from the mean in single precision. Sums over all pixels add up errors that
    /// all pixels share.
    pub(crate) rest: &'a [f64],
    /// One over the standard deviation.
    pub(crate) inverse: &'a [f64],
    /// Whether they depend on the input: the batch's own statistics.
    pub(crate) of_batch: bool,
}

/// Gradients, where they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Gradients {
    /// `[batch, height, width, from]`.
    pub(crate) input: Option<Vec<f32>>,
    /// `[to, from, kernel, kernel]`.
    pub(crate) weight: Option<Vec<f32>>,
    /// `[from]`.
    pub(crate) scale: Option<Vec<f32>>,
    /// `[from]`.
    pub(crate) shift: Option<Vec<f32>>,
}

impl Convolution<'_> {
    /// Pulls the gradient of the output back. The gradient of the input is added to `sum`, if
    /// there is one, and is not among the results then.
    ///
    /// # Panics
    /// Where an operand does not have the size that the geometry says, there is an activation
    /// without its `center`, or a sum without an activation.
    pub(crate) fn backward(
        &self,
        level: SimdLevel,
        gradient: &[f32],
        center: Option<Center<'_>>,
        wanted: Wanted,
        sum: Option<&mut [f32]>,
    ) -> Gradients {
        self.check();
        let geometry = self.geometry;
        assert_eq!(gradient.len(), geometry.output_len());
        assert_eq!(self.activation.is_some(), center.is_some());
        if let Some(center) = center {
            let lengths = [center.mean.len(), center.rest.len(), center.inverse.len()];
            assert_eq!(lengths, [geometry.from; 3]);
        }
        let phases = match wanted.input {
            true => level.run(PackBackward { weight: self.weight, geometry: &geometry }),
            false => Vec::new(),
        };
        let pass = |delta: Delta<'_>| {
            each_part(geometry.batch, |part| {
                let (convolution, phases, weight) = (*self, &phases, wanted.weight);
                level.run(Backward { convolution, phases, gradient, center, delta, weight, part })
            })
        };
        let mut gradients = Gradients::default();
        let (mut parts, mut delta) = (Vec::new(), None);
        match wanted.input {
            false => parts = pass(Delta::Unwanted),
            true if center.is_some() && geometry.is_cheaper_twice() => parts = pass(Delta::Passing),
            true => {
                let len = geometry.input_len();
                // SAFETY: the parts write the gradients of all input pixels before they read them.
                delta = Some(unsafe { written_by(len, |to| parts = pass(Delta::Kept(to))) });
            }
        }
        if let (true, Some(center)) = (wanted.input, center) {
            let mut sums = Sums::new(geometry.from);
            parts.iter().for_each(|part| sums.add(&part.sums));
            let source = match delta {
                Some(delta) => Source::Kept(delta),
                None => Source::Again { gradient, phases: &phases },
            };
            self.finish(level, center, &sums, source, sum, &mut gradients);
        } else {
            assert!(sum.is_none(), "a sum is for what was normalized");
            gradients.input = delta;
        }
        if wanted.weight {
            let parts: Vec<_> = parts.into_iter().map(|part| part.weight).collect();
            gradients.weight = Some(self.unpack(level, &parts));
        }
        gradients
    }

    /// The sum over parts, in the layout of the kernel.
    fn unpack(&self, level: SimdLevel, parts: &[Vec<f32>]) -> Vec<f32> {
        let Geometry { from, to, kernel, .. } = self.geometry;
        if self.geometry.uses_winograd() {
            return level.run(GatherKernels { parts, from, to });
        }
        let mut sum = vec![0.0; parts.first().map_or(0, Vec::len)];
        for part in parts {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let padded = sum.len() / self.geometry.depth();
        let mut weight = vec![0.0; self.geometry.weight_len()];
        for (step, line) in sum.chunks_exact(padded).enumerate() {
            let (place, channel) = (step / from, step % from);
            for (column, &value) in line.iter().enumerate().take(to) {
                weight[(column * from + channel) * kernel * kernel + place] = value;
            }
        }
        weight
    }
}

struct Backward<'a> {
    convolution: Convolution<'a>,
    phases: &'a [Phase],
    gradient: &'a [f32],
    center: Option<Center<'a>>,
    delta: Delta<'a>,
    weight: bool,
    part: Part,
}

/// What becomes of `δ`.
#[derive(Clone, Copy)]
enum Delta<'a> {
    /// The gradient of the input is not wanted.
    Unwanted,
    /// It is needed for its sums, and computed once more afterwards.
    Passing,
    /// It is written.
    Kept(Target<'a>),
}

/// What a part contributes to the gradients of parameters.
struct Contribution {
    sums: Sums,
    /// `[kernel row, kernel column, from][to, padded]`, or spread over places of tiles.
    weight: Vec<f32>,
}

impl WithSimd for Backward<'_> {
    type Output = Contribution;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Contribution {
        let geometry = self.convolution.geometry;
        let padded = geometry.to.next_multiple_of(tile_width::<S>(geometry.to));
        let weight = match self.weight {
            true if geometry.uses_winograd() => winograd::spread_len(geometry.from, padded),
            true => geometry.depth() * padded,
            false => 0,
        };
        let mut done = Contribution { sums: Sums::new(geometry.from), weight: vec![0.0; weight] };
        match geometry.is_pointwise() {
            true => self.pointwise(simd, padded, &mut done),
            false => self.spatial(simd, padded, &mut done),
        }
        done
    }
}

impl Backward<'_> {
    #[inline(always)]
    fn pointwise<S: Simd>(&self, simd: S, padded: usize, done: &mut Contribution) {
        let Convolution { geometry, input, .. } = self.convolution;
        let Geometry { from, to: channels, .. } = geometry;
        let block = block_pixels(from.max(channels));
        let mut activated = vec![0.0; block * from];
        let mut filled = vec![0.0; if padded == channels { 0 } else { block * padded }];
        let passing = matches!(self.delta, Delta::Passing);
        let mut delta = vec![0.0; if passing { block * from } else { 0 }];
        let end = self.part.end * geometry.input_pixels();
        let mut pixel = self.part.start * geometry.input_pixels();
        while pixel < end {
            let pixels = block.min(end - pixel);
            let window = Window { rows: 1, columns: pixels, kernel: [1, 1], stride: 1 };
            let input = &input[pixel * from..][..pixels * from];
            let gradient = &self.gradient[pixel * channels..][..pixels * channels];
            // SAFETY: these pixels belong to this part alone; the blocks have room for them.
            unsafe {
                if self.weight {
                    let values = self.convolution.activated(simd, pixel, pixels, &mut activated);
                    let grid = Grid { values, row: 0, channels: from };
                    let gradient = widen(gradient, channels, padded, &mut filled);
                    let to = done.weight.as_mut_ptr();
                    correlate(simd, grid, window, gradient, channels, padded, to);
                }
                let to = match self.delta {
                    Delta::Unwanted => None,
                    Delta::Passing => Some(delta.as_mut_ptr()),
                    Delta::Kept(to) => Some(to.at(pixel * from, pixels * from)),
                };
                if let Some(to) = to {
                    let is_last = pixel + pixels == end;
                    let next = if is_last { std::ptr::null() } else { input.as_ptr_range().end };
                    let ahead = Ahead { from: [next, std::ptr::null()], pixel: from };
                    pull_back_pointwise(simd, self.phases, gradient, channels, to, from, ahead);
                    self.mask(simd, input.as_ptr(), to, pixels, &mut done.sums);
                }
            }
            pixel += pixels;
        }
    }

    #[inline(always)]
    fn spatial<S: Simd>(&self, simd: S, padded: usize, done: &mut Contribution) {
        let Convolution { geometry, input, .. } = self.convolution;
        let Geometry { height, width, from, to: channels, stride, .. } = geometry;
        let [rows, columns] = geometry.output();
        let (input_size, size) = (geometry.input_pixels() * from, rows * columns * channels);
        let mut grid = if self.weight { self.convolution.new_grid() } else { Vec::new() };
        let mut filled = vec![0.0; if padded == channels { 0 } else { rows * columns * padded }];
        // The output's gradients with zeros around them, as far as the turned kernel sees.
        let margin = geometry.margin();
        let [framed_rows, framed_columns] = geometry.framed();
        let framed_row = framed_columns * channels;
        let kept = match self.delta {
            Delta::Kept(to) => Some(to),
            Delta::Unwanted => None,
            Delta::Passing => unreachable!("it is kept where a kernel has several places"),
        };
        let mut framed = vec![0.0; if kept.is_some() { framed_rows * framed_row } else { 0 }];
        let mut scratch = Scratch::default();
        for image in self.part.start..self.part.end {
            let gradient = &self.gradient[image * size..][..size];
            // SAFETY: the grids are made for this; these images belong to this part alone.
            unsafe {
                if self.weight {
                    self.convolution.fill_grid(simd, image, &mut grid);
                    let row = self.convolution.grid_row();
                    let grid = Grid { values: &grid, row, channels: from };
                    let (window, to) = (self.convolution.window(), &mut done.weight);
                    if geometry.uses_winograd() {
                        let gradient = Grid { values: gradient, row: columns * channels, channels };
                        winograd::correlate(simd, grid, window, gradient, padded, to, &mut scratch);
                    } else {
                        let (gradient, to) =
                            (widen(gradient, channels, padded, &mut filled), to.as_mut_ptr());
                        correlate(simd, grid, window, gradient, channels, padded, to);
                    }
                }
                if let Some(to) = kept {
                    for (y, line) in gradient.chunks_exact(columns * channels).enumerate() {
                        let place = (y + margin) * framed_row + margin * channels;
                        framed[place..][..line.len()].copy_from_slice(line);
                    }
                    let to = to.at(image * input_size, input_size);
                    for phase in self.phases {
                        let Phase { first: [y, x], start: [row, column], kernel, packed } = phase;
                        let rows = (height - y).div_ceil(stride);
                        let columns = (width - x).div_ceil(stride);
                        let pixel = stride * from;
                        let to = to.add((y * width + x) * from);
                        let add = std::ptr::null();
                        let ahead = Ahead::NOTHING;
                        let place = Place { to, row: width * pixel, pixel, add, ahead };
                        let Some(packed) = packed else {
                            clear(place, rows, columns, from);
                            continue;
                        };
                        let values = &framed[row * framed_row + column * channels..];
                        let grid = Grid { values, row: framed_row, channels };
                        let window = Window { rows, columns, kernel: *kernel, stride: 1 };
                        packed.convolve(simd, grid, window, place, &mut scratch);
                    }
                    let input = input[image * input_size..][..input_size].as_ptr();
                    self.mask(simd, input, to, height * width, &mut done.sums);
                }
            }
        }
    }

    /// From `∂L/∂z` to `δ`.
    ///
    /// # Safety
    /// As for [`mask`].
    #[inline(always)]
    unsafe fn mask<S: Simd>(
        &self,
        simd: S,
        x: *const f32,
        to: *mut f32,
        pixels: usize,
        sums: &mut Sums,
    ) {
        if let (Some(map), Some(center)) = (self.convolution.activation, self.center) {
            // SAFETY: as the caller promises.
            unsafe { mask(simd, map, center.mean, x, to, pixels, sums) };
        }
    }
}

/// `∂L/∂z` of pixels that each output sees alone.
///
/// # Safety
/// `to` has room for as many pixels of `from` channels as `gradient` has of `channels`.
#[inline(always)]
pub(crate) unsafe fn pull_back_pointwise<S: Simd>(
    simd: S,
    phases: &[Phase],
    gradient: &[f32],
    channels: usize,
    to: *mut f32,
    from: usize,
    ahead: Ahead,
) {
    let [Phase { packed: Some(packed), .. }] = phases else {
        unreachable!("without a stride there is one phase, and outputs see it")
    };
    let columns = gradient.len() / channels;
    let window = Window { rows: 1, columns, kernel: [1, 1], stride: 1 };
    let grid = Grid { values: gradient, row: 0, channels };
    let place = Place { ahead, ..Place::dense(to, columns, from, std::ptr::null()) };
    // SAFETY: as the caller promises.
    unsafe { packed.convolve(simd, grid, window, place, &mut Scratch::default()) };
}

/// Zeros for pixels that no output sees.
///
/// # Safety
/// `rows · columns` pixels can be written.
unsafe fn clear(place: Place, rows: usize, columns: usize, channels: usize) {
    for y in 0..rows {
        for x in 0..columns {
            // SAFETY: a pixel of the place; zero bytes are the number zero.
            unsafe {
                place.to.add(y * place.row + x * place.pixel).write_bytes(0, channels);
            }
        }
    }
}

/// The pixels with their channels filled up to whole tiles, in `filled` if they are not already.
fn widen(values: &[f32], channels: usize, padded: usize, filled: &mut [f32]) -> *const f32 {
    if padded == channels {
        return values.as_ptr();
    }
    for (pixel, to) in values.chunks_exact(channels).zip(filled.chunks_exact_mut(padded)) {
        to[..channels].copy_from_slice(pixel);
    }
    filled.as_ptr()
}
