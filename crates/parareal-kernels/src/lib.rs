//! Fused operations with hand-written gradients for Burn's CPU backend.
//!
//! A pre-activation residual unit is batch normalization, ReLU and convolution, three times over.
//! Composed of separate operations, most of its time goes into moving tensors that need not exist:
//! the normalized one, the activated one, their gradients. [`preactivation_conv2d`] is all three as
//! one operation. A convolution reads its input in blocks that fit into the first-level cache and
//! activates them there; its backward pass recomputes the activated block instead of storing it. So
//! of all tensors of the size of an image, a graph stores only the input of each convolution.
//! [`residual`] is a whole unit: a convolution measures the statistics of the next normalization
//! while its output is in the cache, and the gradient of the skip is added in place.
//!
//! Tensors are `[batch, height, width, channels]` (channels last). Then a convolution is a matrix
//! product of contiguous memory (`cpu::implicit_gemm`), sums over pixels are sums of vectors, and
//! forward pass, input gradient and weight gradient share one microkernel (`cpu::microkernel`). 3×3
//! convolutions without a stride use Winograd's algorithm, with fewer multiplications
//! (`cpu::winograd`): there an infinite input also reaches neighboring outputs that do not depend
//! on it. [`Sgd`] updates parameters in one pass.
//!
//! Every function falls back to Burn's own operations if backend, precision or shapes are not
//! supported, or the environment variable `PARAREAL_KERNELS` is `composed`. The instruction set is
//! chosen at run time ([`SimdLevel`]). Each operation runs on the threads of the pool that it is
//! called in.
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
//! | `allocator` | the module `allocator`: mimalloc that keeps its memory, for binaries that train |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "allocator")]
pub mod allocator;
mod composed;
mod conv;
mod cpu;
mod flex;
mod functional;
mod fused_chain;
mod fused_depthwise;
mod fused_resample;
mod normalization;
mod sgd;
mod simd;

pub use conv::{ConvOptions, PreactivationConv};
pub use functional::{
    average_pool2d, conv2d, depthwise_conv2d, is_fused, norm_relu, preactivation_conv2d, residual,
    upsample2d,
};
pub use normalization::{ChannelStatistics, NormStatistics, Normalization};
pub use sgd::{Sgd, SgdState};
pub use simd::SimdLevel;

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
