use std::ffi::c_int;

use mpi_sys as ffi;

use crate::error::MpiError;

/// The maximum length of an error message of this MPI implementation.
const LONGEST_MESSAGE: usize = ffi::MPI_MAX_ERROR_STRING as usize;

/// Converts a number of elements to MPI's type for counts.
pub(super) fn count(elements: usize) -> Result<c_int, MpiError> {
    c_int::try_from(elements).map_err(|_| MpiError::TooLong { count: elements })
}

/// Turns the return code of an MPI call into a result.
pub(super) fn check(call: &'static str, code: c_int) -> Result<(), MpiError> {
    if code == 0 {
        return Ok(());
    }
    let (mut text, mut length) = (vec![0_u8; LONGEST_MESSAGE], 0);
    // SAFETY: the buffer has room for the longest message of this MPI implementation.
    let told = unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &raw mut length) };
    let message = match told {
        0 => {
            text.truncate(length as usize);
            String::from_utf8_lossy(&text).replace('\n', " ")
        }
        _ => format!("error {code}"),
    };
    Err(MpiError::Call { call, message })
}
