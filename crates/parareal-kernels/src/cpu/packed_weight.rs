//! The weight of a convolution, packed for the algorithm that applies it.

use pulp::Simd;

use crate::cpu::bf16_product::PairedPanels;
use crate::cpu::geometry::Geometry;
use crate::cpu::implicit_gemm::{AnyGrid, OutputView, Panels, Window, convolve};
use crate::cpu::scratch::Scratch;
use crate::cpu::winograd::TransformedKernel;

pub(crate) enum PackedWeight {
    /// For matrix products.
    Direct(Panels),
    /// For Winograd's algorithm.
    Winograd(TransformedKernel),
    /// For products of bfloat16 numbers.
    Paired(PairedPanels),
}

impl PackedWeight {
    /// Packs a kernel of these rows and columns. A `step` is an index into `[row, column, in_channels]`. The value in
    /// `column` at `step` is `weight[first + column · stride]`, where `[first, stride] = place(step)`.
    #[inline(always)]
    pub(crate) fn pack<S: Simd>(
        simd: S,
        geometry: &Geometry,
        kernel: [usize; 2],
        [in_channels, out_channels]: [usize; 2],
        weight: &[f32],
        place: impl Fn(usize) -> [usize; 2],
    ) -> Self {
        let channels = [in_channels, out_channels];
        if let Some(tile) = geometry.winograd_tile() {
            return Self::Winograd(TransformedKernel::pack(simd, tile, channels, weight, place));
        }
        let paired = geometry
            .products
            .and_then(|products| PairedPanels::pack(products, kernel, channels, weight, &place));
        match paired {
            Some(paired) => Self::Paired(paired),
            None => {
                let depth = kernel[0] * kernel[1] * in_channels;
                Self::Direct(Panels::pack::<S>(depth, out_channels, weight, place))
            }
        }
    }

    /// Computes `to = add + grid * kernel`.
    ///
    /// # Safety
    /// The grid can be read at all positions of the window. `rows · columns` output pixels can be
    /// written, and the addend, if not null, can be read for the same pixels. The window is the one
    /// for which the kernel was packed. The machine has the instructions of the geometry, which are used only where there
    /// is no addend.
    ///
    /// # Panics
    /// If the weight cannot be multiplied with narrow pixels: see [`Geometry::has_narrow_pixels`].
    #[inline(always)]
    pub(crate) unsafe fn convolve<S: Simd>(
        &self,
        simd: S,
        grid: AnyGrid<'_>,
        window: Window,
        place: OutputView,
        scratch: &mut Scratch,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            match (self, grid) {
                (Self::Direct(panels), AnyGrid::Wide(grid)) => {
                    convolve(simd, grid, window, panels, place);
                }
                (Self::Winograd(filter), AnyGrid::Wide(grid)) => {
                    filter.convolve(simd, grid, window, place, &mut scratch.winograd);
                }
                (Self::Paired(panels), AnyGrid::Wide(grid)) => {
                    panels.convolve(grid, window, place, &mut scratch.tiles);
                }
                (Self::Paired(panels), AnyGrid::Narrow(grid)) => {
                    panels.convolve_narrow(grid, window, place);
                }
                (_, AnyGrid::Narrow(_)) => panic!("narrow pixels for a weight of 32-bit floats"),
            }
        }
    }
}
