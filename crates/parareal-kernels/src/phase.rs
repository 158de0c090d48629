//! The turned kernel of a strided convolution, in parts without a stride.

use pulp::{Simd, WithSimd};

use crate::geometry::Geometry;
use crate::kernel::Kernel;

/// The input pixels that lie alike to the stride: every `stride`-th of a row and of a column, from
/// `first` on. The same places of the kernel have seen them.
///
/// Input row `u = stride · v + first` was seen by output row `i` through kernel row
/// `k = u + padding - stride · i`, so `k` is one of `k_0, k_0 + stride, ..` with
/// `k_0 = (first + padding) mod stride`; the places taken backwards, `i` goes up by one from each
/// to the next. So the gradient of these pixels is a convolution without a stride.
pub(crate) struct Phase {
    pub(crate) first: [usize; 2],
    /// Where the first pixel's window starts in the framed gradient.
    pub(crate) start: [usize; 2],
    pub(crate) kernel: [usize; 2],
    /// `None` where no place of the kernel has seen these pixels.
    pub(crate) packed: Option<Kernel>,
}

impl Geometry {
    /// Zeros before the output's gradient: the turned kernel's places but one.
    pub(crate) fn margin(&self) -> usize {
        (self.kernel - 1) / self.stride
    }

    /// Rows and columns of the gradient with its frame of zeros.
    pub(crate) fn framed(&self) -> [usize; 2] {
        [self.height, self.width]
            .map(|size| self.margin() + (size - 1 + self.padding) / self.stride + 1)
    }
}

/// Packs the kernel for the phases of its stride.
pub(crate) struct PackBackward<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) geometry: &'a Geometry,
}

impl WithSimd for PackBackward<'_> {
    type Output = Vec<Phase>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<Phase> {
        let geometry = *self.geometry;
        let Geometry { height, width, from, to, kernel, stride, padding, .. } = geometry;
        let rows = stride.min(height);
        let columns = stride.min(width);
        let firsts = (0..rows).flat_map(|y| (0..columns).map(move |x| [y, x]));
        firsts
            .map(|first| {
                let lowest = first.map(|first| (first + padding) % stride);
                let places = lowest.map(|lowest| kernel.saturating_sub(lowest).div_ceil(stride));
                let start = [0, 1].map(|axis| {
                    let base = (first[axis] + padding - lowest[axis]) / stride;
                    (geometry.margin() + base + 1).saturating_sub(places[axis])
                });
                let place = |step: usize| {
                    let (place, channel) = (step / to, step % to);
                    let turned = [place / places[1], place % places[1]];
                    let [row, line] = [0, 1]
                        .map(|axis| lowest[axis] + stride * (places[axis] - 1 - turned[axis]));
                    [channel * from * kernel * kernel + row * kernel + line, kernel * kernel]
                };
                let (winograd, count) = (geometry.uses_winograd(), places[0] * places[1]);
                let packed = (count > 0)
                    .then(|| Kernel::pack(simd, winograd, count, [to, from], self.weight, place));
                Phase { first, start, kernel: places, packed }
            })
            .collect()
    }
}
