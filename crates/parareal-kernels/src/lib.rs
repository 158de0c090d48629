//! Fused operations with hand-written gradients for Burn's CPU backend.

#[cfg(feature = "allocator")]
pub mod allocator;
mod backward;
mod composed;
mod elementwise;
mod forward;
mod fused;
mod geometry;
mod memory;
mod operation;
mod parts;
mod product;
mod pull_back;
mod simd;
mod statistics;
mod tile;

pub use geometry::Geometry;
pub use operation::{
    Center, Normalization, Statistics, Stepping, conv2d, is_fused, preactivation_conv2d,
};
pub use pull_back::pull_back;
pub use simd::SimdLevel;
