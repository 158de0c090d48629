//! Input gradient of a strided convolution, as a set of convolutions without a stride.
//!
//! There is one convolution for each phase of the stride. It uses some positions of the flipped
//! kernel.

use pulp::{Simd, WithSimd};

use crate::cpu::geometry::Geometry;
use crate::cpu::implicit_gemm::{AnyGrid, OutputView, Prefetch, Window};
use crate::cpu::packed_weight::PackedWeight;
use crate::cpu::scratch::Scratch;

/// The input pixels of one phase of the stride: every `stride`-th pixel of every `stride`-th row,
/// starting at `first`. The forward pass multiplies all of them by the same positions of the
/// kernel.
///
/// Input row `u = stride · v + first` contributes to output row `i` through kernel row
/// `k = u + padding - stride · i`, so `k` is one of `k_0, k_0 + stride, ..` with
/// `k_0 = (first + padding) mod stride`. In reverse order, `i` increases by one from each `k` to
/// the next. The gradient of these pixels is therefore a convolution without a stride.
pub(crate) struct StridePhase {
    pub(crate) first: [usize; 2],
    /// Row and column, in the padded gradient, at which the window of the first pixel starts.
    pub(crate) start: [usize; 2],
    pub(crate) kernel: [usize; 2],
    /// `None` if no output depends on these pixels.
    pub(crate) packed: Option<PackedWeight>,
}

impl Geometry {
    /// Number of rows (or columns) of zeros before the gradient of the output.
    pub(crate) fn margin(&self) -> usize {
        (self.kernel - 1) / self.stride
    }

    /// Rows and columns of the gradient of the output, including its padding.
    pub(crate) fn framed(&self) -> [usize; 2] {
        [self.height, self.width]
            .map(|size| self.margin() + (size - 1 + self.padding) / self.stride + 1)
    }
}

/// Packs the kernel for each phase of the stride.
pub(crate) struct PackPhases<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) geometry: &'a Geometry,
}

impl WithSimd for PackPhases<'_> {
    type Output = Vec<StridePhase>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<StridePhase> {
        let geometry = *self.geometry;
        let Geometry { height, width, in_channels, out_channels, kernel, stride, padding, .. } =
            geometry;
        let rows = stride.min(height);
        let columns = stride.min(width);
        // Loops instead of closures, which would be compiled without the vector instructions.
        let mut phases = Vec::with_capacity(rows * columns);
        for first in (0..rows).flat_map(|y| (0..columns).map(move |x| [y, x])) {
            let lowest = first.map(|first| (first + padding) % stride);
            let places = lowest.map(|lowest| kernel.saturating_sub(lowest).div_ceil(stride));
            let start = [0, 1].map(|axis| {
                let base = (first[axis] + padding - lowest[axis]) / stride;
                (geometry.margin() + base + 1).saturating_sub(places[axis])
            });
            let place = |step: usize| {
                let (place, channel) = (step / out_channels, step % out_channels);
                let flipped = [place / places[1], place % places[1]];
                let [row, line] =
                    [0, 1].map(|axis| lowest[axis] + stride * (places[axis] - 1 - flipped[axis]));
                [channel * in_channels * kernel * kernel + row * kernel + line, kernel * kernel]
            };
            let channels = [out_channels, in_channels];
            let mut packed = None;
            if places[0] * places[1] > 0 {
                let weight = self.weight;
                packed = Some(PackedWeight::pack(simd, &geometry, places, channels, weight, place));
            }
            phases.push(StridePhase { first, start, kernel: places, packed });
        }
        phases
    }
}

/// Computes `∂L/∂z` of a pointwise convolution.
///
/// # Safety
/// The window is one row of pixels, and `to` has room for them with `in_channels` channels each. The gradient can be read at
/// all of them.
#[inline(always)]
pub(crate) unsafe fn input_gradient_pointwise<S: Simd>(
    simd: S,
    phases: &[StridePhase],
    (gradient, window): (AnyGrid<'_>, Window),
    (to, in_channels): (*mut f32, usize),
    prefetch: Prefetch,
    scratch: &mut Scratch,
) {
    let [StridePhase { packed: Some(packed), .. }] = phases else {
        unreachable!("without a stride there is one phase, and outputs depend on it")
    };
    let columns = window.columns;
    let place =
        OutputView { prefetch, ..OutputView::dense(to, columns, in_channels, std::ptr::null()) };
    // SAFETY: as the caller promises.
    unsafe { packed.convolve(simd, gradient, window, place, scratch) };
}
