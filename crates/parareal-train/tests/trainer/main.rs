//! The trainer for any network.

mod common;
mod executors;
mod layers;
mod learning;
mod refusals;
mod resuming;
