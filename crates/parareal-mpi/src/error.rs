use thiserror::Error;

/// An error of the communication between ranks. Every message is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MpiError {
    /// MPI cannot be initialized, or was initialized before in this process.
    #[error("cannot start MPI: {0}")]
    Start(String),
    /// An MPI call failed.
    #[error("{call} failed: {message}")]
    Call {
        /// The function.
        call: &'static str,
        /// The message of MPI.
        message: String,
    },
    /// A message of another length than expected.
    #[error(
        "expected {expected} bytes from rank {from} of the communicator, got {found}: the ranks do \
         not run the same network on the same batch"
    )]
    MessageSize {
        /// Its sender, by its rank in the communicator.
        from: usize,
        /// Its length in bytes.
        found: usize,
        /// The expected length in bytes.
        expected: usize,
    },
    /// A rank that the communicator does not have.
    #[error("rank {rank} is out of range: the communicator has {size} ranks")]
    InvalidRank {
        /// The rank.
        rank: usize,
        /// The size of the communicator.
        size: usize,
    },
    /// More elements than MPI can count.
    #[error(
        "a message of {count} elements exceeds the limit of MPI (2147483647); use smaller batches"
    )]
    TooLong {
        /// The number of elements.
        count: usize,
    },
    /// The thread that calls MPI has stopped.
    #[error("the thread that calls MPI has stopped")]
    ThreadStopped,
}
