//! The numbers that states consist of in memory. Kernels compute with 32-bit floats.

use std::any::TypeId;
use std::fmt::Debug;

use half::bf16;
use pulp::Simd;

use crate::cpu::microkernel::{load, store};
use crate::cpu::scratch::scratch_slice;

/// A number of a state: a 32-bit float, or half of one (bfloat16), which has its range and 8 bits of its precision.
pub(crate) trait Element: Copy + Debug + Default + Send + Sync + 'static {
    /// True for 32-bit floats, which are computed with where they are.
    const IS_F32: bool;

    /// Returns the number as a 32-bit float.
    fn widen(self) -> f32;

    /// Rounds to the nearest number, and from halfway between two to the even one.
    fn narrow(value: f32) -> Self;

    /// Reads a vector.
    ///
    /// # Safety
    /// As many numbers as a vector has can be read from `from`.
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::f32s;

    /// Rounds a vector and writes it.
    ///
    /// # Safety
    /// As many numbers as a vector has can be written to `to`.
    unsafe fn store<S: Simd>(simd: S, to: *mut Self, value: S::f32s);
}

impl Element for f32 {
    const IS_F32: bool = true;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(_: S, from: *const Self) -> S::f32s {
        // SAFETY: as the caller promises.
        unsafe { load::<S>(from) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(_: S, to: *mut Self, value: S::f32s) {
        // SAFETY: as the caller promises.
        unsafe { store::<S>(to, value) }
    }
}

/// Largest number of lanes of a vector.
const MAX_LANES: usize = 16;

impl Element for bf16 {
    const IS_F32: bool = false;

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        Self::from_bits(rounded(value.to_bits()))
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(_: S, from: *const Self) -> S::f32s {
        const { assert!(S::F32_LANES <= MAX_LANES) };
        let mut lanes = [0u32; MAX_LANES];
        for (index, lane) in lanes.iter_mut().enumerate().take(S::F32_LANES) {
            // SAFETY: a vector can be read, as the caller promises.
            *lane = u32::from(unsafe { from.cast::<u16>().add(index).read_unaligned() }) << 16;
        }
        // SAFETY: a vector consists of `F32_LANES` 32-bit floats, and every pattern of bits is one.
        unsafe { lanes.as_ptr().cast::<S::f32s>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(_: S, to: *mut Self, value: S::f32s) {
        const { assert!(S::F32_LANES <= MAX_LANES) };
        let mut lanes = [0u32; MAX_LANES];
        // SAFETY: the array has room for a vector.
        unsafe { lanes.as_mut_ptr().cast::<S::f32s>().write_unaligned(value) };
        for (index, &lane) in lanes.iter().enumerate().take(S::F32_LANES) {
            // SAFETY: a vector can be written, as the caller promises.
            unsafe { to.cast::<u16>().add(index).write_unaligned(rounded(lane)) };
        }
    }
}

/// Rounds the bits of a 32-bit float to those of a bfloat16. NaN stays NaN.
#[inline(always)]
pub(super) fn rounded(bits: u32) -> u16 {
    // Half of the last place that is kept, or one less if that place is even.
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // The quiet bit is among the 16 bits that are kept.
    let nan = bits >> 16 | 0x40;
    let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
    (if is_nan { nan } else { nearest }) as u16
}

/// Returns numbers as 32-bit floats, which are written to `buffer` if they are others.
#[inline(always)]
pub(crate) fn widened<'a, S: Simd, E: Element>(
    simd: S,
    values: &'a [E],
    buffer: &'a mut Vec<f32>,
) -> &'a [f32] {
    match as_f32(values) {
        Some(values) => values,
        None => {
            let buffer = scratch_slice(buffer, values.len());
            widen_all(simd, values, buffer);
            buffer
        }
    }
}

/// Returns the values if they are 32-bit floats.
#[inline(always)]
pub(crate) fn as_f32<E: Element>(values: &[E]) -> Option<&[f32]> {
    let is_f32 = TypeId::of::<E>() == TypeId::of::<f32>();
    // SAFETY: the types are the same.
    is_f32.then(|| unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) })
}

