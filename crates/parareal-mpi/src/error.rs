use thiserror::Error;

/// Why ranks cannot go on together. Every message is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MpiError {
    /// MPI was started before in this process, or cannot be started.
    #[error("MPI cannot be started: {0}")]
    Start(String),
    /// A call of MPI failed.
    #[error("{call} failed: {message}")]
    Call {
        /// What was called.
        call: &'static str,
        /// What MPI says.
        message: String,
    },
    /// A message of another size than was expected.
    #[error(
        "rank {from} of its circle sent {found} bytes where {expected} were expected: the ranks \
         do not run the same network on the same batch"
    )]
    Size {
        /// Who sent it, within the circle, from 0.
        from: usize,
        /// Its bytes.
        found: usize,
        /// The bytes that had to come.
        expected: usize,
    },
    /// A rank that is not there.
    #[error("there is no rank {rank} in a circle of {size}")]
    NoMember {
        /// Which was asked for.
        rank: usize,
        /// How many there are.
        size: usize,
    },
    /// More than MPI counts.
    #[error("{count} elements at once are more than MPI takes (2147483647): use smaller batches")]
    TooLong {
        /// The number of elements.
        count: usize,
    },
    /// The thread that talks to MPI is gone.
    #[error("the thread that talks to MPI is gone")]
    Gone,
}
