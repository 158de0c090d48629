//! The fused operations compared with compositions of Burn's own operations.

mod against_composed;
mod common;
mod depthwise;
mod levels;
#[cfg(any(feature = "cube-cpu", feature = "cube-wgpu"))]
mod on_cube;
mod over_replicas;
mod recomputed_outputs;
mod resample;
mod units;
