//! Parareal networks: a very deep feed-forward network cut into subnetworks that train in parallel.
//!
//! A network is any sequence of [Burn](https://docs.rs/burn) modules. [`net`] turns it into a parareal network,
//! [`exec`] trains that network on one or several devices at once, [`plan`] predicts how long a step takes
//! and finds cuts that make it short. The crate knows nothing of images, files or the terminal.
//!
//! The crate `parareal-train` has the training loop with checkpoints and resumption for any of these networks,
//! and `parareal-ode` has the algorithm for differential equations that parareal networks come from.
//!
//! Source: C.-O. Lee, Y. Lee, J. Park, *A Parareal Architecture for Very Deep Convolutional
//! Neural Network*. Equation numbers in this documentation are the paper's.
//!
//! # A network of Burn's layers
//!
//! [`Sequential`](net::Sequential) is made of closures: one builds the stem, one each unit, one the head.
//! [`layer`](net::layer) turns a Burn module and the function that applies it into a layer. Burn is re-exported
//! as [`parareal::burn`](burn), so a program needs no other dependency, and no version to match.
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
//! - **The same step everywhere.** Every executor computes the same numbers up to rounding: outputs, gradients,
//!   running statistics.
//! - **The same weights.** Initial weights depend on a seed and on the parameter's name, and not on the cuts or
//!   on what else is built. This also holds for the initializers of Burn's layers
//!   ([`Init::initialize`](net::Init::initialize)).
//! - **The same masks.** Random layers draw by seed, step, replica and unit ([`nn::Dropout`]). Burn's own
//!   `Dropout` draws from a generator of the whole process and is refused by name.
//! - **States of several tensors** cross an interface in one message ([`net::Activation`]); masks and indices
//!   are recomputed on both sides ([`net::WithContext`]).
//! - **Errors with a place.** A network whose layers do not fit, whose parameters would not be trained, or that
//!   shares a parameter across a cut is refused with a message that names the place.
//!
//! # Features
//!
//! None is enabled by default.
//!
//! | feature | effect |
//! | --- | --- |
//! | `mpi` | subnetworks on the ranks of an MPI program (`exec::ExecutorBuilder::start_rank`) |
//! | `wgpu`, `vulkan`, `metal`, `cuda`, `rocm` | further devices, by Burn's backends |
//! | `tuned` | Burn's operation fusion and autotuning; enabled by the features of devices |
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
