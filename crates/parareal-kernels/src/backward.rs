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
//! the statistics are constants (evaluation). `variance` includes the small constant `ε`.

use pulp::{Simd, WithSimd};

use crate::SimdLevel;
use crate::elementwise::{Affine, Sums, combine, mask};
use crate::forward::{Convolution, block_pixels};
use crate::geometry::Geometry;
use crate::memory::{Target, written_by};
use crate::parts::{Part, each_part};
use crate::product::{Grid, Panels, Window, convolve, correlate};
use crate::tile::tile_width;

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
    /// Pulls the gradient of the output back. Whatever reached the input by another way, `skip`,
    /// is added to its gradient.
    ///
    /// # Panics
    /// Where `gradient` or `skip` do not have the sizes that the geometry says, or there is an
    /// activation without its `center`.
    pub(crate) fn backward(
        &self,
        level: SimdLevel,
        gradient: &[f32],
        center: Option<Center<'_>>,
        skip: Option<&[f32]>,
        wanted: Wanted,
    ) -> Gradients {
        let geometry = self.geometry;
        assert_eq!(gradient.len(), geometry.output_len());
        assert_eq!(self.activation.is_some(), center.is_some());
        assert!(skip.is_none_or(|skip| skip.len() == geometry.input_len()));
        let panels = level.run(PackBackward { weight: self.weight, geometry: &geometry });
        let pass = |to: Option<Target<'_>>| {
            each_part(geometry.batch, |part| {
                let (convolution, panels, weight) = (*self, &panels, wanted.weight);
                level.run(Backward { convolution, panels, gradient, center, to, weight, part })
            })
        };
        let mut gradients = Gradients::default();
        let parts;
        if wanted.input {
            let mut all = Vec::new();
            // SAFETY: the parts write the gradients of all input pixels before they read them.
            let mut input = unsafe { written_by(geometry.input_len(), |to| all = pass(Some(to))) };
            parts = all;
            let mut sums = Sums::new(geometry.from);
            parts.iter().for_each(|part| sums.add(&part.sums));
            self.finish(level, &mut input, center, skip, &sums, &mut gradients);
            gradients.input = Some(input);
        } else {
            parts = pass(None);
        }
        if wanted.weight {
            gradients.weight = Some(self.unpack(level, parts.into_iter().map(|part| part.weight)));
        }
        gradients
    }

    /// From `δ` to the gradient of the input, and the gradients of scale and shift.
    fn finish(
        &self,
        level: SimdLevel,
        input: &mut [f32],
        center: Option<Center<'_>>,
        skip: Option<&[f32]>,
        sums: &Sums,
        gradients: &mut Gradients,
    ) {
        let geometry = self.geometry;
        let (Some(map), Some(center)) = (self.activation, center) else {
            if let Some(skip) = skip {
                input.iter_mut().zip(skip).for_each(|(gradient, skip)| *gradient += skip);
            }
            return;
        };
        let count = (geometry.batch * geometry.input_pixels()) as f64;
        let of_batch = if center.of_batch { 1.0 } else { 0.0 };
        let mut correction = Affine {
            slope: Vec::with_capacity(geometry.from),
            offset: Vec::with_capacity(geometry.from),
        };
        let (mut by_scale, by_shift) = (Vec::with_capacity(geometry.from), &sums.gradient);
        for (c, &sum) in by_shift.iter().enumerate() {
            let (rest, inverse) = (center.rest[c], center.inverse[c]);
            let product = sums.product[c] - rest * sum;
            by_scale.push((inverse * product) as f32);
            let scale = -of_batch * f64::from(map.slope[c]) / count;
            let slope = scale * inverse * inverse * product;
            correction.slope.push(slope as f32);
            correction.offset.push((scale * sum - slope * rest) as f32);
        }
        let to = Target::new(input);
        each_part(geometry.batch, |part| {
            let (scale, correction, x) = (&map.slope, &correction, self.input);
            let (mean, size) = (center.mean, geometry.input_pixels() * geometry.from);
            level.run(Finish { scale, correction, mean, x, skip, to, part, size });
        });
        gradients.scale = Some(by_scale);
        gradients.shift = Some(by_shift.iter().map(|&sum| sum as f32).collect());
    }

    /// The sum over parts, in the layout of the kernel.
    fn unpack(&self, level: SimdLevel, parts: impl Iterator<Item = Vec<f32>>) -> Vec<f32> {
        let Geometry { from, to, kernel, .. } = self.geometry;
        let sum = parts.reduce(|mut sum, part| {
            sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
            sum
        });
        let sum = sum.unwrap_or_default();
        let padded = level.run(Padded(to));
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

/// Columns, filled up to whole tiles.
struct Padded(usize);

impl WithSimd for Padded {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        self.0.next_multiple_of(tile_width::<S>(self.0))
    }
}

struct PackBackward<'a> {
    weight: &'a [f32],
    geometry: &'a Geometry,
}

impl WithSimd for PackBackward<'_> {
    type Output = Panels;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Panels {
        let Geometry { from, to, kernel, .. } = *self.geometry;
        let places = kernel * kernel;
        Panels::pack::<S>(places * to, from, |step, column| {
            let (place, channel) = (step / to, step % to);
            self.weight[(channel * from + column) * places + places - 1 - place]
        })
    }
}

