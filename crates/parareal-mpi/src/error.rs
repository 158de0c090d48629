use thiserror::Error;

/// An error of the communication between ranks. Every message is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MpiError {
    /// MPI cannot be initialized, or was initialized before in this process.
    #[error("MPI cannot be started: {0}")]
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
        "rank {from} of its communicator sent {found} bytes where {expected} were expected: the ranks \
         do not run the same network on the same batch"
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
    #[error("there is no rank {rank} in a communicator of {size}")]
    InvalidRank {
        /// The rank.
        rank: usize,
        /// The size of the communicator.
        size: usize,
    },
    /// More elements than MPI can count.
    #[error("{count} elements at once are more than MPI takes (2147483647): use smaller batches")]
    TooLong {
        /// The number of elements.
        count: usize,
    },
    /// The thread that calls MPI has stopped.
    #[error("the thread that calls MPI has stopped")]
    ThreadStopped,
}
