//! Fused operations with hand-written gradients for Burn's CPU backend.
//!
//! A pre-activation residual unit is batch normalization, ReLU and convolution, three times over.
//! Made of separate operations, most of its time goes into moving tensors that need not exist:
//! the normalized one, the activated one, their gradients. [`preactivation_conv2d`] is all three at
//! once. A convolution reads its input in blocks that fit into the first cache and activates them
//! there; its gradient computes the activated block again instead of keeping it. So of all the
//! tensors as large as an image, a graph keeps the input of each convolution alone. [`residual`] is
//! a whole unit: a convolution measures the statistics that the next one needs while its output is
//! in the cache, and the gradient of the skip is added where it lies.
//!
//! Tensors are `[batch, height, width, channels]`: pixel by pixel, a convolution is a matrix
//! product of what lies in memory (the module `product`), sums over pixels are sums of vectors,
//! and forward pass, input gradient and weight gradient are the same few loops (`tile`). 3×3
//! convolutions without a stride take fewer multiplications (`winograd`): there an infinite input
//! also reaches the pixels beside those that see it. [`Sgd`] updates parameters in one pass.
//!
//! Every function falls back to Burn's own operations where backend, precision or shapes ask for
//! it, or the environment variable `PARAREAL_KERNELS` is `composed`. The instructions are chosen when
//! the program runs ([`SimdLevel`]); each operation runs on the threads of the pool that it is called
//! in.
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

#[cfg(feature = "allocator")]
pub mod allocator;
mod composed;
mod conv;
mod cpu;
mod flex;
mod functional;
mod fused_chain;
mod fused_depthwise;
mod normalization;
mod sgd;
mod simd;

pub use conv::{ConvOptions, PreactivationConv};
pub use functional::{conv2d, depthwise_conv2d, is_fused, preactivation_conv2d, residual};
pub use normalization::{ChannelStatistics, NormStatistics, Normalization};
pub use sgd::{Sgd, SgdState};
pub use simd::SimdLevel;
