//! The trainer for any network.

mod common;
mod executors;
mod learning;
mod refusals;
mod resuming;
