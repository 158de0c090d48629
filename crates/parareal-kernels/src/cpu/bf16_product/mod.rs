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
//! Weights and activated pixels are rounded to bfloat16, by at most 2⁻⁸ relative, as in other libraries that train in
//! bfloat16; pixels in memory are bfloat16 numbers already. Numbers too small for a normal one become zero. That is what these
//! instructions add to the error of a product of 32-bit floats.

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
pub(crate) use operands::{activate_narrow, round_sum};
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

    /// Returns true if dot products have the throughput of FMA instructions on this machine, and so do twice the work: on
    /// AMD's processors with AVX512-BF16. On Intel's, they take two cycles.
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
