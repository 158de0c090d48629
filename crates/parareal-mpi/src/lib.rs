//! Messages between the ranks of a program that `mpirun` or `srun` has started.
//!
//! MPI is called from one thread of each rank, the *progress thread* (`MPI_THREAD_FUNNELED`; it is the
//! thread that initializes MPI). Other threads submit operations to it, and may wait for their
//! `Request`s. So an operation makes progress while the thread that started it computes: MPI moves
//! large messages only while it is called, and the progress thread calls it all the time.
//!
//! `World::init` makes the process a rank. The members of a `Communicator` make the same collective
//! calls in the same order, on any of their threads.
//!
//! All unsafe code is in the module `raw`. Errors of MPI come back as `MpiError`; a rank that cannot
//! continue calls `World::abort`, which ends all ranks.
//!
//! # Features
//!
//! | feature | effect |
//! | --- | --- |
//! | `mpi` (not enabled by default) | everything: without it the crate is empty and builds without MPI |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg(feature = "mpi")]

mod communicator;
mod error;
mod progress_handle;
mod progress_thread;
mod raw;
mod request;
mod world;

pub use communicator::Communicator;
pub use error::MpiError;
pub use progress_handle::Traffic;
pub use request::Request;
pub use world::World;

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
