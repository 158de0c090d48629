//! Parareal networks: a very deep feed-forward network cut into subnetworks that train in parallel.
//!
//! The crate knows nothing of images, files or the terminal. A network is any sequence of
//! [Burn](https://docs.rs/burn) modules that map tensors to tensors; [`net`] turns it into a
//! parareal network, [`exec`] trains that network on one or several devices at once, [`plan`]
//! predicts how long a step takes and finds cuts that make it short. The crate `parareal-ode` has the
//! algorithm that it comes from, for differential equations.
//!
//! Source: C.-O. Lee, Y. Lee, J. Park, *A Parareal Architecture for Very Deep Convolutional
//! Neural Network*. Equation numbers in this documentation are the paper's.

pub mod exec;
pub mod net;
pub mod nn;
pub mod plan;
mod random;
pub mod timeline;
