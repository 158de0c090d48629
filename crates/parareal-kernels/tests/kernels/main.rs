//! The fused operations compared with compositions of Burn's own operations.

mod against_composed;
mod common;
mod depthwise;
mod levels;
#[cfg(feature = "cube-cpu")]
mod on_cube;
mod over_replicas;
mod recomputed_outputs;
mod resample;
mod units;
