use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use mpi_sys as ffi;

use super::communicator::RawCommunicator;
use super::return_code::check;
use crate::error::MpiError;

/// Ends this process without exit handlers (`_exit`).
pub(crate) fn exit_immediately(code: i32) -> ! {
    // SAFETY: the function has no preconditions. It does not return, and runs no code of this process.
    unsafe { libc::_exit(code) }
}

/// True once MPI has been initialized in this process. MPI can be initialized only once.
static STARTED: AtomicBool = AtomicBool::new(false);

/// The MPI library, initialized on this thread until [`Library::finalize`]. It cannot be sent to
/// another thread.
///
/// Dropping it, for example in a panic, does not finalize MPI. Finalizing would wait for the other ranks, which
/// may be waiting for this one.
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
        // SAFETY: this is the first call in this process. The standard allows null pointers for the program's
        // arguments, and the result is a local variable.
        let code = unsafe { ffi::MPI_Init_thread(none, none.cast(), wanted, &raw mut given) };
        if code != 0 {
            return Err(MpiError::Start(format!("MPI_Init_thread returned {code}")));
        }
        let this = Self { _here: PhantomData };
        // The MPI standard defines the order of these levels.
        if given < wanted {
            return Err(MpiError::Start(
                "it does not support a program with several threads".into(),
            ));
        }
        // SAFETY: MPI is initialized, and both arguments are constants of the library.
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

    /// Returns the name of this machine (`MPI_Get_processor_name`), which is empty if MPI does not know it.
    pub(crate) fn processor_name(&self) -> String {
        // SAFETY: a constant of the library, set when it was loaded.
        let most = unsafe { ffi::RSMPI_MAX_PROCESSOR_NAME };
        let (mut name, mut length) = (vec![0_u8; most as usize], 0);
        // SAFETY: MPI is initialized, there is room for the longest name, and the length is a local variable.
        let code =
            unsafe { ffi::MPI_Get_processor_name(name.as_mut_ptr().cast(), &raw mut length) };
        name.truncate(if code == 0 { length as usize } else { 0 });
        String::from_utf8_lossy(&name).into_owned()
    }

    /// Ends all ranks (`MPI_Abort`).
    pub(crate) fn abort(&self, code: i32) {
        // SAFETY: MPI is initialized. If the call returns, it has had no effect.
        unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code) };
    }

    /// Finalizes MPI together with all other ranks. No operation may be in progress, and no communicator may be
    /// used afterwards.
    pub(crate) fn finalize(self) {
        // SAFETY: MPI was initialized on this thread, which this type does not leave, and has not been finalized.
        // The return code is not needed.
        unsafe { ffi::MPI_Finalize() };
    }
}
