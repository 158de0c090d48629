//! Products of two factors, tile by tile in shared memory.

use cubecl::prelude::*;

use super::matrix_product::{ALIGNMENT, PADDING, add_matrix_products, distribute, zero_matrices};
use super::tile::Tile;

/// A factor of a product: lines of values, which are the rows of the first factor and the columns of the second.
#[cube]
pub(crate) trait Factor: CubeType + 'static {
    /// Returns the value of a line at a step of the product, or 0 after the last line or step.
    fn value(&self, line: usize, step: usize) -> f32;
}

/// The order in which neighboring units load values, which should be next to each other in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    /// The steps of a line one after the other.
    Steps,
    /// The lines of a step one after the other.
    Lines,
}

/// A tile's part of a factor, as it is laid out in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SharedFactor {
    /// Number of lines.
    lines: usize,
    /// Number of steps.
    steps: usize,
    pub(crate) order: Order,
    /// Distance between the lines, or 1.
    pub(crate) line_stride: usize,
    /// Distance between the steps, or 1.
    pub(crate) step_stride: usize,
}

impl SharedFactor {
    /// Returns the layout of a factor with this number of lines.
    pub(crate) fn new(tile: &Tile, lines: usize, order: Order) -> Self {
        let steps = tile.depth;
        let (line_stride, step_stride) = match (tile.instruction, order) {
            // A unit reads several lines of a step, whatever the order of the loads.
            (None, _) => (1, Tile::stride(lines)),
            (Some(_), Order::Steps) => (steps + PADDING, 1),
            (Some(_), Order::Lines) => (1, lines + PADDING),
        };
        Self { lines, steps, order, line_stride, step_stride }
    }

    /// Number of values from the first to the last, with the padding between them.
    pub(crate) fn len(&self) -> usize {
        1 + (self.lines - 1) * self.line_stride + (self.steps - 1) * self.step_stride
    }
}

/// Returns this unit's results of a product over the steps from `begin` to `end`, in a tile that starts at these lines of both
/// factors. If the tile has an instruction, factors are rounded to `F`; otherwise `F` is `f32`. Sums are 32-bit floats.
///
/// Results are `unit_rows · unit_columns` values: the result of row `i` and column `j` belongs to row
/// `first_row + i · units_down` and column `first_column + j · units_across` of the tile.
#[cube]
pub(crate) fn product<L: Factor, R: Factor, F: Float>(
    left: &L,
    right: &R,
    begin_row: usize,
    begin_column: usize,
    begin: usize,
    end: usize,
    #[comptime] orders: [Order; 2],
    #[comptime] tile: Tile,
) -> Array<f32> {
    let left_layout = comptime!(SharedFactor::new(&tile, tile.rows, orders[0]));
    let right_layout = comptime!(SharedFactor::new(&tile, tile.columns, orders[1]));
    let mut left_values = Shared::<[F]>::new_aligned_slice(comptime!(left_layout.len()), ALIGNMENT);
    let mut right_values =
        Shared::<[F]>::new_aligned_slice(comptime!(right_layout.len()), ALIGNMENT);
    let mut results = Array::<f32>::new(comptime!(tile.unit_results()));
    let sums = zero_matrices(tile);
    let mut step = begin;
    while step < end {
        load::<L, F>(left, &mut left_values, begin_row, step, left_layout, tile);
        load::<R, F>(right, &mut right_values, begin_column, step, right_layout, tile);
        sync_cube();
        if comptime!(tile.instruction.is_some()) {
            add_matrix_products::<F>(
                &left_values,
                &right_values,
                &sums,
                left_layout,
                right_layout,
                tile,
            );
        } else {
            add_product::<F>(
                &left_values,
                &right_values,
                &mut results,
                left_layout,
                right_layout,
                tile,
            );
        }
        sync_cube();
        step += comptime!(tile.depth);
    }
    if comptime!(tile.instruction.is_some()) {
        distribute(&sums, &mut results, tile);
    }
    results
}

/// Loads a tile's part of a factor into shared memory.
#[cube]
fn load<L: Factor, F: Float>(
    factor: &L,
    values: &mut Shared<[F]>,
    begin_line: usize,
    begin_step: usize,
    #[comptime] layout: SharedFactor,
    #[comptime] tile: Tile,
) {
    let lines = comptime!(layout.lines);
    let steps = comptime!(layout.steps);
    #[unroll(tile.unrolls_loads)]
    for load in 0..comptime!(tile.loads(lines)) {
        let index = UNIT_POS as usize + load * comptime!(tile.units());
        let mut line = index / steps;
        let mut step = index % steps;
        if comptime!(layout.order == Order::Lines) {
            line = index % lines;
            step = index / lines;
        }
        if line < lines && step < steps {
            let value = factor.value(begin_line + line, begin_step + step);
            let place = line * comptime!(layout.line_stride) + step * comptime!(layout.step_stride);
            values[place] = F::cast_from(value);
        }
    }
}

/// Adds the product of two parts, whose lines follow each other, to the results of this unit.
#[cube]
fn add_product<F: Float>(
    left: &Shared<[F]>,
    right: &Shared<[F]>,
    results: &mut Array<f32>,
    #[comptime] left_layout: SharedFactor,
    #[comptime] right_layout: SharedFactor,
    #[comptime] tile: Tile,
) {
    let row = first_row(tile);
    let column = first_column(tile);
    let mut factors = Array::<f32>::new(comptime!(tile.unit_columns));
    for step in 0..comptime!(tile.depth) {
        let left_start = step * comptime!(left_layout.step_stride) + row;
        let right_start = step * comptime!(right_layout.step_stride) + column;
        #[unroll]
        for j in 0..comptime!(tile.unit_columns) {
            factors[j] = f32::cast_from(right[right_start + comptime!(j * tile.units_across())]);
        }
        #[unroll]
        for i in 0..comptime!(tile.unit_rows) {
            let factor = f32::cast_from(left[left_start + comptime!(i * tile.units_down())]);
            #[unroll]
            for j in 0..comptime!(tile.unit_columns) {
                let index = comptime!(i * tile.unit_columns + j);
                results[index] = fma(factor, factors[j], results[index]);
            }
        }
    }
}

/// The first row of this unit's results within the tile.
#[cube]
pub(crate) fn first_row(#[comptime] tile: Tile) -> usize {
    UNIT_POS as usize / comptime!(tile.units_across())
}

/// The first column of this unit's results within the tile.
#[cube]
pub(crate) fn first_column(#[comptime] tile: Tile) -> usize {
    UNIT_POS as usize % comptime!(tile.units_across())
}
