use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use mpi_sys as ffi;

use super::communicator::RawCommunicator;
use super::return_code::check;
use crate::error::MpiError;

/// Set once MPI was initialized in this process; it can only be initialized once.
static STARTED: AtomicBool = AtomicBool::new(false);

/// The MPI library, initialized on this thread until [`Library::finalize`]. It cannot be sent to
/// another thread.
///
/// Dropping it, for instance in a panic, does not finalize MPI: that would wait for the other ranks,
/// which may wait for this one.
pub(crate) struct Library {
    _here: PhantomData<*const ()>,
}

impl Library {
    /// Initializes MPI (`MPI_Init_thread`) with `MPI_THREAD_FUNNELED`.
    pub(crate) fn init() -> Result<Self, MpiError> {
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(MpiError::Start("it was already started in this process".into()));
        }
        // SAFETY: a constant of the library.
        let (mut given, wanted) = (0, unsafe { ffi::RSMPI_THREAD_FUNNELED });
        let none = ptr::null_mut();
        // SAFETY: nobody in this process has called it before; no arguments are handed over, as the
        // standard allows, and the result is ours.
        let code = unsafe { ffi::MPI_Init_thread(none, none.cast(), wanted, &raw mut given) };
        if code != 0 {
            return Err(MpiError::Start(format!("MPI_Init_thread returned {code}")));
        }
        let this = Self { _here: PhantomData };
        // The standard orders the levels.
        if given < wanted {
            return Err(MpiError::Start(
                "it does not support a program with several threads".into(),
            ));
        }
        // SAFETY: MPI is initialized, the communicator is the world's and the handler a constant.
        let code = unsafe {
            ffi::MPI_Comm_set_errhandler(ffi::RSMPI_COMM_WORLD, ffi::RSMPI_ERRORS_RETURN)
        };
        check("MPI_Comm_set_errhandler", code)?;
        Ok(this)
    }

    /// Returns `MPI_COMM_WORLD`.
    pub(crate) fn world(&self) -> RawCommunicator {
        // SAFETY: a constant of the library, set when it was loaded.
        RawCommunicator::new(unsafe { ffi::RSMPI_COMM_WORLD })
    }

    /// Ends all ranks (`MPI_Abort`).
    pub(crate) fn abort(&self, code: i32) {
        // SAFETY: MPI is initialized; if the call returns, nothing has happened.
        unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code) };
    }

    /// Finalizes MPI, which all ranks do together. No operation is in progress, and no communicator
    /// is used afterwards.
    pub(crate) fn finalize(self) {
        // SAFETY: MPI was initialized on this thread, which this type does not leave, and not yet
        // finalized. Nobody needs its return code any more.
        unsafe { ffi::MPI_Finalize() };
    }
}
