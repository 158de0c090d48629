//! Second pass of the gradient of a normalization: computes the gradient of the input from `δ` and
//! its sums.
//!
//! `δ` is as large as the input. If computing `δ` takes less time than writing and reading it, the
//! first pass only sums it. The second pass then recomputes it, block by block in the first-level
//! cache.

use std::ops::Range;
use std::ptr::null;

use pulp::{Simd, WithSimd};

use crate::cpu::chunks::{Chunk, block_pixels, map_chunks};
use crate::cpu::convolution::Convolution;
use crate::cpu::element::Element;
use crate::cpu::elementwise::{Affine, NormCorrection, Sums, input_gradient};
use crate::cpu::folded_norm::SavedStatistics;
use crate::cpu::geometry::Geometry;
use crate::cpu::gradients::Gradients;
use crate::cpu::implicit_gemm::{Prefetch, Window};
use crate::cpu::scratch::Scratch;
use crate::cpu::shared_slice::{SharedSlice, vec_written_by};
use crate::cpu::stride_phase::{StridePhase, input_gradient_pointwise};
use crate::simd::SimdLevel;

/// Largest number of output channels for which `δ` is recomputed. Recomputing an element takes one
/// multiplication per output channel; storing it takes twelve bytes of memory traffic. The limit
/// was measured (see the log of `benchmarks/kernels`).
const MAX_RECOMPUTED_CHANNELS: usize = 16;

impl Geometry {
    /// Returns true if `δ` is cheaper to compute twice than to store.
    pub(crate) fn recomputes_delta(&self) -> bool {
        self.is_pointwise()
            && self.out_channels <= MAX_RECOMPUTED_CHANNELS
            && self.out_channels < self.in_channels
    }
}

/// The source of `δ`.
pub(crate) enum DeltaSource<'a, E> {
    /// The first pass stored it, `[batch, height, width, in_channels]`.
    Stored(Vec<E>),
    /// It is recomputed from the gradient of the output.
    Recomputed { gradient: &'a [E], phases: &'a [StridePhase] },
}

impl<E: Element> Convolution<'_, E> {
    /// Sets the gradients of scale, shift and input. With `sum`, the gradient of the input is added
    /// to `sum` instead.
    ///
    /// # Panics
    /// If `sum` is not as long as the input.
    pub(crate) fn norm_gradient(
        &self,
        level: SimdLevel,
        saved: SavedStatistics<'_>,
        sums: &Sums,
        source: DeltaSource<'_, E>,
        sum: Option<&mut [E]>,
        gradients: &mut Gradients<E>,
    ) {
        let Some(map) = self.activation else { return };
        let len = self.geometry.input_len();
        assert!(sum.as_ref().is_none_or(|sum| sum.len() == len));
        let terms = self.correction(map, saved, sums, gradients);
        let correction = NormCorrection { map, terms: &terms, mean: saved.mean };
        let pass = |delta: DeltaBuffer<'_, E>, to: SharedSlice<'_, E>, add: bool| {
            map_chunks(self.geometry.batch, self.geometry.input_pixels(), |chunk| {
                let convolution = *self;
                level.run(NormGradient { convolution, correction, delta, to, add, chunk });
            });
        };
        match (source, sum) {
            (DeltaSource::Stored(mut delta), None) => {
                pass(DeltaBuffer::InPlace, SharedSlice::new(&mut delta), false);
                gradients.input = Some(delta);
            }
            (DeltaSource::Stored(delta), Some(sum)) => {
                pass(DeltaBuffer::Separate(&delta), SharedSlice::new(sum), true);
            }
            (DeltaSource::Recomputed { gradient, phases }, None) => {
                let delta = DeltaBuffer::Recomputed { gradient, phases };
                // SAFETY: the chunks write all pixels, and read none.
                gradients.input = Some(unsafe { vec_written_by(len, |to| pass(delta, to, false)) });
            }
            (DeltaSource::Recomputed { gradient, phases }, Some(sum)) => {
                pass(DeltaBuffer::Recomputed { gradient, phases }, SharedSlice::new(sum), true);
            }
        }
    }

    /// Sets the gradients of scale and shift. Returns the terms that the dependence of the
    /// statistics on the input adds to the gradient of the input.
    fn correction(
        &self,
        map: &Affine,
        saved: SavedStatistics<'_>,
        sums: &Sums,
        gradients: &mut Gradients<E>,
    ) -> Affine {
        let Geometry { batch, in_channels, .. } = self.geometry;
        let count = (batch * self.geometry.input_pixels()) as f64;
        let is_batch = if saved.is_batch { 1.0 } else { 0.0 };
        let (all, count) = if saved.is_batch { sums.over_replicas(count) } else { (None, count) };
        let all = all.as_ref().unwrap_or(sums);
        let mut terms = Affine { slope: Vec::new(), offset: Vec::new() };
        let mut by_scale = Vec::with_capacity(in_channels);
        for (c, &sum) in sums.gradient.iter().enumerate() {
            let (mean_residual, inverse_std) = (saved.mean_residual[c], saved.inverse_std[c]);
            by_scale.push((inverse_std * (sums.product[c] - mean_residual * sum)) as f32);
            let (sum, product) =
                (all.gradient[c], all.product[c] - mean_residual * all.gradient[c]);
            let scale = -is_batch * f64::from(map.slope[c]) / count;
            let slope = scale * inverse_std * inverse_std * product;
            terms.slope.push(slope as f32);
            terms.offset.push((scale * sum - slope * mean_residual) as f32);
        }
        gradients.scale = Some(by_scale);
        gradients.shift = Some(sums.gradient.iter().map(|&sum| sum as f32).collect());
        terms
    }
}

