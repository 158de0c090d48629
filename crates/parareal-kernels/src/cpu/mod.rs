//! Forward and backward passes over slices on the CPU, independent of Burn.

mod backward;
// Other machines do not have such instructions.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused))]
pub(crate) mod bf16_product;
mod chunks;
pub(crate) mod convolution;
pub(crate) mod depthwise;
pub(crate) mod element;
mod elementwise;
pub(crate) mod folded_norm;
mod forward;
pub(crate) mod geometry;
pub(crate) mod gradients;
pub(crate) mod helpers;
mod implicit_gemm;
mod microkernel;
pub(crate) mod moments;
mod norm_gradient;
mod packed_weight;
pub(crate) mod resample;
mod scratch;
mod shared_slice;
mod stride_phase;
mod winograd;
