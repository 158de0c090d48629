//! Vector-Jacobian products and deferred weight gradients on Burn's automatic differentiation.
//!
//! - [`Vjp`] differentiates a tensor of any shape along a cotangent that arrives later.
//! - [`defer_weight_gradients`] runs a backward pass and postpones weight gradients, because nothing else in
//!   the pass depends on them.
//! - [`record`], [`is_deferring`] and [`defer`] are for crates that add operations with a
//!   hand-written backward pass to a graph on Burn's CPU backend, or with the feature `cube` on CubeCL's devices.
//! - [`join_launches`] lets operations on many tensors share their launches on a GPU.
//! - [`within`] holds the state of such a scope on a thread.
//! - [`with_replica_sum`] lets operations such as batch normalization depend on the samples of all replicas.

mod deferred;
mod joined_launches;
mod record;
mod replica_sum;
mod scope;
mod vjp;

pub use deferred::{
    DeferredGradients, WeightGradients, defer, defer_weight_gradients, is_deferring,
};
pub use joined_launches::{Launches, join_launches, postpone};
pub use record::{FlexTensor, GraphBackend, record};
pub use replica_sum::{ReplicaSum, replica_sum, sum_over_replicas, with_replica_sum};
pub use scope::within;
pub use vjp::Vjp;

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
