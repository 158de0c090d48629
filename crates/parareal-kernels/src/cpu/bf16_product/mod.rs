//! Matrix products of bfloat16 numbers with instructions made for them, summed as 32-bit floats.
//!
//! The unit is a tile product: 16 rows and 16 columns of the result, and up to 32 numbers in depth.
//!
//! ```text
//!                          b: pairs of steps, [16 pairs][16 columns][2]
//!                         ┌──────────────┐
//!                         │              │
//!                         └──────────────┘
//!   a: [16 rows][32]  ┌──┐┌──────────────┐
//!                     │  ││ += a · b     │
//!                     └──┘└──────────────┘
//! ```
//!
//! Both operands are rounded to bfloat16, by at most 2⁻⁸ relative, as in other libraries that train in bfloat16. That is what
//! these instructions add to the error of a product of 32-bit floats.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod convolve;
mod correlate;
#[cfg(target_arch = "x86_64")]
mod dot;
mod operands;
mod rounding;
#[cfg(test)]
mod tests;
mod tile;

pub(crate) use convolve::PairedPanels;
pub(crate) use correlate::correlate;
pub(crate) use operands::{activate_narrow, narrow_sum};
pub(crate) use tile::{TILE, TileScratch};

/// Instructions that multiply bfloat16 numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bf16Products {
    /// Tiles in registers (AMX-BF16).
    Amx,
    /// Dot products of pairs (AVX512-BF16).
    Dot,
    /// Portable code, for tests.
    #[cfg(test)]
    Portable,
}

impl Bf16Products {
    /// Returns true if these instructions multiply so fast that Winograd's algorithm, which saves multiplications and
    /// needs a higher precision, does not pay, for images with `columns` columns of output pixels.
    pub(crate) fn replace_winograd(self, columns: usize) -> bool {
        self != Self::Dot && tile::step_depth(columns).is_some()
    }

    /// Returns true if the pairs of the left operand may be apart, so that a weight gradient needs no transposition of its
    /// pixels.
    fn reads_pairs_apart(self) -> bool {
        self != Self::Amx
    }

    /// Returns true if this machine has AMX-BF16 and the system allows this process to use it. Asks for the permission.
    pub(crate) fn has_amx() -> bool {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        return amx::is_available();
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        false
    }

    /// Returns true if this machine has AVX512-BF16.
    pub(crate) fn has_dot() -> bool {
        #[cfg(target_arch = "x86_64")]
        return std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Returns true if this machine executes a dot product as often as an FMA instruction, whose work it does twice: if it
    /// has AVX512-BF16 and is one of AMD's. Intel's take two cycles for it.
    pub(crate) fn has_fast_dot() -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let vendor = std::arch::x86_64::__cpuid(0);
            let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
            Self::has_dot() && name.as_flattened() == b"AuthenticAMD"
        }
        #[cfg(not(target_arch = "x86_64"))]
        false
    }
}
