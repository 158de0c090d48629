//! Fused operations with hand-written gradients for Burn's CPU backend, and partly for CubeCL's devices.
//!
//! A pre-activation residual unit applies batch normalization, ReLU and a convolution, three times
//! in a row. With separate operations, most of the time is spent on writing and reading
//! intermediate tensors: the normalized tensor, the activated tensor, and their gradients.
//!
//! [`preactivation_conv2d`] fuses the three operations. It reads the input in blocks that fit into
//! the first-level cache, and activates each block there. The backward pass recomputes the
//! activated blocks. A graph therefore stores only one tensor of the size of the images for each
//! convolution: its input.
//!
//! [`residual`] fuses a whole unit. Each convolution measures the statistics of the next
//! normalization while its output is in the cache, and the gradient of the skip connection is added
//! in place. In a sequence of units whose last convolution is 1×1 with few input channels, only every second
//! unit keeps its input, and the backward pass of the others computes it again, to the same bits.
//!
//! Tensors are `[batch, height, width, channels]` (channels last). In this layout, a convolution is
//! a matrix product of contiguous memory (`cpu::implicit_gemm`), and sums over pixels are sums of
//! vectors. The forward pass, the input gradient and the weight gradient share one microkernel
//! (`cpu::microkernel`). 3×3 convolutions without a stride use Winograd's algorithm
//! (`cpu::winograd`), which needs 2.25 to 4 times fewer multiplications, if the numbers of channels are multiples
//! of 16 and the output has an even size. Its rounding errors are two to eight times as large (about 1e-6), and an
//! infinite input also affects neighboring outputs that do not depend on it. [`Sgd`] updates each parameter in one pass.
//!
//! States may consist of bfloat16, with parameters in single precision: half the memory and half the traffic. Values are
//! converted to 32-bit floats in the cache (`cpu::element`), all computations are in single precision, and what is written to
//! memory is rounded to nearest. Statistics and gradients of parameters are those of the rounded states, without further
//! rounding. The levels [`SimdLevel::Avx512Bf16`], the default on AMD's processors that have it, and [`SimdLevel::Amx`] are the
//! exception: they multiply bfloat16 numbers
//! (`cpu::bf16_product`), where both factors are rounded and sums are 32-bit floats, and with AMX also instead of Winograd's
//! algorithm.
//!
//! With the feature `cube`, [`conv2d`], [`preactivation_conv2d`], [`residual`], [`projected_residual`] and [`Sgd`] are fused on the devices of CubeCL as
//! well (`cube/`): CUDA, ROCm, Metal, Vulkan, WebGPU, and CubeCL's own CPU runtime. Two launches for each
//! convolution compute its output, and three its gradients, with two for the whole unit. A normalized input is computed where it is multiplied, and so is the gradient
//! of a normalized output. States may be in bfloat16 as well. Where the device has instructions for matrices of bfloat16 numbers
//! (tensor cores), they compute the products of such states, with both factors rounded and sums in 32-bit floats.
//! Burn's operation fusion has to be off: its tensors are not matched.
//!
//! Every function falls back to Burn's own operations if the backend, precision or shapes are not
//! supported, or if the environment variable `PARAREAL_KERNELS` is `composed`. The instruction set
//! is chosen at run time ([`SimdLevel`]). Each operation runs on the threads of the Rayon thread
//! pool in which it is called.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use parareal_kernels::{ConvOptions, NormStatistics, Normalization, preactivation_conv2d};
//!
//! let device = Device::flex();
//! let normalization = Normalization {
//!     scale: Tensor::ones([16], &device),
//!     shift: Tensor::zeros([16], &device),
//!     statistics: NormStatistics::Batch(None),
//!     epsilon: 1e-5,
//!     running: None,
//! };
//! let input = Tensor::<4>::ones([2, 8, 8, 16], &device);
//! let weight = Tensor::<4>::ones([32, 16, 3, 3], &device);
//! let options = ConvOptions { stride: 2, padding: 1 };
//! let (output, statistics) =
//!     preactivation_conv2d(input, normalization, weight, options, None);
//! assert_eq!(output.dims(), [2, 4, 4, 32]);
//! assert_eq!(statistics.mean.dims(), [16]);
//! ```
//!
//! # Features
//!
//! None is enabled by default.
//!
//! | feature | effect |
//! | --- | --- |
//! | `allocator` | adds the module `allocator`: mimalloc that keeps unused memory, for binaries that train |
//! | `cube` | fused operations for the devices of CubeCL, beside one of Burn's features for them, such as `burn/cuda` |
//! | `cube-cpu`, `cube-wgpu` | `cube` with CubeCL's CPU runtime or WebGPU, for tests; the build of the former needs LLVM |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adamw;
#[cfg(feature = "allocator")]
pub mod allocator;
mod composed;
mod conv;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod environment;
mod flex;
mod functional;
mod fused_chain;
mod fused_depthwise;
mod fused_resample;
mod lerp;
mod normalization;
mod saved_chain;
mod sgd;
mod simd;

/// Sequences of launches that are recorded once and replayed as one, on the devices of CubeCL, and the memory of their tensors.
#[cfg(feature = "cube")]
pub mod graph {
    pub use crate::cube::graph::{GraphError, LaunchGraph, prepare};
    pub use crate::cube::memory::{
        MemoryKind, MemoryPlace, Reserve, TensorMemory, copy, duplicate, has_device_transport,
    };
    pub use crate::cube::sgd::{ScaledUpdates, UpdateScales};
}

pub use adamw::AdamW;
pub use conv::{ConvOptions, PreactivationConv, Projection};
pub use environment::{InvalidVariable, check_environment};
pub use functional::{
    average_pool2d, conv2d, depthwise_conv2d, is_fused, norm, norm_relu, preactivation_conv2d,
    projected_residual, residual, upsample2d,
};
pub use lerp::lerp;
pub use normalization::{ChannelStatistics, NormStatistics, Normalization, RunningStatistics};
pub use sgd::{Sgd, SgdState};
pub use simd::SimdLevel;

/// Tests of the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
