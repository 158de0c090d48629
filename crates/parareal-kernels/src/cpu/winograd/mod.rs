//! 3×3 convolutions without a stride, with fewer multiplications.
//!
//! This is Winograd's minimal filtering algorithm F(m×m, 3×3), with m = 2 or 4; see Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks" (2016).
//!
//! The m×m output pixels `y` of a tile are computed from (m+2)×(m+2) input pixels `d` and a kernel `g`:
//!
//! ```text
//! y  = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A            ⊙: point by point, (m+2)² products instead of 9m²
//! ∂g = Gᵀ [(A ∂y Aᵀ) ⊙ (Bᵀ d B)] G           its adjoint, for the weight gradient
//! ```
//!
//! Over all channels, each of the points is a matrix product, and the transforms are linear combinations of
//! vectors of channels. The gradient of the input needs no separate formula:
//! it is the same convolution with the flipped kernel (`stride_phase`).
//!
//! The rounding error of an output depends on the largest of the inputs of its tile, and not
//! only on the nine inputs that determine the output. An infinite input makes all outputs of
//! its tile NaN or infinite. Relative errors with 16 to 256 channels: 1e-7 to 2e-7 without transforms, 1e-7 to 4e-7
//! with m = 2, 4e-7 to 1.3e-6 with m = 4.

mod block;
mod forward;
mod transform;
mod weight_gradient;

use super::geometry::Geometry;

pub(crate) use block::Scratch;
pub(crate) use forward::TransformedKernel;
pub(crate) use weight_gradient::{InverseTransformKernel, correlate, transformed_len};

/// The numbers of channels must be multiples of this, so that they are whole vectors with every
/// instruction set.
const CHANNELS: usize = 16;

/// Minimum number of tiles of 4×4 pixels in a batch. With fewer, the products save less time than it takes to
/// transform the kernel.
const MIN_LARGE_TILES: usize = 32;

/// The output pixels of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    /// 2×2: 2.25 times fewer multiplications.
    Small,
    /// 4×4: four times fewer multiplications.
    Large,
}

impl Tile {
    /// Number of rows (or columns) of output pixels.
    pub(crate) fn rows(self) -> usize {
        match self {
            Self::Small => 2,
            Self::Large => 4,
        }
    }

    /// Number of points at which inputs and kernel are multiplied.
    fn points(self) -> usize {
        (self.rows() + 2).pow(2)
    }
}

/// Calls a generic function with the transforms of a tile.
macro_rules! with_transform {
    ($tile:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        use $crate::cpu::winograd::transform::{FourOutputs, TwoOutputs};
        match $tile {
            Tile::Small => $function::<_, TwoOutputs, 2, 4>($($argument),*),
            Tile::Large => $function::<_, FourOutputs, 4, 6>($($argument),*),
        }
    }};
}
use with_transform;

impl Geometry {
    /// Returns the tiles with which this convolution and its gradients are computed, or `None` if it is not
    /// computed by tiles.
    pub(crate) fn winograd_tile(&self) -> Option<Tile> {
        let [rows, columns] = self.output();
        let is_replaced = self.products.is_some_and(|products| products.replace_winograd(columns));
        let supported = !is_replaced
            && self.kernel == 3
            && self.stride == 1
            && [self.in_channels, self.out_channels]
                .iter()
                .all(|channels| channels.is_multiple_of(CHANNELS));
        let divides = |tile: Tile| {
            let sizes = [rows, columns, self.height, self.width];
            sizes.into_iter().all(|size| size.is_multiple_of(tile.rows()))
        };
        match () {
            () if !supported || !divides(Tile::Small) => None,
            () if divides(Tile::Large) && self.batch * rows * columns >= 16 * MIN_LARGE_TILES => {
                Some(Tile::Large)
            }
            () => Some(Tile::Small),
        }
    }
}
