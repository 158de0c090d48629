//! Rounding of 32-bit floats to bfloat16, to the nearest number and from halfway between two to the even one.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256bh, __m256i, __m512i, _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh, _mm512_loadu_ps,
    _mm512_or_si512, _mm512_slli_epi32,
};
#[cfg(target_arch = "x86_64")]
use std::mem::transmute;

use super::tile::TILE;
use crate::cpu::element::rounded;

/// Instructions that round.
pub(super) trait Rounding {
    /// Rounds numbers.
    ///
    /// # Safety
    /// The machine has the instructions.
    unsafe fn narrow(values: &[f32; TILE]) -> [u16; TILE];

    /// Rounds numbers, and pairs them. The first ones are in the lower halves.
    ///
    /// # Safety
    /// The machine has the instructions.
    unsafe fn pair(first: &[f32; TILE], second: &[f32; TILE]) -> [u32; TILE];
}

/// Integer operations.
pub(super) struct Scalar;

impl Scalar {
    pub(super) fn narrow_one(value: f32) -> u16 {
        rounded(value.to_bits())
    }

    pub(super) fn pair_one(first: f32, second: f32) -> u32 {
        let [first, second] = [first, second].map(|value| u32::from(Self::narrow_one(value)));
        first | second << 16
    }
}

impl Rounding for Scalar {
    #[inline(always)]
    unsafe fn narrow(values: &[f32; TILE]) -> [u16; TILE] {
        values.map(Self::narrow_one)
    }

    #[inline(always)]
    unsafe fn pair(first: &[f32; TILE], second: &[f32; TILE]) -> [u32; TILE] {
        std::array::from_fn(|index| Self::pair_one(first[index], second[index]))
    }
}

/// AVX512-BF16. Numbers too small for a normal one become zero.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512;

/// Rounds numbers, each in the lower half of 32 bits.
///
/// # Safety
/// The machine has AVX512-BF16.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn narrow_wide(values: &[f32; TILE]) -> __m512i {
    // SAFETY: as the caller promises. Both types have 256 bits.
    unsafe {
        let narrow = _mm512_cvtneps_pbh(_mm512_loadu_ps(values.as_ptr()));
        _mm512_cvtepu16_epi32(transmute::<__m256bh, __m256i>(narrow))
    }
}

#[cfg(target_arch = "x86_64")]
impl Rounding for Avx512 {
    #[inline(always)]
    unsafe fn narrow(values: &[f32; TILE]) -> [u16; TILE] {
        // SAFETY: as the caller promises. A vector of 16 bfloat16 numbers has as many bits as the result.
        unsafe {
            transmute::<__m256bh, [u16; TILE]>(_mm512_cvtneps_pbh(_mm512_loadu_ps(values.as_ptr())))
        }
    }

    #[inline(always)]
    unsafe fn pair(first: &[f32; TILE], second: &[f32; TILE]) -> [u32; TILE] {
        // SAFETY: as the caller promises. All types that are converted have the same numbers of bits.
        unsafe {
            let pairs =
                _mm512_or_si512(narrow_wide(first), _mm512_slli_epi32::<16>(narrow_wide(second)));
            transmute::<__m512i, [u32; TILE]>(pairs)
        }
    }
}
