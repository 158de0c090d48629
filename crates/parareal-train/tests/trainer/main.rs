//! The trainer for any network.

mod common;
mod distilling;
mod executors;
mod killed;
mod layers;
mod learning;
#[cfg(feature = "mpi")]
mod ranks;
mod refusals;
mod resuming;
mod timelines;
