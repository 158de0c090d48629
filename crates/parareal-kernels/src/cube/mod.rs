//! Fused operations for the devices of CubeCL: CUDA, ROCm, Metal, Vulkan, WebGPU, and CubeCL's own CPU runtime.
//!
//! - `shape.rs`, `tile.rs`, `matrices.rs`, `elements.rs`: the sizes, instructions and element types that a kernel is compiled for.
//! - `reduction.rs`, `product.rs`, `matrix_product.rs`, `factors.rs`: what several kernels share. Sums have a fixed order everywhere,
//!   so results are reproducible. There are no atomic operations.
//! - `statistics.rs`, `forward.rs`: the forward pass.
//! - `input_gradient.rs`, `norm_gradient.rs`, `weight_gradient.rs`: the backward pass. The formulas are those of
//!   `cpu/backward.rs`.
//! - `joint.rs`: launches for many tensors. `sgd.rs`, `lerp.rs`: updates of parameters, and of their moving average.
//! - `graph.rs`, `memory.rs`: launches that are recorded and replayed, and copies to and from the memory that they use.
//! - `tensors.rs`: tensors as buffers. `operands.rs`, `chain.rs`, `saved_chain.rs`, `late_gradients.rs`, `remembered_moments.rs`: chains
//!   of convolutions as nodes of Burn's automatic differentiation.
//!
//! States and their gradients consist of 32-bit floats or bfloat16. All other tensors and all computations are 32-bit floats, except
//! that the factors of products of states in bfloat16 are rounded to bfloat16 where the device has instructions for such matrices.
//! Indices within a tensor have 32 bits.
//!
//! On CubeCL's CPU runtime a block has one unit ([`tile::Scale`]), because units that wait for each other spin. Tests on WebGPU
//! show whether units of a block wait for each other where they have to.

#![allow(clippy::too_many_arguments, reason = "kernels have a parameter for each buffer and size")]

mod chain;
mod elements;
mod factors;
mod forward;
pub(crate) mod graph;
mod input_gradient;
mod joint;
mod late_gradients;
mod lerp;
mod matrices;
mod matrix_product;
pub(crate) mod memory;
mod norm_gradient;
mod operands;
mod product;
mod reduction;
mod remembered_moments;
mod saved_chain;
pub(crate) mod sgd;
mod shape;
mod statistics;
mod tensors;
mod tile;
mod weight_gradient;

/// The device of the unit tests.
#[cfg(all(test, feature = "cube-wgpu"))]
fn test_device() -> burn::tensor::Device {
    burn::tensor::Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)
}

/// The device of the unit tests.
#[cfg(all(test, feature = "cube-cpu", not(feature = "cube-wgpu")))]
fn test_device() -> burn::tensor::Device {
    burn::tensor::Device::cpu()
}

/// Returns the values of a tensor with this number of dimensions, for unit tests.
#[cfg(all(test, any(feature = "cube-cpu", feature = "cube-wgpu")))]
fn numbers<const D: usize>(tensor: burn_cubecl::tensor::CubeTensor) -> Vec<f32> {
    tensors::constant::<D>(tensor).into_data().try_into_vec().unwrap()
}

pub(crate) use chain::chain;
pub(crate) use lerp::lerp;
pub(crate) use sgd::sgd_step;
pub(crate) use tensors::{is_fused, is_fused_state};
