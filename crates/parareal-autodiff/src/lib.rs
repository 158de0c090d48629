//! Vector-Jacobian products and deferred weight gradients on Burn's automatic differentiation.
//!
//! - [`Vjp`] differentiates a tensor of any shape along a cotangent that arrives later.
//! - [`defer_weight_gradients`] runs a backward pass and postpones weight gradients, because nothing else in
//!   the pass depends on them.
//! - [`record`], [`is_deferring`] and [`defer`] are for crates that add operations with a
//!   hand-written backward pass to a graph on Burn's CPU backend.

mod deferred;
mod record;
mod vjp;

pub use deferred::{
    DeferredGradients, WeightGradients, defer, defer_weight_gradients, is_deferring,
};
pub use record::{FlexTensor, record};
pub use vjp::Vjp;

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
