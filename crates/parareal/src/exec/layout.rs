//! The layout of a network: the subnetworks that each rank, worker and replica holds.

use std::ops::Range;

use thiserror::Error;

/// An impossible layout, or a layout that does not fit the network or its use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The number of replicas is 0.
    #[error("expected at least 1 replica, got 0")]
    NoReplicas,
    /// A segment would have no units.
    #[error("expected segments of at least 1 unit, got 0")]
    EmptySegments,
    /// A step would have no micro-batch.
    #[error("expected at least 1 micro-batch, got 0")]
    NoMicroBatch,
    /// There are no workers, or more workers than subnetworks.
    #[error(
        "expected from 1 to {subnetworks} workers for {subnetworks} subnetworks, got {workers}"
    )]
    Workers {
        /// The number of workers of a replica.
        workers: usize,
        /// The number of subnetworks.
        subnetworks: usize,
    },
    /// A worker would hold no subnetwork.
    #[error("expected at least 1 subnetwork for each worker, got {counts:?}")]
    IdleWorker {
        /// The number of subnetworks of each worker.
        counts: Vec<usize>,
    },
    /// The ranks cannot be shared equally among the replicas.
    #[error("{ranks} ranks cannot be shared equally among {replicas} replicas")]
    UnequalReplicas {
        /// The number of ranks.
        ranks: usize,
        /// The number of replicas.
        replicas: usize,
    },
    /// A replica has more ranks than subnetworks.
    #[error(
        "expected at most {} ranks for {replicas} replicas of {subnetworks} subnetworks, one for \
         each subnetwork, got {ranks}",
        subnetworks * replicas
    )]
    TooManyRanks {
        /// The number of ranks.
        ranks: usize,
        /// The number of replicas.
        replicas: usize,
        /// The number of subnetworks of a replica.
        subnetworks: usize,
    },
    /// The layout has a different number of subnetworks than the network.
    #[error("the layout is for {layout} subnetworks, but the network has {network}")]
    OtherNetwork {
        /// The subnetworks of the layout.
        layout: usize,
        /// The subnetworks of the network.
        network: usize,
    },
}

/// The layout of subnetworks on ranks, workers and replicas.
///
/// A *replica* is a copy of the network that works on its own part of each batch. The subnetworks of a
/// replica are distributed over *workers* in order, and each worker drives one device. There are two cases:
///
/// - The workers of all replicas are threads of one process ([`threads`](Self::threads),
///   [`from_counts`](Self::from_counts)).
/// - The workers belong to the *ranks* of an MPI program. Each rank has consecutive workers of one replica
///   ([`ranks`](Self::ranks)).
///
/// All indices start at 0. Except with [`from_counts`](Self::from_counts), subnetworks are distributed
/// evenly. If there is a remainder, the first workers get one more.
///
/// ```
/// use parareal::exec::Layout;
///
/// // 5 subnetworks in 2 replicas on 6 ranks of at most 2 workers.
/// let layout = Layout::ranks(5, 6, 2, 2)?;
/// assert_eq!((layout.workers(), layout.ranks_per_replica()), (5, 3));
/// let fourth = layout.rank(4);
/// assert_eq!((fourth.replicas, fourth.subnetworks, fourth.workers), (1..2, 2..4, 2..4));
/// # Ok::<(), parareal::exec::LayoutError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    replicas: usize,
    /// The subnetworks of each worker of a replica.
    workers: Vec<Range<usize>>,
    processes: Processes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Processes {
    /// One process has all workers of all replicas.
    Single,
    /// The workers of each rank of a replica.
    Ranks(Vec<Range<usize>>),
}

/// The share of one rank in a [`Layout`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RankLayout {
    /// The replicas that the rank takes part in: one, except for a single process, which has all replicas.
    pub replicas: Range<usize>,
    /// The position of the rank among the ranks of its replica.
    pub position: usize,
    /// The workers of the rank, as indices among the workers of its replica.
    pub workers: Range<usize>,
    /// The subnetworks that the rank holds.
    pub subnetworks: Range<usize>,
}