struct Backward<'a> {
    convolution: Convolution<'a>,
    panels: &'a Panels,
    gradient: &'a [f32],
    center: Option<Center<'a>>,
    /// Where `δ` goes, if the gradient of the input is wanted.
    to: Option<Target<'a>>,
    weight: bool,
    part: Part,
}

/// What a part contributes to the gradients of parameters.
struct Contribution {
    sums: Sums,
    /// `[kernel row, kernel column, from][to, padded]`.
    weight: Vec<f32>,
}

impl WithSimd for Backward<'_> {
    type Output = Contribution;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Contribution {
        let geometry = self.convolution.geometry;
        let padded = geometry.to.next_multiple_of(tile_width::<S>(geometry.to));
        let weight = if self.weight { geometry.depth() * padded } else { 0 };
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
        let Convolution { geometry, input, activation, .. } = self.convolution;
        let Geometry { from, to: channels, .. } = geometry;
        let block = block_pixels(from.max(channels));
        let mut activated = vec![0.0; block * from];
        let mut filled = vec![0.0; if padded == channels { 0 } else { block * padded }];
        let end = self.part.end * geometry.input_pixels();
        let mut pixel = self.part.start * geometry.input_pixels();
        while pixel < end {
            let pixels = block.min(end - pixel);
            let window = Window { rows: 1, columns: pixels, kernel: 1, stride: 1 };
            let input = input[pixel * from..][..pixels * from].as_ptr();
            let gradient = &self.gradient[pixel * channels..][..pixels * channels];
            // SAFETY: these pixels belong to this part alone; the blocks have room for them.
            unsafe {
                if self.weight {
                    let start = match activation {
                        Some(map) => {
                            let to = activated.as_mut_ptr();
                            crate::elementwise::activate(simd, map, input, to, pixels);
                            activated.as_ptr()
                        }
                        None => input,
                    };
                    let grid = Grid { start, row: 0, channels: from };
                    let gradient = widen(gradient, channels, padded, &mut filled);
                    let to = done.weight.as_mut_ptr();
                    correlate(simd, grid, window, gradient, channels, padded, to);
                }
                if let Some(to) = self.to {
                    let start = gradient.as_ptr();
                    let grid = Grid { start, row: 0, channels };
                    let to = to.at(pixel * from, pixels * from);
                    convolve(simd, grid, window, self.panels, to, std::ptr::null());
                    self.mask(simd, input, to, pixels, &mut done.sums);
                }
            }
            pixel += pixels;
        }
    }

    #[inline(always)]
    fn spatial<S: Simd>(&self, simd: S, padded: usize, done: &mut Contribution) {
        let Convolution { geometry, input, .. } = self.convolution;
        let Geometry { height, width, from, to: channels, kernel, stride, padding, .. } = geometry;
        let [rows, columns] = geometry.output();
        let (input_size, size) = (geometry.input_pixels() * from, rows * columns * channels);
        let mut grid = if self.weight { self.convolution.new_grid() } else { Vec::new() };
        let mut filled = vec![0.0; if padded == channels { 0 } else { rows * columns * padded }];
        // The output's gradients, as far from each other as the stride says, in a margin that
        // leaves as many places as the input has for the kernel.
        let spread_row = (width + kernel - 1) * channels;
        let spread_len = if self.to.is_some() { (height + kernel - 1) * spread_row } else { 0 };
        let mut spread = vec![0.0; spread_len];
        for image in self.part.start..self.part.end {
            let gradient = &self.gradient[image * size..][..size];
            // SAFETY: the grids are made for this; these images belong to this part alone.
            unsafe {
                if self.weight {
                    self.convolution.fill_grid(simd, image, &mut grid);
                    let row = self.convolution.grid_row();
                    let grid = Grid { start: grid.as_ptr(), row, channels: from };
                    let gradient = widen(gradient, channels, padded, &mut filled);
                    let (window, to) = (self.convolution.window(), done.weight.as_mut_ptr());
                    correlate(simd, grid, window, gradient, channels, padded, to);
                }
                if let Some(to) = self.to {
                    let margin = kernel - 1 - padding;
                    for y in 0..rows {
                        for x in 0..columns {
                            let pixel = &gradient[(y * columns + x) * channels..][..channels];
                            let place = (y * stride + margin) * spread_row
                                + (x * stride + margin) * channels;
                            spread[place..][..channels].copy_from_slice(pixel);
                        }
                    }
                    let grid = Grid { start: spread.as_ptr(), row: spread_row, channels };
                    let window = Window { rows: height, columns: width, kernel, stride: 1 };
                    let to = to.at(image * input_size, input_size);
                    convolve(simd, grid, window, self.panels, to, std::ptr::null());
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

struct Finish<'a> {
    scale: &'a [f32],
    correction: &'a Affine,
    mean: &'a [f32],
    x: &'a [f32],
    skip: Option<&'a [f32]>,
    to: Target<'a>,
    part: Part,
    size: usize,
}

impl WithSimd for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (begin, len) = (self.part.start * self.size, self.part.len() * self.size);
        let x = self.x[begin..][..len].as_ptr();
        let skip = self.skip.map_or(std::ptr::null(), |skip| skip[begin..][..len].as_ptr());
        let pixels = len / self.scale.len();
        // SAFETY: these pixels belong to this part alone.
        unsafe {
            let to = self.to.at(begin, len);
            combine(simd, self.scale, self.correction, self.mean, x, skip, to, pixels);
        }
    }
}
