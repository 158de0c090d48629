//! Sums over the units of a block.

use cubecl::prelude::*;

/// Returns the sum of a value of each unit to all units. The order of the terms depends on the number of units alone.
///
/// `units` is a power of two, and the number of units of the block as well as of values in `scratch`.
#[cube]
pub(crate) fn sum_over_units(
    value: f32,
    scratch: &mut Shared<[f32]>,
    #[comptime] units: usize,
) -> f32 {
    let unit = UNIT_POS as usize;
    scratch[unit] = value;
    sync_cube();
    #[unroll]
    for level in 0..comptime!(units.ilog2() as usize) {
        let half = comptime!(units >> (level + 1));
        if unit < half {
            let other = scratch[unit + half];
            scratch[unit] += other;
        }
        sync_cube();
    }
    let sum = scratch[0];
    // The next sum must not overwrite this one before all units have read it.
    sync_cube();
    sum
}