/// The source of `δ` in the second pass.
#[derive(Clone, Copy)]
enum DeltaBuffer<'a, E> {
    /// `δ` is stored in the memory of the result, which overwrites it.
    InPlace,
    Separate(&'a [E]),
    Recomputed {
        gradient: &'a [E],
        phases: &'a [StridePhase],
    },
}

struct NormGradient<'a, E> {
    convolution: Convolution<'a, E>,
    correction: NormCorrection<'a>,
    delta: DeltaBuffer<'a, E>,
    to: SharedSlice<'a, E>,
    add: bool,
    chunk: Chunk,
}

impl<E: Element> WithSimd for NormGradient<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.add {
            false => self.run::<S, false>(simd),
            true => self.run::<S, true>(simd),
        }
    }
}

impl<E: Element> NormGradient<'_, E> {
    #[inline(always)]
    fn run<S: Simd, const ADD: bool>(&self, simd: S) {
        let Convolution { geometry, input, .. } = self.convolution;
        let Geometry { in_channels, out_channels: channels, .. } = geometry;
        let block = block_pixels(in_channels);
        let is_recomputed = matches!(self.delta, DeltaBuffer::Recomputed { .. });
        let mut recomputed = vec![0.0; if is_recomputed { block * in_channels } else { 0 }];
        let mut wide = Vec::new();
        let mut scratch = Scratch::default();
        let Range { start: mut pixel, end } = self.chunk.values(geometry.input_pixels());
        while pixel < end {
            let pixels = block.min(end - pixel);
            let (first, len) = (pixel * in_channels, pixels * in_channels);
            let (x, correction) = (input[first..][..len].as_ptr(), self.correction);
            // SAFETY: these pixels belong to this chunk alone; the block has room for them.
            unsafe {
                let to = self.to.at(first, len);
                match self.delta {
                    DeltaBuffer::InPlace => {
                        input_gradient::<S, E, E, false, ADD>(simd, correction, x, to, to, pixels);
                    }
                    DeltaBuffer::Separate(delta) => {
                        let delta = delta[first..][..len].as_ptr();
                        input_gradient::<S, E, E, false, ADD>(
                            simd, correction, x, delta, to, pixels,
                        );
                    }
                    DeltaBuffer::Recomputed { gradient, phases } => {
                        let gradient = &gradient[pixel * channels..][..pixels * channels];
                        let gradient = self.convolution.gradient_row(simd, gradient, &mut wide);
                        let delta = recomputed.as_mut_ptr();
                        let next = if pixel + pixels < end { first + len } else { first };
                        let sum = if ADD { self.to.at(next, 0).cast_const() } else { null() };
                        let from = [input[next..].as_ptr(), sum];
                        let prefetch = Prefetch::new(from, [in_channels; 2]);
                        input_gradient_pointwise(
                            simd,
                            phases,
                            (gradient, Window::of_row(pixels)),
                            (delta, in_channels),
                            prefetch,
                            &mut scratch,
                        );
                        input_gradient::<S, E, f32, true, ADD>(
                            simd, correction, x, delta, to, pixels,
                        );
                    }
                }
            }
            pixel += pixels;
        }
    }
}
