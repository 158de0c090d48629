//! Products of two factors, tile by tile in shared memory.

use cubecl::prelude::*;

use super::matrix_product::matrix_product;
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

/// A tile's part of a factor in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    /// Number of lines.
    pub(crate) lines: usize,
    /// Number of steps.
    pub(crate) steps: usize,
    pub(crate) order: Order,
    /// Distance in shared memory between the lines, or 1.
    pub(crate) line_stride: usize,
    /// Distance in shared memory between the steps, or 1.
    pub(crate) step_stride: usize,
}

impl Part {
    /// Returns a part whose steps follow each other. They are one value further apart than there are lines, so that units that
    /// write one step each use different banks.
    fn by_step(tile: &Tile, lines: usize, order: Order) -> Self {
        Self { lines, steps: tile.depth, order, line_stride: 1, step_stride: Tile::stride(lines) }
    }

    /// Number of values from the first to the last, with the space between them.
    pub(crate) fn len(&self) -> usize {
        1 + (self.lines - 1) * self.line_stride + (self.steps - 1) * self.step_stride
    }
}

/// Returns this unit's results of a product over the steps from `begin` to `end`, in a tile that starts at these lines of both
/// factors. If the tile has an instruction, factors are rounded to `F`.
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
    if comptime!(tile.instruction.is_some()) {
        matrix_product::<L, R, F>(left, right, begin_row, begin_column, begin, end, orders, tile)
    } else {
        unit_product::<L, R>(left, right, begin_row, begin_column, begin, end, orders, tile)
    }
}

/// Computes [`product`], where each unit multiplies 32-bit floats.
#[cube]
fn unit_product<L: Factor, R: Factor>(
    left: &L,
    right: &R,
    begin_row: usize,
    begin_column: usize,
    begin: usize,
    end: usize,
    #[comptime] orders: [Order; 2],
    #[comptime] tile: Tile,
) -> Array<f32> {
    let rows = comptime!(Part::by_step(&tile, tile.rows, orders[0]));
    let columns = comptime!(Part::by_step(&tile, tile.columns, orders[1]));
    let mut left_part = Shared::<[f32]>::new_slice(comptime!(rows.len()));
    let mut right_part = Shared::<[f32]>::new_slice(comptime!(columns.len()));
    let mut results = Array::<f32>::new(comptime!(tile.unit_results()));
    let mut step = begin;
    while step < end {
        load::<L, f32>(left, &mut left_part, begin_row, step, rows, tile);
        load::<R, f32>(right, &mut right_part, begin_column, step, columns, tile);
        sync_cube();
        add_product(&left_part, &right_part, &mut results, tile);
        sync_cube();
        step += comptime!(tile.depth);
    }
    results
}

/// Loads a tile's part of a factor into shared memory.
#[cube]
pub(crate) fn load<L: Factor, F: Float>(
    factor: &L,
    values: &mut Shared<[F]>,
    begin_line: usize,
    begin_step: usize,
    #[comptime] part: Part,
    #[comptime] tile: Tile,
) {
    let lines = comptime!(part.lines);
    let steps = comptime!(part.steps);
    #[unroll(tile.unrolls_loads)]
    for load in 0..comptime!(tile.loads(lines)) {
        let index = UNIT_POS as usize + load * comptime!(tile.units());
        let mut line = index / steps;
        let mut step = index % steps;
        if comptime!(part.order == Order::Lines) {
            line = index % lines;
            step = index / lines;
        }
        if line < lines && step < steps {
            let value = factor.value(begin_line + line, begin_step + step);
            let place = line * comptime!(part.line_stride) + step * comptime!(part.step_stride);
            values[place] = F::cast_from(value);
        }
    }
}

/// Adds the product of two parts to the results of this unit.
#[cube]
fn add_product(
    left: &Shared<[f32]>,
    right: &Shared<[f32]>,
    results: &mut Array<f32>,
    #[comptime] tile: Tile,
) {
    let row = first_row(tile);
    let column = first_column(tile);
    let mut factors = Array::<f32>::new(comptime!(tile.unit_columns));
    for step in 0..comptime!(tile.depth) {
        let left_start = step * comptime!(Tile::stride(tile.rows)) + row;
        let right_start = step * comptime!(Tile::stride(tile.columns)) + column;
        #[unroll]
        for j in 0..comptime!(tile.unit_columns) {
            factors[j] = right[right_start + comptime!(j * tile.units_across())];
        }
        #[unroll]
        for i in 0..comptime!(tile.unit_rows) {
            let factor = left[left_start + comptime!(i * tile.units_down())];
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
