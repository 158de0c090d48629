//! Networks for [`parareal`]: the pre-activation ResNet of the paper as a feed-forward network,
//! with its cuts, the `C_j` and `F_j` at its interfaces, and what they cost.

mod layers;
pub mod resnet;

pub use layers::{BatchNorm, Conv2d, DepthwiseConv2d};
