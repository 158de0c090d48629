//! Parareal networks: a very deep feed-forward network cut into subnetworks that train in parallel.
//!
//! A network is any sequence of [Burn](https://docs.rs/burn) modules. [`net`] turns it into a parareal
//! network. [`exec`] trains the parareal network on one device or on several in parallel. [`plan`] predicts
//! the time of a step and finds the cuts that minimize it. The crate does not depend on images, files or the
//! terminal.
//!
//! The crate `parareal-train` contains a training loop with checkpoints and resumption for any of these
//! networks. `parareal-ode` contains the algorithm for differential equations that parareal networks are
//! derived from.
//!
//! Source: C.-O. Lee, Y. Lee, J. Park, *A Parareal Architecture for Very Deep Convolutional Neural Network*.
//! Equation numbers in this documentation refer to this paper.
//!
//! # A network of Burn layers
//!
//! [`Sequential`](net::Sequential) is made of closures: one builds the stem, one builds each unit, and one
//! builds the head. [`layer`](net::layer) turns a Burn module and the function that applies it into a layer.
//! Burn is re-exported as [`parareal::burn`](burn), so a program needs no other dependency and always uses
//! the matching version.
//!
//! ```
//! use parareal::burn::nn::{Linear, LinearConfig};
//! use parareal::burn::optim::AdamWConfig;
//! use parareal::prelude::*;
//!
//! fn linear(from: usize, to: usize, init: &Init) -> Linear {
//!     LinearConfig::new(from, to).init(init.device())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::flex();
//! let network = Sequential::stem(Tensor::<2>::zeros([1, 2], &device), |init| {
//!     layer(linear(2, 16, init), Linear::forward)
//! })
//! .units(12, |_, init| {
//!     layer(linear(16, 16, init), |linear, x: Tensor<2>| x.clone() + linear.forward(x).tanh())
//! })
//! .head(|init| layer(linear(16, 3, init), Linear::forward))?;
//!
//! // Three subnetworks of four units each, on as many workers as there are cores.
//! let parareal = PararealNetwork::build(&network, &Cuts::even(12, 3)?, &Init::new(1, &device))?;
//! let optimizer = AdamWConfig::new().init();
//! let mut executor = ExecutorBuilder::new(CrossEntropy::default(), optimizer).start(parareal)?;
//! let input = Tensor::from_data([[0.0, 1.0], [1.0, 0.0]], &device);
//! let labels = Tensor::from_data([0, 2], &device);
//! let first = executor.train_step(input.clone(), labels.clone(), 1e-2)?.loss;
//! let second = executor.train_step(input, labels, 1e-2)?.loss;
//! assert!(second < first);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **The same step everywhere.** Every executor computes the same outputs, gradients and running statistics
//!   up to rounding.
//! - **The same weights.** Initial weights depend on a seed and the parameter's name, not on the cuts or on
//!   which other modules are built. This also holds for the initializers of Burn's layers
//!   ([`Init::initialize`](net::Init::initialize)).
//! - **The same masks.** The numbers of random layers depend only on the seed, the step, the replica and the
//!   unit ([`nn::Dropout`]). Burn's own `Dropout` draws from a process-wide generator. A network that
//!   contains it is rejected with an error that names the layer.
//! - **States of several tensors** cross an interface in one message ([`net::Activation`]); masks and indices
//!   are recomputed on both sides ([`net::WithContext`]).
//! - **Errors that name the location.** A network is rejected if its layers do not fit together, if
//!   parameters would not be trained, or if subnetworks share a parameter. The message names the location.
//!
//! # Features
//!
//! No feature is enabled by default.
//!
//! | feature | effect |
//! | --- | --- |
//! | `mpi` | subnetworks on the ranks of an MPI program (`exec::ExecutorBuilder::start_rank`) |
//! | `wgpu`, `vulkan`, `metal`, `cuda`, `rocm` | additional devices, through Burn's backends |
//! | `cube` | part of the features for devices: Burn's autotuning, with a cache on disk, and deferred weight gradients there |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod exec;
pub mod net;
pub mod nn;
pub mod plan;
pub mod prelude;
mod random;
pub mod timeline;

pub use burn;

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
