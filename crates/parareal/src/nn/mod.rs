//! Layers whose random numbers are a function of the training step.
//!
//! The layers of `burn::nn` work in a parareal network as they are, except for random ones: they draw from
//! one generator of the process, so what they draw depends on which worker comes first. The layers of this
//! module have the interface of those and can be exchanged for them.

mod dropout;

pub use dropout::{Dropout, DropoutConfig};
