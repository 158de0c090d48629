//! Rounding of 32-bit floats to bfloat16, to the nearest number and from halfway between two to the even one.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512i, _mm256_loadu_si256, _mm512_add_ps, _mm512_castsi512_ps,
    _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps,
    _mm512_or_si512, _mm512_setzero_ps, _mm512_slli_epi32,
};
#[cfg(target_arch = "x86_64")]
use std::mem::transmute;

use half::bf16;

use super::tile::TILE;
use crate::cpu::element::{Element, rounded};

/// Instructions that round.
pub(crate) trait Rounding {
    /// Rounds numbers.
    ///
    /// # Safety
    /// The machine has the instructions.
    unsafe fn narrow(values: &[f32; TILE]) -> [bf16; TILE];

    /// Rounds `values + add`.
    ///
    /// # Safety
    /// The machine has the instructions.
    unsafe fn narrow_sum(values: &[f32; TILE], add: &[bf16; TILE]) -> [bf16; TILE];

    /// Rounds `max(0, slope · values + offset)`. NaN stays NaN.
    ///
    /// # Safety
    /// The machine has the instructions.
    unsafe fn activate(
        values: &[bf16; TILE],
        slope: &[f32; TILE],
        offset: &[f32; TILE],
    ) -> [bf16; TILE];

    /// Rounds numbers, and pairs them. The first ones are in the lower halves.
    ///
    /// # Safety
    /// The machine has the instructions.
    unsafe fn pair(first: &[f32; TILE], second: &[f32; TILE]) -> [u32; TILE];
}

/// Integer operations.
pub(super) struct Scalar;

impl Scalar {
    #[inline(always)]
    pub(super) fn narrow_one(value: f32) -> bf16 {
        bf16::from_bits(rounded(value.to_bits()))
    }
}

impl Rounding for Scalar {
    #[inline(always)]
    unsafe fn narrow(values: &[f32; TILE]) -> [bf16; TILE] {
        values.map(Self::narrow_one)
    }

    #[inline(always)]
    unsafe fn narrow_sum(values: &[f32; TILE], add: &[bf16; TILE]) -> [bf16; TILE] {
        std::array::from_fn(|index| Self::narrow_one(values[index] + add[index].widen()))
    }

    #[inline(always)]
    unsafe fn activate(
        values: &[bf16; TILE],
        slope: &[f32; TILE],
        offset: &[f32; TILE],
    ) -> [bf16; TILE] {
        std::array::from_fn(|index| {
            let value = slope[index] * values[index].widen() + offset[index];
            Self::narrow_one(if value < 0.0 { 0.0 } else { value })
        })
    }

    #[inline(always)]
    unsafe fn pair(first: &[f32; TILE], second: &[f32; TILE]) -> [u32; TILE] {
        std::array::from_fn(|index| {
            bf16::pair_one(Self::narrow_one(first[index]), Self::narrow_one(second[index]))
        })
    }
}

/// AVX512-BF16. Numbers too small for a normal one become zero.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// Rounds a vector.
    ///
    /// # Safety
    /// The machine has AVX512-BF16.
    #[inline(always)]
    unsafe fn narrow_vector(values: __m512) -> __m256i {
        // SAFETY: as the caller promises. Both types have 256 bits.
        unsafe { transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)) }
    }

    /// Reads numbers as 32-bit floats.
    ///
    /// # Safety
    /// The machine has AVX-512.
    #[inline(always)]
    unsafe fn widen(values: &[bf16; TILE]) -> __m512 {
        // SAFETY: as the caller promises; the numbers have as many bits as are read.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(values.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Rounding for Avx512 {
    #[inline(always)]
    unsafe fn narrow(values: &[f32; TILE]) -> [bf16; TILE] {
        // SAFETY: as the caller promises. Vectors and arrays of 16 numbers have as many bits, here and below.
        unsafe {
            let narrow = Self::narrow_vector(_mm512_loadu_ps(values.as_ptr()));
            transmute::<__m256i, [bf16; TILE]>(narrow)
        }
    }

    #[inline(always)]
    unsafe fn narrow_sum(values: &[f32; TILE], add: &[bf16; TILE]) -> [bf16; TILE] {
        // SAFETY: as the caller promises.
        unsafe {
            let sum = _mm512_add_ps(_mm512_loadu_ps(values.as_ptr()), Self::widen(add));
            transmute::<__m256i, [bf16; TILE]>(Self::narrow_vector(sum))
        }
    }

    #[inline(always)]
    unsafe fn activate(
        values: &[bf16; TILE],
        slope: &[f32; TILE],
        offset: &[f32; TILE],
    ) -> [bf16; TILE] {
        // SAFETY: as the caller promises.
        unsafe {
            let slope = _mm512_loadu_ps(slope.as_ptr());
            let offset = _mm512_loadu_ps(offset.as_ptr());
            let value = _mm512_fmadd_ps(Self::widen(values), slope, offset);
            // If one of the numbers is NaN, the instruction returns the second one.
            let value = _mm512_max_ps(_mm512_setzero_ps(), value);
            transmute::<__m256i, [bf16; TILE]>(Self::narrow_vector(value))
        }
    }

    #[inline(always)]
    unsafe fn pair(first: &[f32; TILE], second: &[f32; TILE]) -> [u32; TILE] {
        // SAFETY: as the caller promises.
        unsafe {
            let first = Self::narrow_vector(_mm512_loadu_ps(first.as_ptr()));
            let second = Self::narrow_vector(_mm512_loadu_ps(second.as_ptr()));
            let second = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(second));
            let pairs = _mm512_or_si512(_mm512_cvtepu16_epi32(first), second);
            transmute::<__m512i, [u32; TILE]>(pairs)
        }
    }
}

/// A number that can be paired: a 32-bit float, which is rounded, or a bfloat16.
pub(crate) trait Number: Element {
    /// Pairs two numbers.
    fn pair_one(first: Self, second: Self) -> u32;

    /// Pairs numbers, those of `first` in the lower halves.
    ///
    /// # Safety
    /// The machine has the instructions of `R`.
    unsafe fn pair<R: Rounding>(first: &[Self; TILE], second: &[Self; TILE]) -> [u32; TILE];
}

impl Number for f32 {
    #[inline(always)]
    fn pair_one(first: Self, second: Self) -> u32 {
        bf16::pair_one(Scalar::narrow_one(first), Scalar::narrow_one(second))
    }

    #[inline(always)]
    unsafe fn pair<R: Rounding>(first: &[Self; TILE], second: &[Self; TILE]) -> [u32; TILE] {
        // SAFETY: as the caller promises.
        unsafe { R::pair(first, second) }
    }
}

impl Number for bf16 {
    #[inline(always)]
    fn pair_one(first: Self, second: Self) -> u32 {
        u32::from(first.to_bits()) | u32::from(second.to_bits()) << 16
    }

    #[inline(always)]
    unsafe fn pair<R: Rounding>(first: &[Self; TILE], second: &[Self; TILE]) -> [u32; TILE] {
        let mut pairs = [0; TILE];
        for (pair, (&first, &second)) in pairs.iter_mut().zip(first.iter().zip(second)) {
            *pair = Self::pair_one(first, second);
        }
        pairs
    }
}
