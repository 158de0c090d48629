//! Messages between the ranks of a program that `mpirun` or `srun` has started.
//!
//! MPI is called from one thread of each rank, the *post* (`MPI_THREAD_FUNNELED`; it is the thread
//! that initializes MPI): other threads hand it what is to be sent, received or added up, and wait
//! for an answer or do not. So nothing that is under way needs the thread that asked for it: MPI
//! moves large messages only while somebody calls it, and the post always does.
//!
//! `World::join` makes the process a rank. A `Circle` is a communicator; its members make the
//! same calls in the same order, whatever threads make them.
//!
//! Everything unsafe stands in `wire.rs` and `flight.rs`. Errors of MPI come back as `MpiError`; a
//! rank that cannot go on calls `World::abort`, which ends all of them.
//!
//! Without the feature `mpi` the crate is empty.
#![cfg(feature = "mpi")]

mod error;
mod flight;
mod post;
mod wire;
mod world;

pub use error::MpiError;
pub use world::{Circle, Pending, Traffic, World};
