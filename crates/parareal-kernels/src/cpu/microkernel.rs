//! The microkernel: the innermost loops of a matrix product, on a tile that stays in registers.
//!
//! A tile has `MR` rows and `NV` vectors of columns. Each step along the depth loads `NV` vectors
//! and multiplies them by one value for each row:
//!
//! ```text
//!            b: NV vectors
//!           ┌──────────────┐
//!   a ─ r0 →│ += a0 · b    │
//!       r1 →│ += a1 · b    │   MR · NV accumulators, never in memory
//!       ..  │      ..      │
//!           └──────────────┘
//! ```

use std::any::TypeId;

use pulp::Simd;

/// Computes `a · b + c` with a single rounding. Portable code rounds the product and the sum
/// separately instead, and does not emulate the instruction.
#[inline(always)]
pub(crate) fn fma<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if TypeId::of::<S>() == TypeId::of::<pulp::Scalar128b>() {
        return simd.add_f32s(simd.mul_f32s(a, b), c);
    }
    simd.mul_add_e_f32s(a, b, c)
}

/// Reads a vector.
///
/// # Safety
/// A whole vector can be read from `from`.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(from: *const f32) -> S::f32s {
    // SAFETY: the vector is readable, as the caller promises, and consists of plain numbers.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// Writes a vector.
///
/// # Safety
/// A whole vector can be written to `to`.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(to: *mut f32, value: S::f32s) {
    // SAFETY: the vector is writable, as the caller promises.
    unsafe { to.cast::<S::f32s>().write_unaligned(value) }
}

/// The left operand: one value of each row for each step along the depth. Strides are in values.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) start: *const f32,
    /// Stride between rows.
    pub(crate) pitch: usize,
    /// Stride between steps along the depth.
    pub(crate) step: usize,
    /// Stride between runs of steps.
    pub(crate) run: usize,
}

/// The right operand: vectors of columns for each step along the depth. Strides are in values.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) start: *const f32,
    pub(crate) step: usize,
    pub(crate) run: usize,
}

/// The depth of a product: `runs` runs of `steps` steps each.
#[derive(Clone, Copy)]
pub(crate) struct Depth {
    pub(crate) runs: usize,
    pub(crate) steps: usize,
}

/// The destination of a tile, and the addend.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) to: *mut f32,
    /// Stride between rows.
    pub(crate) pitch: usize,
    /// The addend, with the row stride of `to`; null for zero.
    pub(crate) add: *const f32,
    /// Rows to write: those of a tile.
    pub(crate) rows: usize,
    /// Columns to write, at most those of the tile.
    pub(crate) columns: usize,
}

/// Number of columns of the widest tile that [`microkernel`] supports.
const WIDEST: usize = 64;

/// Divides rows among tiles of `MR` rows, of `SHORT` rows, and of one row. Returns the first row and the
/// number of rows of each tile.
///
/// For example, 32 rows are four tiles of six rows and two of four.
pub(crate) fn tiles<const MR: usize, const SHORT: usize>(
    rows: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = rows - first;
        let fills_two_short = left > MR && left == 2 * SHORT;
        let taken = match left {
            0 => return None,
            _ if left >= MR && !fills_two_short => MR,
            _ if left >= SHORT => SHORT,
            _ => 1,
        };
        first += taken;
        Some((first - taken, taken))
    })
}

/// Computes `to = add + a · b` for one of the [`tiles`]. `b` has the full width of the tile at each step.
///
/// # Safety
/// For all steps of all runs, `a` can be read for the rows of the tile, and `b` at full width. For the rows and
/// the columns to write, `to` can be written, and `add`, if not null, can be read.
#[inline(always)]
pub(crate) unsafe fn multiply_tile<
    S: Simd,
    const MR: usize,
    const SHORT: usize,
    const NV: usize,
>(
    simd: S,
    depth: Depth,
    a: Rows,
    b: Columns,
    out: Output,
) {
    // SAFETY: as the caller promises.
    unsafe {
        if out.rows == MR {
            microkernel::<S, MR, NV>(simd, depth, a, b, out);
        } else if out.rows == SHORT {
            microkernel::<S, SHORT, NV>(simd, depth, a, b, out);
        } else {
            debug_assert_eq!(out.rows, 1);
            microkernel::<S, 1, NV>(simd, depth, a, b, out);
        }
    }
}

