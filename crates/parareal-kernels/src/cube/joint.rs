//! Launches for several tensors at once: a grid has a row of blocks for each.

use cubecl::client::Client;
use cubecl::prelude::*;

use super::tile::{Scale, grid};

/// The largest number of tensors of a launch. A kernel has a branch for each, so more of them take longer to compile, and some
/// drivers accept at most 4 KiB of arguments, of which three buffers take 40 bytes.
const MAX_TENSORS: usize = 64;

/// The largest number of blocks for one tensor. Each unit computes several values if there are more.
const MAX_TENSOR_BLOCKS: usize = 256;

/// Buffers of every kernel: one for scalars and one for lengths.
const OWN_BUFFERS: usize = 2;

/// Returns the largest number of tensors of a launch, if each has this number of buffers. `others` counts the kernel's buffers beside
/// those of the tensors, scalars and lengths.
pub(crate) fn tensors_per_launch(client: &Client, buffers: usize, others: usize) -> usize {
    let bindings = client.properties().hardware.max_bindings as usize;
    (bindings.saturating_sub(OWN_BUFFERS + others) / buffers).clamp(1, MAX_TENSORS)
}

/// The first value of its tensor that this unit computes.
#[cube]
pub(crate) fn first_value() -> usize {
    CUBE_POS_X as usize * CUBE_DIM as usize + UNIT_POS as usize
}

/// Distance between the values that a unit computes.
#[cube]
pub(crate) fn value_stride() -> usize {
    CUBE_COUNT_X as usize * CUBE_DIM as usize
}

/// Returns the grid and the blocks of a launch for `count` tensors, of which the largest has this number of values.
pub(crate) fn joint_grid(client: &Client, largest: usize, count: usize) -> (CubeCount, CubeDim) {
    let units = Scale::of(client).elementwise_units();
    let blocks = largest.div_ceil(units).clamp(1, MAX_TENSOR_BLOCKS);
    (grid(blocks, count, 1), CubeDim::new_1d(units as u32))
}
