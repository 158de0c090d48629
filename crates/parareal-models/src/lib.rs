//! Networks for [`parareal`]: the pre-activation ResNet of the paper as a feed-forward network,
//! with its cuts, the `C_j` and `F_j` at its interfaces, and what they cost.
//!
//! # Features
//!
//! None is enabled by default.
//!
//! | feature | effect |
//! | --- | --- |
//! | `mpi` | subnetworks on the ranks of an MPI program |
//! | `wgpu`, `vulkan`, `metal`, `cuda`, `rocm` | further devices, by Burn's backends |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod layers;
pub mod resnet;

pub use layers::{BalancedGroupConv2d, BatchNorm, Conv2d, DepthwiseConv2d};

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
