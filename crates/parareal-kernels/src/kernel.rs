//! A convolution's kernel, packed for the way in which it is applied.

use pulp::Simd;

use crate::product::{Grid, Panels, Place, Window, convolve};
use crate::winograd::{Filter, Room};

pub(crate) enum Kernel {
    /// As it is.
    Plain(Panels),
    /// For tiles of 2×2 output pixels.
    Minimal(Filter),
}

impl Kernel {
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
        room: &mut Room,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            match self {
                Self::Plain(panels) => convolve(simd, grid, window, panels, place),
                Self::Minimal(filter) => filter.convolve(simd, grid, window, place, room),
            }
        }
    }
}
