//! Networks for [`parareal`]: the paper's pre-activation ResNet as a feed-forward network, with its cuts, the
//! `C_j` and `F_j` at its interfaces, and the costs of all components.
//!
//! # Features
//!
//! None is enabled by default.
//!
//! | feature | effect |
//! | --- | --- |
//! | `mpi` | subnetworks on the ranks of an MPI program |
//! | `wgpu`, `vulkan`, `metal`, `cuda`, `rocm` | devices other than the CPU, through Burn's backends |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod layers;
pub mod resnet;

pub use layers::{BalancedGroupConv2d, BatchNorm, Conv2d, DepthwiseConv2d};

/// Tests the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
