//! The command on the ranks of `mpirun`: it trains as threads do, starts and ends together, and
//! leaves runs that go on. Skips with a message where there is no `mpirun`.
#![cfg(feature = "mpi")]

#[path = "../common/mod.rs"]
mod common;
mod ending;
mod launch;
mod refusals;
mod training;
