//! The trainer for any network.

mod common;
mod executors;
mod killed;
mod layers;
mod learning;
mod refusals;
mod resuming;
