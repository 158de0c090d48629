//! Layers whose random numbers are a function of the training step.
//!
//! Most layers of `burn::nn` work in a parareal network as they are. Its random ones do not: they draw from one
//! generator of the process, so their numbers depend on the order in which workers draw. [`Dropout`] has the
//! interface of Burn's and takes its place.

mod dropout;

pub use dropout::{Dropout, DropoutConfig};
