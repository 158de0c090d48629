use thiserror::Error;

/// An error in the communication between ranks. Every message is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MpiError {
    /// MPI cannot be initialized, or was already initialized in this process.
    #[error("cannot start MPI: {0}")]
    Start(String),
    /// An MPI call failed.
    #[error("{call} failed: {message}")]
    Call {
        /// Name of the MPI function.
        call: &'static str,
        /// MPI's error message.
        message: String,
    },
    /// An MPI call that has not returned in time, although all ranks were about to make it.
    #[error("{call} has not returned within {seconds} s: MPI hangs, or a rank is stopped")]
    Timeout {
        /// Name of the MPI function.
        call: &'static str,
        /// The limit in seconds.
        seconds: u64,
    },
    /// A message whose length differs from the expected one.
    #[error(
        "expected {expected} bytes from rank {from} of the communicator, got {found}: the ranks do \
         not run the same network on the same batch"
    )]
    MessageSize {
        /// Rank of the sender in the communicator.
        from: usize,
        /// Length of the message in bytes.
        found: usize,
        /// Expected length in bytes.
        expected: usize,
    },
    /// A rank that is not in the communicator.
    #[error("rank {rank} is out of range: the communicator has {size} ranks")]
    InvalidRank {
        /// The rank.
        rank: usize,
        /// The size of the communicator.
        size: usize,
    },
    /// A message with more elements than MPI can count.
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