/// Returns the values if they are bfloat16 numbers.
#[inline(always)]
pub(crate) fn as_bf16<E: Element>(values: &[E]) -> Option<&[bf16]> {
    let is_bf16 = TypeId::of::<E>() == TypeId::of::<bf16>();
    // SAFETY: the types are the same.
    is_bf16.then(|| unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) })
}

/// Writes numbers as 32-bit floats.
///
/// # Panics
/// If the lengths differ.
#[inline(always)]
pub(crate) fn widen_all<S: Simd, E: Element>(simd: S, values: &[E], to: &mut [f32]) {
    assert_eq!(values.len(), to.len());
    let whole = values.len() - values.len() % S::F32_LANES;
    for first in (0..whole).step_by(S::F32_LANES) {
        // SAFETY: both slices have a whole vector there.
        unsafe {
            let value = E::load(simd, values.as_ptr().add(first));
            store::<S>(to.as_mut_ptr().add(first), value);
        }
    }
    for (to, value) in to[whole..].iter_mut().zip(&values[whole..]) {
        *to = value.widen();
    }
}

/// Writes `values + add`, rounded; `add` may be null for none.
///
/// # Safety
/// As many numbers as `values` has can be written to `to` and, unless it is null, read from `add`.
#[inline(always)]
pub(crate) unsafe fn narrow_sum<S: Simd, E: Element>(
    simd: S,
    values: &[f32],
    add: *const E,
    to: *mut E,
) {
    let whole = values.len() - values.len() % S::F32_LANES;
    // SAFETY: all indices are less than the length of `values`; as the caller promises, `to` and `add` are as long.
    unsafe {
        for first in (0..whole).step_by(S::F32_LANES) {
            let mut value = load::<S>(values.as_ptr().add(first));
            if !add.is_null() {
                value = simd.add_f32s(value, E::load(simd, add.add(first)));
            }
            E::store(simd, to.add(first), value);
        }
        for (index, &value) in values.iter().enumerate().skip(whole) {
            let add = if add.is_null() { 0.0 } else { (*add.add(index)).widen() };
            *to.add(index) = E::narrow(value + add);
        }
    }
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::simd::SimdLevel;

    #[test]
    fn numbers_are_rounded_as_by_the_reference() {
        // All patterns of the upper half, with lower halves below, at and above the middle.
        let lower = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
        for upper in 0..=u16::MAX {
            for lower in lower {
                let value = f32::from_bits(u32::from(upper) << 16 | lower);
                let (ours, expected) = (<bf16 as Element>::narrow(value), bf16::from_f32(value));
                assert!(ours == expected || value.is_nan() && ours.is_nan(), "{value:e}");
            }
            let half = bf16::from_bits(upper);
            assert_eq!(half.widen().to_bits(), u32::from(upper) << 16);
        }
    }

    struct RoundTrip<'a>(&'a [f32], Vec<bf16>, Vec<f32>);

    impl WithSimd for RoundTrip<'_> {
        type Output = (Vec<bf16>, Vec<f32>);

        #[inline(always)]
        fn with_simd<S: Simd>(mut self, simd: S) -> Self::Output {
            let add = self.1.clone();
            // SAFETY: all slices have the same length.
            unsafe { narrow_sum(simd, self.0, add.as_ptr(), self.1.as_mut_ptr()) };
            let widened = widened(simd, &self.1, &mut self.2).to_vec();
            (self.1, widened)
        }
    }

    #[test]
    fn every_level_rounds_in_the_same_way() {
        let values: Vec<f32> = (0..53).map(|index| (index as f32 * 0.7 - 9.0).exp()).collect();
        let add: Vec<bf16> = (0..53).map(|index| bf16::from_f32(index as f32 / 3.0)).collect();
        let sums = values.iter().zip(&add).map(|(value, add)| bf16::from_f32(value + add.to_f32()));
        let expected: Vec<bf16> = sums.collect();
        for level in SimdLevel::available() {
            let (narrow, wide) = level.run(RoundTrip(&values, add.clone(), vec![0.0; 53]));
            assert_eq!(narrow, expected, "{level:?}");
            assert_eq!(wide, expected.iter().map(|value| value.to_f32()).collect::<Vec<_>>());
        }
    }
}
