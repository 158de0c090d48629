//! The second half of a normalization's gradient: from `δ` and its sums to the input's gradient.
//!
//! `δ` is as large as the input. Where computing it costs less than writing and reading it, the
//! first pass only sums it up and this one computes it again, block by block in the first cache.

use std::ptr::null;

use pulp::{Simd, WithSimd};

use crate::SimdLevel;
use crate::backward::{Center, Gradients, pull_back_pointwise};
use crate::elementwise::{Affine, Correction, Sums, combine};
use crate::forward::{Convolution, block_pixels};
use crate::geometry::Geometry;
use crate::memory::{Target, written_by};
use crate::parts::{Part, each_part};
use crate::phase::Phase;
use crate::product::Ahead;

/// Output channels up to which `δ` is computed twice: a number of it costs as many multiplications,
/// against twelve bytes to memory and back. Measured: see the log of `benchmarks/kernels`.
const TWICE: usize = 16;

impl Geometry {
    /// Whether the first half of the gradient is cheaper to compute twice than to keep.
    pub(crate) fn is_cheaper_twice(&self) -> bool {
        self.is_pointwise() && self.to <= TWICE && self.to < self.from
    }
}

/// Where `δ` comes from.
pub(crate) enum Source<'a> {
    /// It was kept, `[batch, height, width, from]`.
    Kept(Vec<f32>),
    /// It is computed again from the output's gradient.
    Again { gradient: &'a [f32], phases: &'a [Phase] },
}

impl Convolution<'_> {
    /// The gradients of scale, shift and input; the last is added to `sum`, if there is one.
    ///
    /// # Panics
    /// Where `sum` is not as long as the input.
    pub(crate) fn finish(
        &self,
        level: SimdLevel,
        center: Center<'_>,
        sums: &Sums,
        source: Source<'_>,
        sum: Option<&mut [f32]>,
        gradients: &mut Gradients,
    ) {
        let Some(map) = self.activation else { return };
        let len = self.geometry.input_len();
        assert!(sum.as_ref().is_none_or(|sum| sum.len() == len));
        let terms = self.correction(map, center, sums, gradients);
        let correction = Correction { map, terms: &terms, mean: center.mean };
        let pass = |delta: Held<'_>, to: Target<'_>, add: bool| {
            each_part(self.geometry.batch, |part| {
                let convolution = *self;
                level.run(Finish { convolution, correction, delta, to, add, part });
            });
        };
        match (source, sum) {
            (Source::Kept(mut delta), None) => {
                pass(Held::Target, Target::new(&mut delta), false);
                gradients.input = Some(delta);
            }
            (Source::Kept(delta), Some(sum)) => {
                pass(Held::Elsewhere(&delta), Target::new(sum), true);
            }
            (Source::Again { gradient, phases }, None) => {
                let again = Held::Nowhere { gradient, phases };
                // SAFETY: the parts write all pixels, and read none.
                gradients.input = Some(unsafe { written_by(len, |to| pass(again, to, false)) });
            }
            (Source::Again { gradient, phases }, Some(sum)) => {
                pass(Held::Nowhere { gradient, phases }, Target::new(sum), true);
            }
        }
    }

    /// The gradients of scale and shift, and what the statistics add to that of the input.
    fn correction(
        &self,
        map: &Affine,
        center: Center<'_>,
        sums: &Sums,
        gradients: &mut Gradients,
    ) -> Affine {
        let Geometry { batch, from, .. } = self.geometry;
        let count = (batch * self.geometry.input_pixels()) as f64;
        let of_batch = if center.of_batch { 1.0 } else { 0.0 };
        let mut terms = Affine { slope: Vec::new(), offset: Vec::new() };
        let mut by_scale = Vec::with_capacity(from);
        for (c, &sum) in sums.gradient.iter().enumerate() {
            let (rest, inverse) = (center.rest[c], center.inverse[c]);
            let product = sums.product[c] - rest * sum;
            by_scale.push((inverse * product) as f32);
            let scale = -of_batch * f64::from(map.slope[c]) / count;
            let slope = scale * inverse * inverse * product;
            terms.slope.push(slope as f32);
            terms.offset.push((scale * sum - slope * rest) as f32);
        }
        gradients.scale = Some(by_scale);
        gradients.shift = Some(sums.gradient.iter().map(|&sum| sum as f32).collect());
        terms
    }
}

/// Where `δ` is.
#[derive(Clone, Copy)]
enum Held<'a> {
    /// Where the gradient goes.
    Target,
    Elsewhere(&'a [f32]),
    Nowhere {
        gradient: &'a [f32],
        phases: &'a [Phase],
    },
}

struct Finish<'a> {
    convolution: Convolution<'a>,
    correction: Correction<'a>,
    delta: Held<'a>,
    to: Target<'a>,
    add: bool,
    part: Part,
}

impl WithSimd for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (self.delta, self.add) {
            (Held::Nowhere { .. }, false) => self.run::<S, true, false>(simd),
            (Held::Nowhere { .. }, true) => self.run::<S, true, true>(simd),
            (_, false) => self.run::<S, false, false>(simd),
            (_, true) => self.run::<S, false, true>(simd),
        }
    }
}

impl Finish<'_> {
    #[inline(always)]
    fn run<S: Simd, const MASK: bool, const ADD: bool>(&self, simd: S) {
        let Convolution { geometry, input, .. } = self.convolution;
        let Geometry { from, to: channels, .. } = geometry;
        let block = block_pixels(from);
        let mut again = vec![0.0; if MASK { block * from } else { 0 }];
        let end = self.part.end * geometry.input_pixels();
        let mut pixel = self.part.start * geometry.input_pixels();
        while pixel < end {
            let pixels = block.min(end - pixel);
            let (first, len) = (pixel * from, pixels * from);
            // SAFETY: these pixels belong to this part alone; the block has room for them.
            unsafe {
                let to = self.to.at(first, len);
                let delta = match self.delta {
                    Held::Target => to.cast_const(),
                    Held::Elsewhere(delta) => delta[first..][..len].as_ptr(),
                    Held::Nowhere { gradient, phases } => {
                        let gradient = &gradient[pixel * channels..][..pixels * channels];
                        let to = again.as_mut_ptr();
                        let next = if pixel + pixels < end { first + len } else { first };
                        let sum = if ADD { self.to.at(next, 0).cast_const() } else { null() };
                        let ahead = Ahead { from: [input[next..].as_ptr(), sum], pixel: from };
                        pull_back_pointwise(simd, phases, gradient, channels, to, from, ahead);
                        to.cast_const()
                    }
                };
                let x = input[first..][..len].as_ptr();
                combine::<S, MASK, ADD>(simd, self.correction, x, delta, to, pixels);
            }
            pixel += pixels;
        }
    }
}
