//! Tile products with AVX512-BF16: a row of a panel of the result is a vector, and an instruction adds the products of a pair
//! of the left operand with 16 pairs of the right one.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};

use super::tile::{Destination, Operands, PANEL, Shape, TILE};

/// Rows whose sums are in registers at the same time, limited by the general-purpose registers: one pointer for each row.
const ROWS: usize = 8;

/// Multiplies tiles.
///
/// # Safety
/// As for [`Tiles::multiply`](super::tile::Tiles::multiply), on a machine with AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn multiply(shape: Shape, operands: Operands, destination: Destination) {
    let Destination { to, pitch, adds } = destination;
    for first in (0..shape.rows).step_by(ROWS) {
        let shape = Shape { rows: ROWS.min(shape.rows - first), ..shape };
        let a = operands.a.wrapping_add(first * operands.pitch);
        for panel in (0..operands.panels).step_by(2) {
            let b = operands.b.wrapping_add(panel * PANEL);
            let to = to.wrapping_add(first * pitch + panel * TILE);
            let destination = Destination { to, pitch, adds };
            let panels = 2.min(operands.panels - panel);
            let operands = Operands { a, b, panels, ..operands };
            // SAFETY: as the caller promises.
            unsafe {
                match panels {
                    1 => multiply_panels::<1>(shape, operands, destination),
                    _ => multiply_panels::<2>(shape, operands, destination),
                }
            }
        }
    }
}

/// Multiplies tiles of up to [`ROWS`] rows by `V` panels. A pair of the left operand is read once for all of them, because
/// AMD's Zen 4 reads about one vector in the time of a product.
///
/// # Safety
/// As for [`multiply`].
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn multiply_panels<const V: usize>(
    Shape { rows, depth }: Shape,
    operands: Operands,
    destination: Destination,
) {
    let Operands { runs, steps, a, pitch, pair, run, b, step, .. } = operands;
    let Destination { to, pitch: row_pitch, adds } = destination;
    let mut sums: [[__m512; V]; ROWS] = [[_mm512_setzero_ps(); V]; ROWS];
    // Rows that a shorter tile lacks repeat its last one, and are not written.
    let row_of = |row: usize| row.min(rows - 1);
    let lines: [*const u16; ROWS] = std::array::from_fn(|row| a.wrapping_add(row_of(row) * pitch));
    // SAFETY: as the caller promises, these are numbers of the operands and of the destination.
    unsafe {
        if adds {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (panel, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_loadu_ps(to.add(row_of(row) * row_pitch + panel * TILE));
                }
            }
        }
        let mut right = b;
        for index in 0..runs {
            let mut left = index * run;
            for _ in 0..steps {
                for line in 0..depth / 2 {
                    let mut columns = [_mm512_setzero_si512(); V];
                    for (panel, columns) in columns.iter_mut().enumerate() {
                        let from = right.add(panel * PANEL + line * TILE);
                        *columns = _mm512_loadu_si512(from.cast());
                    }
                    for (line, sums) in lines.into_iter().zip(&mut sums) {
                        let factor = line.add(left).cast::<i32>().read_unaligned();
                        let factor = pairs(_mm512_set1_epi32(factor));
                        for (sum, columns) in sums.iter_mut().zip(columns) {
                            *sum = _mm512_dpbf16_ps(*sum, factor, pairs(columns));
                        }
                    }
                    left += pair;
                }
                right = right.wrapping_add(step);
            }
        }
        for (row, sums) in sums.iter().enumerate().take(rows) {
            for (panel, &sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(to.add(row * row_pitch + panel * TILE), sum);
            }
        }
    }
}

/// Regards a vector of integers as pairs of bfloat16 numbers.
#[inline(always)]
fn pairs(vector: __m512i) -> __m512bh {
    // SAFETY: both types have 512 bits, and any bits are numbers.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(vector) }
}
