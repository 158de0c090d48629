//! The boundary to MPI: every unsafe block of the crate, behind functions that are safe to call on
//! the thread that initialized MPI. None of the types can leave that thread.
//!
//! One thing is trusted about other ranks: the members of a communicator take part in the same
//! collective operations with the same numbers of elements. MPI does not check it, and Open MPI 4.1
//! writes beyond a buffer in shared memory if a long message does not fit. So ranks compare what they
//! run before they start, and point-to-point messages are probed before memory is allocated for them.

mod communicator;
mod library;
mod request;
mod return_code;

pub(crate) use communicator::RawCommunicator;
pub(crate) use library::Library;
pub(crate) use request::{Buffers, RawRequest};
