//! Random layers that are reproducible in every training step.
//!
//! Most layers of `burn::nn` can be used in a parareal network without changes. The exceptions are random
//! layers: they draw from one process-wide generator, so their numbers depend on the order in which workers
//! draw. [`Dropout`] replaces Burn's layer of the same name and has the same interface.

mod dropout;

pub use dropout::{Dropout, DropoutConfig};
