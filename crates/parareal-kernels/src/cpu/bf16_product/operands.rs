//! Operands in the layouts of tile products.

use super::rounding::{Rounding, Scalar};
use super::tile::{PANEL, TILE};

/// Returns memory for `len` numbers. It may contain numbers from earlier uses.
fn room<T: Copy + Default>(values: &mut Vec<T>, len: usize) -> &mut [T] {
    if values.len() < len {
        *values = vec![T::default(); len];
    }
    &mut values[..len]
}

/// Defines a function that is compiled with the vector instructions of this machine, if it has those for bfloat16, and
/// without them otherwise.
macro_rules! rounded_by {
    (
        $(#[$doc:meta])*
        fn $name:ident<'a>($($argument:ident: $type:ty),* $(,)?) -> $result:ty = $generic:ident;
    ) => {
        $(#[$doc])*
        pub(super) fn $name<'a>($($argument: $type),*) -> $result {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
                unsafe fn vectors<'a>($($argument: $type),*) -> $result {
                    // SAFETY: the caller has checked that the machine has the instructions.
                    unsafe { $generic::<super::rounding::Avx512>($($argument),*) }
                }
                if super::Bf16Products::has_dot() {
                    // SAFETY: the machine has these instructions.
                    return unsafe { vectors($($argument),*) };
                }
            }
            // SAFETY: this code needs no instructions that a machine may lack.
            unsafe { $generic::<Scalar>($($argument),*) }
        }
    };
}

rounded_by! {
    /// Returns numbers rounded to bfloat16, as bits.
    fn narrowed<'a>(values: &[f32], buffer: &'a mut Vec<u16>) -> &'a [u16] = narrowed_by;
}

rounded_by! {
    /// Returns the left operand of a weight gradient: the numbers of each channel, pixel after pixel, and the stride between
    /// channels in pairs. `values` has `channels` numbers for each pixel; zeros follow up to `pixels` pixels, an even number.
    fn planes<'a>(
        values: &[f32],
        channels: usize,
        pixels: usize,
        buffers: [&'a mut Vec<u32>; 2],
    ) -> (&'a [u32], usize) = planes_by;
}

rounded_by! {
    /// Returns the right operand of a weight gradient: the [panels](PANEL) of steps of `depth` pixels. `values` has `padded`
    /// numbers for each pixel, a multiple of [`TILE`]; zeros follow up to the end of the last step.
    fn panels<'a>(
        values: &[f32],
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
unsafe fn narrowed_by<'a, R: Rounding>(values: &[f32], buffer: &'a mut Vec<u16>) -> &'a [u16] {
    let to = room(buffer, values.len());
    let (whole, rest) = values.as_chunks::<TILE>();
    let (whole_to, rest_to) = to.as_chunks_mut::<TILE>();
    for (to, values) in whole_to.iter_mut().zip(whole) {
        // SAFETY: as the caller promises.
        *to = unsafe { R::narrow(values) };
    }
    for (to, &value) in rest_to.iter_mut().zip(rest) {
        *to = Scalar::narrow_one(value);
    }
    to
}

/// Rounds two rows to bfloat16, and pairs their numbers.
///
/// # Safety
/// The machine has the instructions of `R`.
#[inline(always)]
unsafe fn pair<R: Rounding>(first: &[f32], second: &[f32], to: &mut [u32]) {
    let ((whole, rest), (to, rest_to)) = (first.as_chunks::<TILE>(), to.as_chunks_mut::<TILE>());
    let (whole_second, rest_second) = second.as_chunks::<TILE>();
    for ((to, first), second) in to.iter_mut().zip(whole).zip(whole_second) {
        // SAFETY: as the caller promises.
        *to = unsafe { R::pair(first, second) };
    }
    for ((to, first), second) in rest_to.iter_mut().zip(rest).zip(rest_second) {
        *to = Scalar::pair_one(*first, *second);
    }
}

/// Implements [`planes`] with the instructions of `R`.
///
/// # Safety
/// The machine has the instructions of `R`.
#[inline(always)]
unsafe fn planes_by<'a, R: Rounding>(
    values: &[f32],
    channels: usize,
    pixels: usize,
    [pairs, planes]: [&'a mut Vec<u32>; 2],
) -> (&'a [u32], usize) {
    let pitch = pixels / 2;
    let pairs = room(pairs, pitch * channels);
    let zeros = vec![0.0; channels];
    for (to, two) in pairs.chunks_exact_mut(channels).zip(values.chunks(2 * channels)) {
        let (first, second) = two.split_at(channels);
        // SAFETY: as the caller promises.
        unsafe { pair::<R>(first, if second.is_empty() { &zeros } else { second }, to) };
    }
    let given = values.len().div_ceil(2 * channels);
    pairs[given * channels..].fill(0);
    let planes = room(planes, channels * pitch);
    for (channel, plane) in planes.chunks_exact_mut(pitch).enumerate() {
        for (to, pair) in plane.iter_mut().zip(pairs.chunks_exact(channels)) {
            *to = pair[channel];
        }
    }
    (planes, pitch)
}

/// Implements [`panels`] with the instructions of `R`.
///
/// # Safety
/// The machine has the instructions of `R`.
#[inline(always)]
unsafe fn panels_by<'a, R: Rounding>(
    values: &[f32],
    padded: usize,
    depth: usize,
    buffer: &'a mut Vec<u32>,
) -> &'a [u32] {
    let step = padded / TILE * PANEL;
    let pixels = values.len() / padded;
    let to = room(buffer, pixels.div_ceil(depth) * step);
    let zeros = vec![0.0; padded];
    for (step, values) in to.chunks_exact_mut(step).zip(values.chunks(depth * padded)) {
        let mut rows = values.chunks_exact(padded);
        for index in 0..depth / 2 {
            let [first, second] = [0, 1].map(|_| rows.next().unwrap_or(&zeros));
            for (panel, to) in step.chunks_exact_mut(PANEL).enumerate() {
                let columns = panel * TILE..(panel + 1) * TILE;
                let to = &mut to[index * TILE..][..TILE];
                // SAFETY: as the caller promises.
                unsafe { pair::<R>(&first[columns.clone()], &second[columns], to) };
            }
        }
    }
    to
}
