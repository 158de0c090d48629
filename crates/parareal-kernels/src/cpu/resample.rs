//! Resampling of channels-last images to half or twice their size: sums over blocks of 2×2 pixels,
//! and the transposed operation, which repeats each pixel in its block.
//!
//! Let `B(p)` be the block of the fine image that corresponds to pixel `p` of the coarse image:
//!
//! ```text
//! restrict(fine)[p]    = factor · Σ over q in B(p) of  fine[q]
//! prolong(coarse)[q]   = residual[q] + factor · coarse[p],  q in B(p)
//! ```
//!
//! Average pooling is `restrict` with a factor of 1/4, and nearest-neighbor interpolation is
//! `prolong` with a factor of 1. With the same factor and without a residual, each operation
//! computes the gradient of the other.

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use crate::cpu::element::Element;

/// The sizes of a coarse image, whose pixels correspond to blocks of 2×2 pixels of a fine image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resample {
    /// Rows of the coarse image.
    pub(crate) height: usize,
    /// Columns of the coarse image.
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Resample {
    fn coarse_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Sums the pixels of each block, and multiplies by `factor`.
    pub(crate) fn restrict<E: Element>(&self, fine: &[E], factor: f32) -> Vec<E> {
        let line = self.width * self.channels;
        let mut coarse = vec![E::default(); fine.len() / 4];
        let images = coarse.par_chunks_mut(self.coarse_len());
        images.zip(fine.par_chunks(4 * self.coarse_len())).for_each(|(coarse, fine)| {
            // A row of the coarse image and the two corresponding rows of the fine image.
            for (row, pair) in coarse.chunks_exact_mut(line).zip(fine.chunks_exact(4 * line)) {
                let (upper, lower) = pair.split_at(2 * line);
                let blocks = |row| <[E]>::chunks_exact(row, 2 * self.channels);
                let pixels = row.chunks_exact_mut(self.channels);
                for ((to, upper), lower) in pixels.zip(blocks(upper)).zip(blocks(lower)) {
                    let (upper_left, upper_right) = upper.split_at(self.channels);
                    let (lower_left, lower_right) = lower.split_at(self.channels);
                    let left = upper_left.iter().zip(lower_left);
                    let right = upper_right.iter().zip(lower_right);
                    for ((to, (a, b)), (c, d)) in to.iter_mut().zip(left).zip(right) {
                        let [a, b, c, d] = [a, b, c, d].map(|value| value.widen());
                        *to = E::narrow(factor * ((a + c) + (b + d)));
                    }
                }
            }
        });
        coarse
    }

    /// Repeats each pixel in its block, multiplied by `factor`, and adds the residual if there is
    /// one.
    pub(crate) fn prolong<E: Element>(
        &self,
        coarse: &[E],
        factor: f32,
        residual: Option<&[E]>,
    ) -> Vec<E> {
        let line = self.width * self.channels;
        let zeros = || vec![E::default(); 4 * coarse.len()];
        let mut fine = residual.map_or_else(zeros, <[E]>::to_vec);
        let images = fine.par_chunks_mut(4 * self.coarse_len());
        images.zip(coarse.par_chunks(self.coarse_len())).for_each(|(fine, coarse)| {
            for (pair, row) in fine.chunks_exact_mut(4 * line).zip(coarse.chunks_exact(line)) {
                for to in pair.chunks_exact_mut(2 * line) {
                    let blocks = to.chunks_exact_mut(2 * self.channels);
                    for (block, from) in blocks.zip(row.chunks_exact(self.channels)) {
                        for pixel in block.chunks_exact_mut(self.channels) {
                            for (to, from) in pixel.iter_mut().zip(from) {
                                *to = E::narrow(to.widen() + factor * from.widen());
                            }
                        }
                    }
                }
            }
        });
        fine
    }
}
