//! The ranks of an MPI program as the processes of a [`ParallelExecutor`](super::parallel::ParallelExecutor).
//!
//! Each rank has a share of a [`Layout`](super::Layout). It builds its own subnetworks and no others,
//! and runs one or several workers on them, each a thread. Between two workers of a rank there is a
//! channel; between neighboring ranks a [`RankLink`](link::RankLink), whose tensors go through host
//! memory. All ranks make the same calls of the executor with the same batch, of which each replica
//! takes its part; so inputs need no communication.
//!
//! MPI itself is called by a thread of its own in each rank (`parareal_mpi`), so that messages and
//! all-reduces make progress while workers compute.

mod all_reduce;
mod collectives;
mod first_error;
mod link;
mod rank_report;
mod ranks;

pub(super) use ranks::{Ranks, agree, all_ranks};
