use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use mpi_sys as ffi;

use super::return_code::{check, count};
use crate::error::MpiError;

/// Memory that MPI reads or writes while an operation is in progress.
#[expect(dead_code, reason = "MPI uses all of it, we only what comes out")]
pub(crate) enum Buffers {
    /// The bytes of a send.
    Send(SendBuffer),
    /// The bytes of a receive or a broadcast.
    Bytes(Vec<u8>),
    /// This rank's contribution to an all-gather, and the result.
    Gathered { own: Vec<u8>, all: Vec<u8>, counts: Vec<c_int>, offsets: Vec<c_int> },
    /// Terms and their sum.
    F32(Vec<f32>, Vec<f32>),
    /// Terms and their sum.
    F64(Vec<f64>, Vec<f64>),
}

/// Data that is neither moved nor changed while MPI reads it. The pointer is raw, because moving a `Box` asserts
/// unique access to its content.
pub(crate) struct SendBuffer(*mut (dyn AsRef<[u8]> + Send));

impl SendBuffer {
    pub(crate) fn new(data: Box<dyn AsRef<[u8]> + Send>) -> Self {
        Self(Box::into_raw(data))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the data comes from a box, exists until `self` is dropped, and is never changed.
        unsafe { (*self.0).as_ref() }
    }
}

impl Drop for SendBuffer {
    fn drop(&mut self) {
        // SAFETY: the pointer comes from `Box::into_raw`, and is freed only here.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// A nonblocking operation. It cannot be sent to another thread.
///
/// Memory that MPI may still read or write is never freed: a request that is dropped before it completes, for
/// example in a panic, leaks its buffers.
pub(crate) struct RawRequest {
    state: State,
    _here: PhantomData<*const ()>,
}

enum State {
    Unmatched(UnmatchedReceive),
    Started { request: ffi::MPI_Request, buffers: ManuallyDrop<Buffers> },
    Completed,
}

/// A receive whose message has not arrived. It has not been posted to MPI, and no memory is allocated for it.
struct UnmatchedReceive {
    communicator: ffi::MPI_Comm,
    from: c_int,
    tag: c_int,
    /// The expected length of the message.
    bytes: usize,
}

impl RawRequest {
    /// Starts an operation that uses `buffers`. Moving `buffers` afterwards moves only the handles to the heap,
    /// not the heap memory itself. If `call_mpi` starts nothing and leaves the request unchanged, the operation
    /// is complete.
    pub(crate) fn start(
        buffers: Buffers,
        call: &'static str,
        call_mpi: impl FnOnce(*mut ffi::MPI_Request) -> c_int,
    ) -> Result<Self, MpiError> {
        let buffers = ManuallyDrop::new(buffers);
        // SAFETY: a constant of the library.
        let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
        // After an error MPI may still use the memory, so the buffers are leaked.
        check(call, call_mpi(&raw mut request))?;
        Ok(Self { state: State::Started { request, buffers }, _here: PhantomData })
    }

    /// Returns a receive of exactly `bytes` bytes, at most `c_int::MAX`, from a rank of a valid communicator.
    pub(crate) fn receive(
        communicator: ffi::MPI_Comm,
        from: c_int,
        tag: c_int,
        bytes: usize,
    ) -> Self {
        let state = State::Unmatched(UnmatchedReceive { communicator, from, tag, bytes });
        Self { state, _here: PhantomData }
    }

    /// Returns the outcome once the operation is complete, `None` before.
    ///
    /// # Panics
    /// If the outcome was returned before.
    pub(crate) fn test(&mut self) -> Option<Result<Buffers, MpiError>> {
        if let State::Unmatched(receive) = &self.state {
            match receive.probe() {
                Ok(None) => return None,
                Ok(Some(request)) => *self = request,
                Err(error) => return Some(Err(error)),
            }
        }
        let State::Started { request, .. } = &mut self.state else {
            panic!("a request completes once")
        };
        let (mut completed, mut status) = (0, empty_status());
        // SAFETY: the request is active, or null and therefore complete. The flag and the status are local
        // variables.
        let code = unsafe { ffi::MPI_Test(&raw mut *request, &raw mut completed, &raw mut status) };
        if code == 0 && completed == 0 {
            return None;
        }
        // After an error MPI may still use the memory, so the buffers are leaked.
        let State::Started { buffers, .. } = std::mem::replace(&mut self.state, State::Completed)
        else {
            unreachable!("the request was active a moment ago")
        };
        Some(check("MPI_Test", code).map(|()| ManuallyDrop::into_inner(buffers)))
    }

    /// Returns true for a receive whose message has not arrived, so that it can be dropped.
    pub(crate) fn is_unmatched(&self) -> bool {
        matches!(self.state, State::Unmatched(_))
    }
}

impl UnmatchedReceive {
    /// Probes for the message. If the message is arriving, allocates memory for it and receives it.
    ///
    /// If the receive were posted in advance, MPI would decide what happens to a message that is longer than the
    /// buffer.
    fn probe(&self) -> Result<Option<RawRequest>, MpiError> {
        let Self { communicator, from, tag, bytes: expected } = *self;
        // SAFETY: a constant of the library.
        let (byte, mut message) = unsafe { (ffi::RSMPI_UINT8_T, ffi::RSMPI_MESSAGE_NULL) };
        let (mut coming, mut status, mut length) = (0, empty_status(), 0);
        // SAFETY: the communicator is valid, `from` is one of its ranks, and the results are local variables.
        let code = unsafe {
            let (coming, message) = (&raw mut coming, &raw mut message);
            ffi::MPI_Improbe(from, tag, communicator, coming, message, &raw mut status)
        };
        check("MPI_Improbe", code)?;
        if coming == 0 {
            return Ok(None);
        }
        // SAFETY: the status belongs to a message of bytes.
        let code = unsafe { ffi::MPI_Get_count(&raw const status, byte, &raw mut length) };
        check("MPI_Get_count", code)?;
        let found = length as usize;
        let wrong = MpiError::MessageSize { from: from as usize, found, expected };
        let mut buffer = Vec::new();
        if buffer.try_reserve_exact(found).is_err() {
            return Err(wrong);
        }
        buffer.resize(found, 0_u8);
        let (start, length) = (buffer.as_mut_ptr().cast::<c_void>(), count(found)?);
        let request = RawRequest::start(Buffers::Bytes(buffer), "MPI_Imrecv", |request| {
            // SAFETY: `MPI_Improbe` has just returned the message, which has `length` bytes. `start` points to
            // `length` bytes on the heap, which the request keeps and nothing else accesses until MPI no longer
            // uses them.
            unsafe { ffi::MPI_Imrecv(start, length, byte, &raw mut message, request) }
        })?;
        // A message of a different length is received as well, so that its sender can continue.
        if found == expected { Ok(Some(request)) } else { Err(wrong) }
    }
}

fn empty_status() -> ffi::MPI_Status {
    // SAFETY: a plain structure of integers, for which zeros are valid; MPI fills it.
    unsafe { std::mem::zeroed() }
}
