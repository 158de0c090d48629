//! Pixels as operands of tile products, and sums rounded to pixels.

use std::mem::MaybeUninit;

use half::bf16;

use super::Bf16Products;
use super::rounding::{Number, Rounding, Scalar};
use super::tile::{PANEL, TILE};
use crate::cpu::elementwise::Affine;
use crate::cpu::scratch::scratch_slice;

/// Defines a function that is compiled with the vector instructions of this machine, if it has those for bfloat16, and
/// without them otherwise. It may be generic over the numbers of its operand.
macro_rules! rounded_by {
    (
        $(#[$doc:meta])*
        $visibility:vis fn $name:ident<'a $(, $number:ident)?>(
            $($argument:ident: $type:ty),* $(,)?
        ) $(-> $result:ty)? = $generic:ident;
    ) => {
        $(#[$doc])*
        $visibility fn $name<'a $(, $number: Number)?>($($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
                unsafe fn vectors<'a $(, $number: Number)?>($($argument: $type),*) $(-> $result)? {
                    // SAFETY: the caller has checked that the machine has the instructions.
                    unsafe { $generic::<super::rounding::Avx512 $(, $number)?>($($argument),*) }
                }
                if Bf16Products::has_dot() {
                    // SAFETY: the machine has these instructions.
                    return unsafe { vectors($($argument),*) };
                }
            }
            // SAFETY: this code needs no instructions that a machine may lack.
            unsafe { $generic::<Scalar $(, $number)?>($($argument),*) }
        }
    };
}

rounded_by! {
    /// Returns numbers rounded to bfloat16. With vector instructions, numbers too small for a normal one become zero, here and
    /// below.
    pub(super) fn narrowed<'a>(values: &[f32], buffer: &'a mut Vec<bf16>) -> &'a [bf16] = narrowed_by;
}

rounded_by! {
    /// Writes `max(0, slope · value + offset)` for pixels whose channels are whole tiles.
    ///
    /// # Panics
    /// If they are not.
    pub(crate) fn activate_narrow<'a>(map: &'a Affine, values: &[bf16], to: &mut [bf16])
        = activate_narrow_by;
}

rounded_by! {
    /// Writes `values + add`, rounded.
    ///
    /// # Panics
    /// If the lengths differ.
    pub(crate) fn round_sum<'a>(
        values: &[f32],
        add: Option<&'a [bf16]>,
        to: &mut [MaybeUninit<bf16>],
    ) = round_sum_by;
}

rounded_by! {
    /// Returns the pairs of two pixels, one after the other: `[pixels / 2][channels]`. `values` has `channels` numbers for each
    /// pixel; zeros follow up to `pixels` pixels, an even number.
    pub(super) fn pixel_pairs<'a, T>(
        values: &[T],
        channels: usize,
        pixels: usize,
        buffer: &'a mut Vec<u32>,
    ) -> &'a [u32] = pixel_pairs_by;
}

rounded_by! {
    /// Returns the right operand of a weight gradient: the [panels](PANEL) of steps of `depth` pixels. `values` has `padded`
    /// numbers for each pixel, a multiple of [`TILE`]; zeros follow up to the end of the last step.
    pub(super) fn panels<'a, T>(
        values: &[T],
        padded: usize,
        depth: usize,
        buffer: &'a mut Vec<u32>,
    ) -> &'a [u32] = panels_by;
}

/// Implements [`narrowed`] with the instructions of `R`.
///
/// # Safety
/// The machine has the instructions of `R`.
#[inline(always)]
unsafe fn narrowed_by<'a, R: Rounding>(values: &[f32], buffer: &'a mut Vec<bf16>) -> &'a [bf16] {
    let to = scratch_slice(buffer, values.len());
    let (whole, rest) = values.as_chunks::<TILE>();
    let (whole_to, rest_to) = to.as_chunks_mut::<TILE>();
    for (to, values) in whole_to.iter_mut().zip(whole) {
        // SAFETY: as the caller promises.
        *to = unsafe { R::narrow(values) };
    }
    // The rest is rounded in the same way, so that the bits of a number do not depend on its place.
    // SAFETY: as the caller promises.
    let narrow = unsafe { R::narrow(&filled(rest)) };
    rest_to.copy_from_slice(&narrow[..rest.len()]);
    to
}

/// Returns a tile of numbers that begins with these.
#[inline(always)]
fn filled<T: Copy + Default>(values: &[T]) -> [T; TILE] {
    let mut tile = [T::default(); TILE];
    tile[..values.len()].copy_from_slice(values);
    tile
}

/// Implements [`activate_narrow`] with the instructions of `R`.
///
/// # Safety
/// The machine has the instructions of `R`.
#[inline(always)]
unsafe fn activate_narrow_by<R: Rounding>(map: &Affine, values: &[bf16], to: &mut [bf16]) {
    let channels = map.slope.len();
    assert!(channels.is_multiple_of(TILE), "{channels} channels are not whole tiles");
    assert!(values.len().is_multiple_of(channels));
    assert!(map.offset.len() == channels && to.len() == values.len());
    let ((slopes, _), (offsets, _)) =
        (map.slope.as_chunks::<TILE>(), map.offset.as_chunks::<TILE>());
    for (pixel, to) in values.chunks_exact(channels).zip(to.chunks_exact_mut(channels)) {
        let (values, to) = (pixel.as_chunks::<TILE>().0, to.as_chunks_mut::<TILE>().0);
        for ((to, values), (slope, offset)) in
            to.iter_mut().zip(values).zip(slopes.iter().zip(offsets))
        {
            // SAFETY: as the caller promises.
            *to = unsafe { R::activate(values, slope, offset) };
        }
    }
}

