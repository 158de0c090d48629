//! Messages between the ranks of a program that `mpirun` or `srun` has started.
//!
//! MPI is called from one thread of each rank, the *progress thread*, which also initializes MPI
//! (`MPI_THREAD_FUNNELED`). Other threads submit operations to the progress thread, and may wait for the returned
//! `Request`s. MPI moves large messages only during calls of its functions. The progress thread makes these calls
//! continually, so an operation makes progress while the thread that started it computes.
//!
//! `World::init` makes the process a rank. The members of a `Communicator` must make the same collective calls in
//! the same order; each call may come from any thread.
//!
//! Ranks send each other heartbeats, so that `World::watch` can end all of them if one is stopped.
//!
//! All unsafe code is in the module `raw`. MPI errors are returned as `MpiError`. A rank that cannot continue
//! calls `World::abort`, which ends all ranks.
//!
//! # Features
//!
//! | feature | effect |
//! | --- | --- |
//! | `mpi` (not enabled by default) | enables the whole crate; without it the crate is empty and builds without MPI |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg(feature = "mpi")]

mod communicator;
mod error;
mod heartbeat;
mod progress_handle;
mod progress_thread;
mod raw;
mod request;
mod world;

pub use communicator::Communicator;
pub use error::MpiError;
pub use heartbeat::SilentRank;
pub use progress_handle::Traffic;
pub use request::Request;
pub use world::World;

/// Tests the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
