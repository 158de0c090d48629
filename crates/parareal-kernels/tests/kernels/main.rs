//! The fused operations against compositions of Burn's own.

mod against_composed;
mod common;
mod depthwise;
mod levels;
mod resample;
mod units;
