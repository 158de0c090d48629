//! The product of two tiles in shared memory.

use cubecl::prelude::*;

use super::tile::Tile;

/// Adds the product of two tiles to the results of this unit.
///
/// Results are `unit_rows · unit_columns` values: the result of row `i` and column `j` belongs to row
/// `first_row + i · units_down` and column `first_column + j · units_across` of the tile.
#[cube]
pub(crate) fn add_product(
    left: &Shared<[f32]>,
    right: &Shared<[f32]>,
    results: &mut Array<f32>,
    #[comptime] tile: Tile,
) {
    let row = first_row(tile);
    let column = first_column(tile);
    let mut factors = Array::<f32>::new(comptime!(tile.unit_columns));
    for step in 0..comptime!(tile.depth) {
        let left_start = step * comptime!(tile.left_stride()) + row;
        let right_start = step * comptime!(tile.right_stride()) + column;
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
