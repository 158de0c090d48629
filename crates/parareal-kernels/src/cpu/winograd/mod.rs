//! 3×3 convolutions without a stride, with fewer multiplications.
//!
//! This is Winograd's minimal filtering algorithm F(2×2, 3×3); see Lavin and Gray, "Fast Algorithms
//! for Convolutional Neural Networks" (2016).
//!
//! The 2×2 output pixels `y` of a tile are computed from 4×4 input pixels `d` and a kernel `g`:
//!
//! ```text
//! y  = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A            ⊙: point by point, 16 products instead of 36
//! ∂g = Gᵀ [(A ∂y Aᵀ) ⊙ (Bᵀ d B)] G           its adjoint, for the weight gradient
//!
//!      ⎡ 1  0 -1  0 ⎤       ⎡ 1   0   0 ⎤
//! Bᵀ = ⎢ 0  1  1  0 ⎥   G = ⎢ ½   ½   ½ ⎥   Aᵀ = ⎡ 1  1  1  0 ⎤
//!      ⎢ 0 -1  1  0 ⎥       ⎢ ½  -½   ½ ⎥        ⎣ 0  1 -1  1 ⎦
//!      ⎣ 0 -1  0  1 ⎦       ⎣ 0   0   1 ⎦
//! ```
//!
//! Over all channels, each of the 16 points is a matrix product, and the transforms are sums and
//! differences of vectors of channels. The last rows of `Bᵀ` and `A` have the opposite sign of
//! those in the paper, which saves a negation. The gradient of the input needs no separate formula:
//! it is the same convolution with the flipped kernel (`stride_phase`).
//!
//! The rounding error of an output depends on the largest of the 16 inputs of its tile, and not
//! only on the nine inputs that determine the output. An infinite input makes all four outputs of
//! its tile NaN or infinite.

mod block;
mod forward;
mod weight_gradient;

use super::geometry::Geometry;

pub(crate) use block::Scratch;
pub(crate) use forward::TransformedKernel;
pub(crate) use weight_gradient::{InverseTransformKernel, correlate, transformed_len};

/// The numbers of channels must be multiples of this, so that they are whole vectors with every
/// instruction set.
const CHANNELS: usize = 16;

impl Geometry {
    /// Returns true if this convolution is computed by tiles of 2×2 output pixels.
    pub(crate) fn uses_winograd(&self) -> bool {
        let even = |size: usize| size.is_multiple_of(2);
        self.kernel == 3
            && self.stride == 1
            && self.output().into_iter().all(even)
            && [self.in_channels, self.out_channels]
                .iter()
                .all(|channels| channels.is_multiple_of(CHANNELS))
    }
}
