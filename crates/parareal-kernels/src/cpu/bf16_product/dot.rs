//! Tile products with AVX512-BF16: a row of the result is a vector, and an instruction adds the products of a pair of the
//! left operand with 16 pairs of the right one.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::tile::{Destination, Operands, PANEL, Shape, TILE};

/// Multiplies tiles.
///
/// # Safety
/// As for [`Tiles::multiply`](super::tile::Tiles::multiply), on a machine with AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn multiply(shape: Shape, operands: Operands, destination: Destination) {
    for panel in 0..operands.panels {
        let b = operands.b.wrapping_add(panel * PANEL);
        let (operands, to) =
            (Operands { b, ..operands }, destination.to.wrapping_add(panel * TILE));
        let destination = Destination { to, ..destination };
        // The compiler keeps the sums in registers if their number is known.
        // SAFETY: as the caller promises.
        unsafe {
            match shape.rows {
                TILE => multiply_panel::<TILE>(TILE, shape.depth, operands, destination),
                8 => multiply_panel::<8>(8, shape.depth, operands, destination),
                rows => multiply_panel::<TILE>(rows, shape.depth, operands, destination),
            }
        }
    }
}

/// Multiplies tiles of up to `R` rows by one panel.
///
/// # Safety
/// As for [`multiply`].
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn multiply_panel<const R: usize>(
    rows: usize,
    depth: usize,
    operands: Operands,
    destination: Destination,
) {
    let Operands { runs, steps, a, pitch, run, b, step, .. } = operands;
    let Destination { to, pitch: row_pitch, adds } = destination;
    let mut sums: [__m512; R] = [_mm512_setzero_ps(); R];
    // Rows that a shorter tile lacks repeat its last one, and are not written.
    let row_of = |row: usize| row.min(rows - 1);
    let lines: [*const u16; R] = std::array::from_fn(|row| a.wrapping_add(row_of(row) * pitch));
    // SAFETY: as the caller promises, these are numbers of the operands and of the destination.
    unsafe {
        if adds {
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(to.add(row_of(row) * row_pitch));
            }
        }
        for index in 0..runs * steps {
            let left = index / steps * run + index % steps * depth;
            let right = b.add(index * step);
            for pair in 0..depth / 2 {
                let columns = pairs(_mm512_loadu_si512(right.add(pair * TILE).cast()));
                for (line, sum) in lines.into_iter().zip(&mut sums) {
                    let factor = line.add(left + 2 * pair);
                    let factor = _mm512_set1_epi32(factor.cast::<i32>().read_unaligned());
                    *sum = _mm512_dpbf16_ps(*sum, pairs(factor), columns);
                }
            }
        }
        for (row, &sum) in sums.iter().enumerate().take(rows) {
            _mm512_storeu_ps(to.add(row * row_pitch), sum);
        }
    }
}

/// Regards a vector of integers as pairs of bfloat16 numbers.
#[inline(always)]
fn pairs(vector: __m512i) -> __m512bh {
    // SAFETY: both types have 512 bits, and any bits are numbers.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(vector) }
}
