//! A convolution's kernel, packed for the way in which it is applied.

use pulp::Simd;

use crate::cpu::implicit_gemm::{Grid, Panels, Place, Window, convolve};
use crate::cpu::winograd::{Scratch, TransformedKernel};

pub(crate) enum PackedWeight {
    /// As it is.
    Direct(Panels),
    /// For tiles of 2×2 output pixels.
    Winograd(TransformedKernel),
}

impl PackedWeight {
    /// Packs a kernel of so many places and channels, for Winograd's tiles or not: `column` at
    /// `step`, that is `[place, from]`, is `weight[first + column · stride]`, with
    /// `[first, stride] = place(step)`.
    #[inline(always)]
    pub(crate) fn pack<S: Simd>(
        simd: S,
        winograd: bool,
        places: usize,
        [from, to]: [usize; 2],
        weight: &[f32],
        place: impl Fn(usize) -> [usize; 2],
    ) -> Self {
        match winograd {
            true => Self::Winograd(TransformedKernel::pack(simd, from, to, weight, place)),
            false => Self::Direct(Panels::pack::<S>(places * from, to, weight, place)),
        }
    }

    /// `to = add + grid * kernel`.
    ///
    /// # Safety
    /// The grid can be read wherever the window sees it; the place can be written for
    /// `rows · columns` pixels, and what it adds (if not null) read. The window is the one that the
    /// kernel was packed for.
    #[inline(always)]
    pub(crate) unsafe fn convolve<S: Simd>(
        &self,
        simd: S,
        grid: Grid<'_>,
        window: Window,
        place: Place,
        scratch: &mut Scratch,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            match self {
                Self::Direct(panels) => convolve(simd, grid, window, panels, place),
                Self::Winograd(filter) => filter.convolve(simd, grid, window, place, scratch),
            }
        }
    }
}