impl Layout {
    /// Distributes subnetworks evenly over the threads of one process: `workers` threads for each of
    /// `replicas` replicas.
    ///
    /// # Errors
    /// [`LayoutError::NoReplicas`]; [`LayoutError::Workers`] unless there are from 1 to
    /// `subnetworks` workers.
    pub fn threads(
        subnetworks: usize,
        workers: usize,
        replicas: usize,
    ) -> Result<Self, LayoutError> {
        if workers == 0 || workers > subnetworks {
            return Err(LayoutError::Workers { workers, subnetworks });
        }
        let counts: Vec<_> = even_shares(subnetworks, workers).map(|share| share.len()).collect();
        Self::from_counts(&counts, replicas)
    }

    /// Distributes subnetworks over the threads of one process, in `replicas` replicas. Worker `w` holds
    /// `counts[w]` subnetworks.
    ///
    /// While earlier workers compute their part of the coarse chain, later workers can do fine work. Nothing
    /// overlaps with the last worker's part of the chain. So the fewer subnetworks the last worker holds, the
    /// less the other workers wait.
    ///
    /// # Errors
    /// [`LayoutError::NoReplicas`]; [`LayoutError::Workers`] if `counts` is empty;
    /// [`LayoutError::IdleWorker`] if a count is 0.
    pub fn from_counts(counts: &[usize], replicas: usize) -> Result<Self, LayoutError> {
        if replicas == 0 {
            return Err(LayoutError::NoReplicas);
        }
        if counts.is_empty() {
            return Err(LayoutError::Workers { workers: 0, subnetworks: 0 });
        }
        if counts.contains(&0) {
            return Err(LayoutError::IdleWorker { counts: counts.to_vec() });
        }
        Ok(Self { replicas, workers: consecutive(counts), processes: Processes::Single })
    }

    /// Distributes subnetworks evenly over the ranks of each of `replicas` replicas, and the subnetworks of a
    /// rank over at most `workers` workers. With `R` replicas of `P` ranks, rank `r P + p` has position `p`
    /// in replica `r`.
    ///
    /// # Errors
    /// [`LayoutError::NoReplicas`]; [`LayoutError::UnequalReplicas`] if the ranks are not a multiple of the
    /// replicas; [`LayoutError::TooManyRanks`] if a replica has more ranks than subnetworks;
    /// [`LayoutError::Workers`] if there are no ranks or no workers.
    pub fn ranks(
        subnetworks: usize,
        ranks: usize,
        workers: usize,
        replicas: usize,
    ) -> Result<Self, LayoutError> {
        if replicas == 0 {
            return Err(LayoutError::NoReplicas);
        }
        if !ranks.is_multiple_of(replicas) {
            return Err(LayoutError::UnequalReplicas { ranks, replicas });
        }
        let positions = ranks / replicas;
        if positions > subnetworks {
            return Err(LayoutError::TooManyRanks { ranks, replicas, subnetworks });
        }
        if positions == 0 || workers == 0 {
            return Err(LayoutError::Workers { workers: positions * workers, subnetworks });
        }
        let (mut counts, mut workers_of_ranks) = (Vec::new(), Vec::new());
        for held in even_shares(subnetworks, positions) {
            let own = held.len().min(workers);
            workers_of_ranks.push(own);
            counts.extend(even_shares(held.len(), own).map(|share| share.len()));
        }
        let processes = match ranks {
            1 => Processes::Single,
            _ => Processes::Ranks(consecutive(&workers_of_ranks)),
        };
        Ok(Self { replicas, workers: consecutive(&counts), processes })
    }

    /// Returns the number of replicas, at least 1.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// The number of subnetworks of the network.
    pub fn subnetworks(&self) -> usize {
        self.workers[self.workers.len() - 1].end
    }

    /// The number of workers of a replica.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Returns the number of workers of all replicas.
    pub fn total_workers(&self) -> usize {
        self.replicas * self.workers()
    }

    /// Returns the largest number of workers that a rank has in one replica.
    pub fn max_workers_per_rank(&self) -> usize {
        match &self.processes {
            Processes::Single => self.workers(),
            Processes::Ranks(workers) => {
                workers.iter().map(ExactSizeIterator::len).max().unwrap_or(1)
            }
        }
    }

    /// Returns the number of ranks; 1 for the threads of one process.
    pub fn total_ranks(&self) -> usize {
        match &self.processes {
            Processes::Single => 1,
            Processes::Ranks(workers) => self.replicas * workers.len(),
        }
    }

    /// Returns the number of ranks of each replica.
    pub fn ranks_per_replica(&self) -> usize {
        match &self.processes {
            Processes::Single => 1,
            Processes::Ranks(workers) => workers.len(),
        }
    }

