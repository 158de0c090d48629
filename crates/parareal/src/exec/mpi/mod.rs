//! The program of [`Threads`](super::Threads) on the ranks of an MPI program.
//!
//! Rank `r P + p` of `R P` has place `p` of `P` in the chain of replica `r`. It builds the
//! subnetworks of that place and no others, and runs one worker or several on them, each a thread.
//! Between two workers of a rank there is a channel; between neighbouring ranks a [`RankLink`],
//! whose tensors go through the memory of the host. All ranks make the same calls of the executor
//! with the same batch, of which each replica takes its part; so inputs need no communication.
//!
//! MPI itself is called by a thread of its own in each rank (`parareal_mpi`), so that messages and
//! all-reduces move on while workers compute.

mod control;
mod group;
mod link;
mod ranks;
mod report;

use std::fmt::Display;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Disconnected, ExecError};
use crate::net::Cuts;

pub use ranks::Ranks;

/// The place of a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Which copy of the chain, from 0.
    pub replica: usize,
    /// The copies.
    pub replicas: usize,
    /// Which place in its chain, from 0.
    pub place: usize,
    /// The places of a chain.
    pub places: usize,
    /// The subnetworks that it holds, from 0.
    pub subnetworks: Range<usize>,
}

impl Seat {
    /// The place of rank `rank` of `ranks`, for a network of so many subnetworks.
    ///
    /// # Errors
    /// Where the ranks are no multiple of the replicas, or more than one for each subnetwork.
    pub fn of(
        rank: usize,
        ranks: usize,
        replicas: usize,
        subnetworks: usize,
    ) -> Result<Self, ExecError> {
        if replicas == 0 || !ranks.is_multiple_of(replicas) {
            return Err(ExecError::Ranks(format!(
                "{ranks} ranks cannot hold {replicas} replicas: start a multiple of that"
            )));
        }
        let places = ranks / replicas;
        if places > subnetworks {
            return Err(ExecError::Ranks(format!(
                "{places} ranks for each chain of {subnetworks} subnetworks: start at most {}, \
                 or set --replicas",
                subnetworks * replicas
            )));
        }
        let (replica, place) = (rank / places, rank % places);
        let subnetworks = Cuts::even(subnetworks, places)?.units_of(place);
        Ok(Self { replica, replicas, place, places, subnetworks })
    }

    /// The workers of each place of a chain, for at most `workers` in a rank.
    fn workers(&self, workers: usize, subnetworks: usize) -> Result<Vec<usize>, ExecError> {
        let held = Cuts::even(subnetworks, self.places)?;
        let of = |place| held.units_of(place).len().min(workers.max(1));
        Ok((0..self.places).map(of).collect())
    }
}

/// The first thing that went wrong between ranks, where a worker only knows that it cannot go on.
#[derive(Clone, Default)]
struct LinkFault(Arc<Mutex<Option<String>>>);

impl LinkFault {
    /// Keeps what went wrong.
    fn note(&self, error: impl Display) -> Disconnected {
        let mut fault = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fault.get_or_insert_with(|| error.to_string());
        Disconnected
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_a_replica_stand_behind_each_other() {
        let seat = |rank| Seat::of(rank, 6, 2, 5).unwrap();
        let held: Vec<_> = (0..3).map(|rank| seat(rank).subnetworks).collect();
        assert_eq!(held, [0..2, 2..4, 4..5]);
        assert_eq!((seat(4).replica, seat(4).place, seat(4).subnetworks), (1, 1, 2..4));
        assert_eq!(seat(0).workers(2, 5).unwrap(), [2, 2, 1]);
        assert_eq!(seat(0).workers(1, 5).unwrap(), [1; 3]);
        for (ranks, replicas, subnetworks) in [(3, 2, 3), (4, 1, 3), (2, 0, 3)] {
            Seat::of(0, ranks, replicas, subnetworks).unwrap_err();
        }
    }
}
