//! The weight of a convolution, packed for the algorithm that applies it.

use pulp::Simd;

use crate::cpu::implicit_gemm::{Grid, OutputView, Panels, Window, convolve};
use crate::cpu::winograd::{Scratch, Tile, TransformedKernel};

pub(crate) enum PackedWeight {
    /// For matrix products.
    Direct(Panels),
    /// For Winograd's algorithm.
    Winograd(TransformedKernel),
}

impl PackedWeight {
    /// Packs a kernel with `places` positions. A `step` is an index into `[position, in_channels]`.
    /// The value in `column` at `step` is `weight[first + column · stride]`, where
    /// `[first, stride] = place(step)`.
    #[inline(always)]
    pub(crate) fn pack<S: Simd>(
        simd: S,
        tile: Option<Tile>,
        places: usize,
        [in_channels, out_channels]: [usize; 2],
        weight: &[f32],
        place: impl Fn(usize) -> [usize; 2],
    ) -> Self {
        match tile {
            Some(tile) => {
                let channels = [in_channels, out_channels];
                Self::Winograd(TransformedKernel::pack(simd, tile, channels, weight, place))
            }
            None => {
                Self::Direct(Panels::pack::<S>(places * in_channels, out_channels, weight, place))
            }
        }
    }

    /// Computes `to = add + grid * kernel`.
    ///
    /// # Safety
    /// The grid can be read at all positions of the window. `rows · columns` output pixels can be
    /// written, and the addend, if not null, can be read for the same pixels. The window is the one
    /// for which the kernel was packed.
    #[inline(always)]
    pub(crate) unsafe fn convolve<S: Simd>(
        &self,
        simd: S,
        grid: Grid<'_>,
        window: Window,
        place: OutputView,
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
