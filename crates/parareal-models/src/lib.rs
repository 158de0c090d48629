//! Networks for images as feed-forward networks of [`parareal`], with the `C_j` and `F_j` at their cuts and the costs of
//! all components: the paper's pre-activation ResNet, wide residual networks, VGG-16, the original ResNets of 50 to 152
//! layers, and vision transformers. See [`ImageNetwork`] and [`Architecture`].
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

mod architecture;
mod coarse;
mod coarsen;
mod costs;
mod head;
mod image;
mod image_network;
mod layers;
mod precision;
mod preprocessing;
mod size;
mod summary;
mod unit;

pub use architecture::{
    Architecture, ArchitectureError, ArchitectureNameError, PAPER_WIDTH, VitSize,
};
pub use coarse::{Coarse, CoarseChoice, CoarseKind};
pub use costs::{
    Component, ComponentCost, CostError, CostTable, NetworkCosts, PAPER_BATCH, PAPER_CLASSES,
    PAPER_DEPTH, PAPER_EPOCHS, PAPER_IMAGES, PAPER_ROWS, PAPER_SECONDS, PaperRow, Passes,
};
pub use head::{Head, HeadKind};
pub use image::Image;
pub use image_network::{DEFAULT_IMAGE_SIZE, ImageNetwork};
pub use layers::{BalancedGroupConv2d, BatchNorm, Conv2d, DepthwiseConv2d, LayerNorm, Linear};
pub use precision::{Precision, PrecisionError};
pub use preprocessing::{Preprocessing, PreprocessingKind};
pub use summary::{ParameterCounts, Summary};
pub use unit::*;

/// Tests the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
