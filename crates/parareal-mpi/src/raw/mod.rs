//! Safe wrappers of MPI.
//!
//! This module contains every unsafe block of the crate. Its functions are safe to call on the thread that
//! initialized MPI, and its types cannot leave that thread.
//!
//! One property of other ranks is trusted: the members of a communicator take part in the same collective
//! operations with the same numbers of elements. MPI does not check this, and Open MPI 4.1 writes beyond the end
//! of a buffer in shared memory if a long message does not fit. Ranks therefore compare their configurations
//! before they start, and point-to-point messages are probed before memory is allocated for them.

mod communicator;
mod library;
mod request;
mod return_code;

pub(crate) use communicator::RawCommunicator;
pub(crate) use library::{Library, exit_immediately};
pub(crate) use request::{Buffers, RawRequest};
