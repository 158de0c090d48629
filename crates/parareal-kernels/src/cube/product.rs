//! Products of two factors, tile by tile in shared memory.

use cubecl::prelude::*;

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

/// Returns this unit's results of a product over the steps from `begin` to `end`, in a tile that starts at these lines of both
/// factors.
///
/// Results are `unit_rows · unit_columns` values: the result of row `i` and column `j` belongs to row
/// `first_row + i · units_down` and column `first_column + j · units_across` of the tile.
#[cube]
pub(crate) fn product<L: Factor, R: Factor>(
    left: &L,
    right: &R,
    begin_row: usize,
    begin_column: usize,
    begin: usize,
    end: usize,
    #[comptime] orders: [Order; 2],
    #[comptime] tile: Tile,
) -> Array<f32> {
    let rows = comptime!(tile.rows);
    let columns = comptime!(tile.columns);
    let mut left_part = Shared::<[f32]>::new_slice(comptime!(tile.depth * Tile::stride(tile.rows)));
    let mut right_part =
        Shared::<[f32]>::new_slice(comptime!(tile.depth * Tile::stride(tile.columns)));
    let mut results = Array::<f32>::new(comptime!(tile.unit_results()));
    let mut step = begin;
    while step < end {
        load::<L>(left, &mut left_part, begin_row, step, rows, comptime!(orders[0]), tile);
        load::<R>(right, &mut right_part, begin_column, step, columns, comptime!(orders[1]), tile);
        sync_cube();
        add_product(&left_part, &right_part, &mut results, tile);
        sync_cube();
        step += comptime!(tile.depth);
    }
    results
}

/// Loads a tile's part of a factor into shared memory.
#[cube]
fn load<F: Factor>(
    factor: &F,
    part: &mut Shared<[f32]>,
    begin_line: usize,
    begin_step: usize,
    #[comptime] lines: usize,
    #[comptime] order: Order,
    #[comptime] tile: Tile,
) {
    let depth = comptime!(tile.depth);
    #[unroll(tile.unrolls_loads)]
    for load in 0..comptime!(tile.loads(lines)) {
        let index = UNIT_POS as usize + load * comptime!(tile.units());
        let mut line = index / depth;
        let mut step = index % depth;
        if comptime!(order == Order::Lines) {
            line = index % lines;
            step = index / lines;
        }
        if line < lines && step < depth {
            let value = factor.value(begin_line + line, begin_step + step);
            part[step * comptime!(Tile::stride(lines)) + line] = value;
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
