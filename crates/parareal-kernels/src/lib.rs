//! Fused operations with hand-written gradients for Burn's CPU backend.

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
mod simd;
mod statistics;
mod tile;

pub use geometry::Geometry;
pub use operation::{
    Normalization, Stepping, channel_statistics, conv2d, is_fused, preactivation_conv2d,
};
pub use simd::SimdLevel;