    /// Returns the subnetworks of a worker of a replica.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn subnetworks_of(&self, worker: usize) -> Range<usize> {
        self.workers[worker].clone()
    }

    /// The number of subnetworks of each worker of a replica.
    pub fn counts(&self) -> Vec<usize> {
        self.workers.iter().map(ExactSizeIterator::len).collect()
    }

    /// Returns the worker of a replica that holds a subnetwork.
    ///
    /// # Panics
    /// If there is no such subnetwork.
    pub fn worker_of(&self, subnetwork: usize) -> usize {
        let holds = |own: &Range<usize>| own.contains(&subnetwork);
        self.workers.iter().position(holds).expect("a subnetwork of the layout")
    }

    /// Returns the index of a worker among the workers of all replicas, which are ordered by replica.
    pub fn worker_number(&self, replica: usize, worker: usize) -> usize {
        replica * self.workers() + worker
    }

    /// Returns the share of a rank.
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn rank(&self, rank: usize) -> RankLayout {
        assert!(
            rank < self.total_ranks(),
            "rank {rank} is out of range: the layout has {} ranks",
            self.total_ranks()
        );
        match &self.processes {
            Processes::Single => RankLayout {
                replicas: 0..self.replicas,
                position: 0,
                workers: 0..self.workers(),
                subnetworks: 0..self.subnetworks(),
            },
            Processes::Ranks(workers_of_ranks) => {
                let (replica, position) =
                    (rank / workers_of_ranks.len(), rank % workers_of_ranks.len());
                let workers = workers_of_ranks[position].clone();
                let subnetworks =
                    self.workers[workers.start].start..self.workers[workers.end - 1].end;
                RankLayout { replicas: replica..replica + 1, position, workers, subnetworks }
            }
        }
    }

    /// Checks that the layout is for a network with this many subnetworks.
    ///
    /// # Errors
    /// [`LayoutError::OtherNetwork`].
    pub(crate) fn check_network(&self, subnetworks: usize) -> Result<(), LayoutError> {
        match self.subnetworks() == subnetworks {
            true => Ok(()),
            false => {
                Err(LayoutError::OtherNetwork { layout: self.subnetworks(), network: subnetworks })
            }
        }
    }
}

/// Splits `0..count` into shares whose lengths differ by at most one, the larger ones first.
pub(super) fn even_shares(count: usize, shares: usize) -> impl Iterator<Item = Range<usize>> {
    let (size, larger) = (count / shares, count % shares);
    let begin = move |share: usize| share * size + share.min(larger);
    (0..shares).map(move |share| begin(share)..begin(share + 1))
}

