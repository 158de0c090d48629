use thiserror::Error;

use crate::net::NetError;

/// Why a step, or an executor, failed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ExecError {
    /// A worker panicked or could not go on. All workers have ended; the executor is of no
    /// further use.
    #[error("worker {worker} (subnetworks {first} to {last}) failed: {message}")]
    Worker {
        /// The worker, from 1.
        worker: usize,
        /// Its first subnetwork, from 1.
        first: usize,
        /// Its last subnetwork.
        last: usize,
        /// What it said.
        message: String,
    },
    /// The executor was used after a worker had failed.
    #[error("the executor has stopped after an earlier failure: {0}")]
    Stopped(Box<ExecError>),
    /// The loss is infinite or not a number. No parameter was updated.
    #[error("the loss is not finite: {loss}")]
    LossNotFinite {
        /// The loss.
        loss: f64,
    },
    /// More workers than subnetworks, or none.
    #[error("{workers} workers for {subnetworks} subnetworks: at least 1 and at most one for each")]
    Workers {
        /// The number of workers asked for.
        workers: usize,
        /// The number of subnetworks.
        subnetworks: usize,
    },
    /// A spread of the subnetworks over the workers that does not add up.
    #[error(
        "{held:?} subnetworks for each of {workers} workers: {subnetworks} are to be held, at least 1 by each"
    )]
    Spread {
        /// The subnetworks that each worker was to hold.
        held: Vec<usize>,
        /// The number of workers.
        workers: usize,
        /// The number of subnetworks.
        subnetworks: usize,
    },
    /// Fewer samples than replicas to share them.
    #[error("a batch of {samples} samples for {replicas} replicas: at least 1 for each")]
    Batch {
        /// The samples of the batch.
        samples: usize,
        /// The copies of the chain.
        replicas: usize,
    },
    /// Ranks that cannot work together, or not any more.
    #[error("{0}")]
    Ranks(String),
    /// What an optimizer remembers cannot be read or written.
    #[error("the state of the optimizer: {0}")]
    Optimizer(String),
    /// The operating system gave no thread.
    #[error("cannot start the threads of a worker: {0}")]
    Spawn(String),
    /// Weights that do not fit the network.
    #[error(transparent)]
    Net(#[from] NetError),
}