/// Computes `to = add + a · b` for one tile of `MR` rows.
///
/// # Safety
/// As for [`multiply_tile`].
#[inline(always)]
unsafe fn microkernel<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    depth: Depth,
    a: Rows,
    b: Columns,
    out: Output,
) {
    const { assert!(NV * S::F32_LANES <= WIDEST) };
    debug_assert!(out.rows == MR && (1..=NV * S::F32_LANES).contains(&out.columns));
    let lanes = S::F32_LANES;
    let zero = simd.splat_f32s(0.0);
    let mut sums = [[zero; NV]; MR];
    let mut rows = [a.start; MR];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = a.start.wrapping_add(r * a.pitch);
    }
    for run in 0..depth.runs {
        for step in 0..depth.steps {
            let (left, right) = (run * a.run + step * a.step, run * b.run + step * b.step);
            let mut columns = [zero; NV];
            for (v, column) in columns.iter_mut().enumerate() {
                // SAFETY: `b` has full width at each step.
                *column = unsafe { load::<S>(b.start.add(right + v * lanes)) };
            }
            for (row, sums) in rows.into_iter().zip(&mut sums) {
                // SAFETY: this is a row at a step of a run.
                let factor = simd.splat_f32s(unsafe { *row.add(left) });
                for v in 0..NV {
                    sums[v] = fma(simd, factor, columns[v], sums[v]);
                }
            }
        }
    }
    if out.columns < NV * lanes {
        // SAFETY: as the caller promises.
        return unsafe { write_columns::<S, MR, NV>(sums, out) };
    }
    for (r, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            let place = r * out.pitch + v * lanes;
            // SAFETY: this is a row to write at full width.
            unsafe {
                let sum = match out.add.is_null() {
                    true => sum,
                    false => simd.add_f32s(sum, load::<S>(out.add.add(place))),
                };
                store::<S>(out.to.add(place), sum);
            }
        }
    }
}

/// Writes the first columns of a tile.
///
/// # Safety
/// As for [`multiply_tile`].
unsafe fn write_columns<S: Simd, const MR: usize, const NV: usize>(
    sums: [[S::f32s; NV]; MR],
    out: Output,
) {
    for (r, sums) in sums.iter().enumerate() {
        let mut line = [0.0; WIDEST];
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: `NV` vectors fit in the line: see `WIDEST`.
            unsafe { store::<S>(line.as_mut_ptr().add(v * S::F32_LANES), sum) };
        }
        for (column, &sum) in line.iter().enumerate().take(out.columns) {
            let place = r * out.pitch + column;
            // SAFETY: `r` and `column` are a row and a column of the output.
            unsafe {
                let add = if out.add.is_null() { 0.0 } else { *out.add.add(place) };
                *out.to.add(place) = sum + add;
            }
        }
    }
}

/// Calls a generic function with the tile shape for the instruction set and the number of columns:
/// rows of a tile, rows of a short tile, and vectors of columns. The shape has as many accumulators as
/// possible while leaving registers for the operands.
macro_rules! with_tile_shape {
    ($simd:ty, $columns:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match (<$simd as pulp::Simd>::REGISTER_COUNT >= 32, $columns <= <$simd as pulp::Simd>::F32_LANES) {
            (true, true) => $function::<$simd, 16, 8, 1>($($argument),*),
            (true, false) => $function::<$simd, 8, 4, 2>($($argument),*),
            (false, true) => $function::<$simd, 8, 4, 1>($($argument),*),
            (false, false) => $function::<$simd, 6, 4, 2>($($argument),*),
        }
    };
}
pub(crate) use with_tile_shape;

/// Number of columns of the tiles that [`with_tile_shape`] chooses.
pub(crate) fn tile_width<S: Simd>(columns: usize) -> usize {
    if columns <= S::F32_LANES { S::F32_LANES } else { 2 * S::F32_LANES }
}