/// Implements [`round_sum`] with the instructions of `R`.
///
/// # Safety
/// The machine has the instructions of `R`.
#[inline(always)]
unsafe fn round_sum_by<R: Rounding>(
    values: &[f32],
    add: Option<&[bf16]>,
    to: &mut [MaybeUninit<bf16>],
) {
    assert_eq!(values.len(), to.len());
    let (whole, rest) = values.as_chunks::<TILE>();
    let (whole_to, rest_to) = to.as_chunks_mut::<TILE>();
    // SAFETY: as the caller promises, in the whole function. The rest is rounded in the same way, so that the bits of a
    // number do not depend on its place.
    unsafe {
        let narrow = match add {
            Some(add) => {
                assert_eq!(values.len(), add.len());
                let (whole_add, rest_add) = add.as_chunks::<TILE>();
                for ((to, values), add) in whole_to.iter_mut().zip(whole).zip(whole_add) {
                    *to = R::narrow_sum(values, add).map(MaybeUninit::new);
                }
                R::narrow_sum(&filled(rest), &filled(rest_add))
            }
            None => {
                for (to, values) in whole_to.iter_mut().zip(whole) {
                    *to = R::narrow(values).map(MaybeUninit::new);
                }
                R::narrow(&filled(rest))
            }
        };
        for (to, value) in rest_to.iter_mut().zip(narrow) {
            to.write(value);
        }
    }
}

/// Pairs the numbers of two rows.
///
/// # Safety
/// The machine has the instructions of `R`.
#[inline(always)]
unsafe fn pair<R: Rounding, T: Number>(first: &[T], second: &[T], to: &mut [u32]) {
    let ((whole, rest), (to, rest_to)) = (first.as_chunks::<TILE>(), to.as_chunks_mut::<TILE>());
    let (whole_second, rest_second) = second.as_chunks::<TILE>();
    for ((to, first), second) in to.iter_mut().zip(whole).zip(whole_second) {
        // SAFETY: as the caller promises.
        *to = unsafe { T::pair::<R>(first, second) };
    }
    for ((to, first), second) in rest_to.iter_mut().zip(rest).zip(rest_second) {
        *to = T::pair_one(*first, *second);
    }
}

/// Implements [`pixel_pairs`] with the instructions of `R`.
///
/// # Safety
/// The machine has the instructions of `R`.
#[inline(always)]
unsafe fn pixel_pairs_by<'a, R: Rounding, T: Number>(
    values: &[T],
    channels: usize,
    pixels: usize,
    buffer: &'a mut Vec<u32>,
) -> &'a [u32] {
    let pairs = scratch_slice(buffer, pixels / 2 * channels);
    let zeros = vec![T::default(); channels];
    for (to, two) in pairs.chunks_exact_mut(channels).zip(values.chunks(2 * channels)) {
        let (first, second) = two.split_at(channels);
        // SAFETY: as the caller promises.
        unsafe { pair::<R, T>(first, if second.is_empty() { &zeros } else { second }, to) };
    }
    let given = values.len().div_ceil(2 * channels);
    pairs[given * channels..].fill(0);
    pairs
}

/// Transposes [pairs of pixels](pixel_pairs): `[channels][pixels / 2]`.
pub(super) fn planes<'a>(pairs: &[u32], channels: usize, buffer: &'a mut Vec<u32>) -> &'a [u32] {
    let planes = scratch_slice(buffer, pairs.len());
    for (channel, plane) in planes.chunks_exact_mut(pairs.len() / channels).enumerate() {
        for (to, pair) in plane.iter_mut().zip(pairs.chunks_exact(channels)) {
            *to = pair[channel];
        }
    }
    planes
}

/// Implements [`panels`] with the instructions of `R`.
///
/// # Safety
/// The machine has the instructions of `R`.
#[inline(always)]
unsafe fn panels_by<'a, R: Rounding, T: Number>(
    values: &[T],
    padded: usize,
    depth: usize,
    buffer: &'a mut Vec<u32>,
) -> &'a [u32] {
    let step = padded / TILE * PANEL;
    let pixels = values.len() / padded;
    let to = scratch_slice(buffer, pixels.div_ceil(depth) * step);
    let zeros = vec![T::default(); padded];
    for (step, values) in to.chunks_exact_mut(step).zip(values.chunks(depth * padded)) {
        let mut rows = values.chunks_exact(padded);
        for index in 0..depth / 2 {
            let [first, second] = [0, 1].map(|_| rows.next().unwrap_or(&zeros));
            for (panel, to) in step.chunks_exact_mut(PANEL).enumerate() {
                let columns = panel * TILE..(panel + 1) * TILE;
                let to = &mut to[index * TILE..][..TILE];
                // SAFETY: as the caller promises.
                unsafe { pair::<R, T>(&first[columns.clone()], &second[columns], to) };
            }
        }
    }
    to
}