/// Returns consecutive ranges of these lengths, starting at 0.
fn consecutive(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut end = 0;
    let next = |&length: &usize| {
        end += length;
        end - length..end
    };
    lengths.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_subnetworks_evenly_with_the_larger_shares_first() {
        let layout = Layout::threads(5, 3, 2).unwrap();
        assert_eq!(layout.counts(), [2, 2, 1]);
        let held: Vec<_> = (0..3).map(|worker| layout.subnetworks_of(worker)).collect();
        assert_eq!(held, [0..2, 2..4, 4..5]);
        assert_eq!(
            (0..5).map(|index| layout.worker_of(index)).collect::<Vec<_>>(),
            [0, 0, 1, 1, 2]
        );
        assert_eq!((layout.replicas(), layout.workers(), layout.total_workers()), (2, 3, 6));
        assert_eq!(layout.worker_number(1, 2), 5);
        assert_eq!((layout.total_ranks(), layout.ranks_per_replica()), (1, 1));
        assert_eq!(layout.max_workers_per_rank(), 3);
        let all = RankLayout { replicas: 0..2, position: 0, workers: 0..3, subnetworks: 0..5 };
        assert_eq!(layout.rank(0), all);
    }

    #[test]
    fn counts_may_be_uneven() {
        let layout = Layout::from_counts(&[3, 1], 1).unwrap();
        assert_eq!((layout.subnetworks(), layout.subnetworks_of(1)), (4, 3..4));
        assert_eq!(layout.counts(), [3, 1]);
        assert_eq!(Layout::from_counts(&[2, 2, 1], 2), Layout::threads(5, 3, 2));
    }

    #[test]
    fn ranks_of_a_replica_are_consecutive() {
        let layout = Layout::ranks(5, 6, 2, 2).unwrap();
        let held: Vec<_> = (0..3).map(|rank| layout.rank(rank).subnetworks).collect();
        assert_eq!(held, [0..2, 2..4, 4..5]);
        let workers: Vec<_> = (3..6).map(|rank| layout.rank(rank).workers).collect();
        assert_eq!(workers, [0..2, 2..4, 4..5]);
        let fifth = layout.rank(4);
        assert_eq!((fifth.replicas, fifth.position, fifth.subnetworks), (1..2, 1, 2..4));
        assert_eq!((layout.total_ranks(), layout.ranks_per_replica()), (6, 3));
        assert_eq!((layout.workers(), layout.max_workers_per_rank()), (5, 2));
        // If each rank has one worker, this worker holds all subnetworks of the rank.
        let layout = Layout::ranks(5, 6, 1, 2).unwrap();
        assert_eq!((layout.counts(), layout.max_workers_per_rank()), (vec![2, 2, 1], 1));
        // 7 subnetworks on 2 ranks of 3 workers: 4 and 3. The workers of the first rank hold 2, 1 and 1.
        let layout = Layout::ranks(7, 2, 3, 1).unwrap();
        assert_eq!(layout.counts(), [2, 1, 1, 1, 1, 1]);
        assert_eq!(layout.rank(1).subnetworks, 4..7);
    }

    #[test]
    fn one_rank_is_one_process() {
        assert_eq!(Layout::ranks(4, 1, 2, 1), Layout::threads(4, 2, 1));
        // A rank has no more workers than subnetworks.
        assert_eq!(Layout::ranks(4, 1, 9, 1), Layout::threads(4, 4, 1));
    }

    #[test]
    fn every_subnetwork_of_every_replica_is_held_by_one_rank() {
        for (subnetworks, ranks, workers, replicas) in
            [(1, 1, 1, 1), (5, 4, 2, 2), (6, 6, 1, 3), (7, 3, 2, 1), (9, 4, 4, 4)]
        {
            let layout = Layout::ranks(subnetworks, ranks, workers, replicas).unwrap();
            let mut held = Vec::new();
            for rank in 0..ranks {
                let own = layout.rank(rank);
                held.extend(own.subnetworks.clone().map(|index| (own.replicas.start, index)));
                let of_workers = own.workers.flat_map(|worker| layout.subnetworks_of(worker));
                assert!(of_workers.eq(own.subnetworks));
            }
            let all = (0..replicas).flat_map(|r| (0..subnetworks).map(move |index| (r, index)));
            assert!(held.into_iter().eq(all));
        }
    }

    #[test]
    fn impossible_layouts_are_refused_with_their_numbers() {
        let workers = |workers, subnetworks| Err(LayoutError::Workers { workers, subnetworks });
        assert_eq!(Layout::threads(3, 0, 1), workers(0, 3));
        assert_eq!(Layout::threads(3, 4, 1), workers(4, 3));
        assert_eq!(Layout::threads(3, 1, 0), Err(LayoutError::NoReplicas));
        assert_eq!(Layout::from_counts(&[], 1), workers(0, 0));
        let counts = vec![2, 0, 1];
        assert_eq!(Layout::from_counts(&counts, 1), Err(LayoutError::IdleWorker { counts }));
        let (ranks, replicas) = (3, 2);
        let unequal = Err(LayoutError::UnequalReplicas { ranks, replicas });
        assert_eq!(Layout::ranks(3, ranks, 1, replicas), unequal);
        let too_many = LayoutError::TooManyRanks { ranks: 4, replicas: 1, subnetworks: 3 };
        assert_eq!(Layout::ranks(3, 4, 1, 1), Err(too_many.clone()));
        assert!(too_many.to_string().starts_with("expected at most 3 ranks"), "{too_many}");
        assert_eq!(Layout::ranks(3, 2, 1, 0), Err(LayoutError::NoReplicas));
        assert_eq!(Layout::ranks(3, 3, 0, 1), workers(0, 3));
        assert_eq!(Layout::ranks(3, 0, 2, 1), workers(0, 3));
    }

    #[test]
    fn layouts_are_compared_with_the_network() {
        let layout = Layout::ranks(5, 6, 2, 2).unwrap();
        assert_eq!(layout.check_network(5), Ok(()));
        let other = LayoutError::OtherNetwork { layout: 5, network: 4 };
        assert_eq!(layout.check_network(4), Err(other));
    }
}
