//! The ranks of an MPI program as the processes of a [`ParallelExecutor`](super::parallel::ParallelExecutor).
//!
//! Each rank has a share of a [`Layout`](super::Layout). It builds only its own subnetworks, and runs one or
//! several workers on them. Each worker is a thread. Workers of the same rank communicate through channels.
//! Neighboring ranks communicate through a [`RankLink`](link::RankLink), which sends tensors from host
//! memory. All ranks make the same calls of the executor with the same batch, and each replica uses its part
//! of the batch. So inputs need no communication.
//!
//! In each rank, a separate thread calls MPI (`parareal_mpi`), so that messages and all-reduces make progress
//! while workers compute.

mod all_reduce;
mod collectives;
mod first_error;
mod link;
mod rank_report;
mod ranks;

pub(super) use ranks::{Dtypes, Ranks, agree, all_ranks};
