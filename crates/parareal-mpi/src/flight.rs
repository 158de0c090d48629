//! Operations under way, and the memory that MPI uses meanwhile.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use mpi_sys as ffi;

use crate::MpiError;
use crate::wire::{check, count};

/// Memory that MPI reads or writes while an operation is under way.
#[expect(dead_code, reason = "MPI uses all of it, we only what comes out")]
pub(crate) enum Buffers {
    /// What is sent.
    Out(Kept),
    /// What is received, or broadcast.
    In(Vec<u8>),
    /// What is gathered from all, and what this rank gives.
    Gathered { own: Vec<u8>, all: Vec<u8>, counts: Vec<c_int>, offsets: Vec<c_int> },
    /// Terms and their sum.
    Singles(Vec<f32>, Vec<f32>),
    /// Terms and their sum.
    Doubles(Vec<f64>, Vec<f64>),
}

/// What is sent, not moved and not changed while MPI reads it. A box would not do: whoever moves one
/// claims to be the only one that knows what is in it.
pub(crate) struct Kept(*mut (dyn AsRef<[u8]> + Send));

impl Kept {
    pub(crate) fn new(data: Box<dyn AsRef<[u8]> + Send>) -> Self {
        Self(Box::into_raw(data))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: it comes from a box, is there until this is dropped, and nobody changes it.
        unsafe { (*self.0).as_ref() }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: it comes from a box that was given up for this, once.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// An operation under way. Not to be sent to another thread.
///
/// What MPI may still read or write is never freed: the memory of a flight that is dropped before it
/// has landed, by a panic say, is given up.
pub(crate) struct Flight {
    state: State,
    _here: PhantomData<*const ()>,
}

enum State {
    Awaited(Awaited),
    UnderWay { request: ffi::MPI_Request, buffers: ManuallyDrop<Buffers> },
    Ended,
}

/// A receive whose message has not come. MPI knows nothing of it and has no memory for it.
struct Awaited {
    communicator: ffi::MPI_Comm,
    from: c_int,
    tag: c_int,
    /// How many have to come.
    bytes: usize,
}

impl Flight {
    /// Starts an operation that uses `buffers`. Moving them later moves the handles to memory on
    /// the heap, never that memory. Where nothing is started and the request is left as it is, the
    /// operation has ended.
    pub(crate) fn launch(
        buffers: Buffers,
        call: &'static str,
        start: impl FnOnce(*mut ffi::MPI_Request) -> c_int,
    ) -> Result<Self, MpiError> {
        let buffers = ManuallyDrop::new(buffers);
        // SAFETY: a constant of the library.
        let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
        // After an error it is not known whether MPI holds on to the memory.
        check(call, start(&raw mut request))?;
        Ok(Self { state: State::UnderWay { request, buffers }, _here: PhantomData })
    }

    /// A receive of exactly so many bytes, at most `c_int::MAX`, from a rank of a valid
    /// communicator.
    pub(crate) fn awaits(
        communicator: ffi::MPI_Comm,
        from: c_int,
        tag: c_int,
        bytes: usize,
    ) -> Self {
        let state = State::Awaited(Awaited { communicator, from, tag, bytes });
        Self { state, _here: PhantomData }
    }

    /// What has become of it; `None` while it is under way.
    ///
    /// # Panics
    /// Where it has ended before.
    pub(crate) fn look(&mut self) -> Option<Result<Buffers, MpiError>> {
        if let State::Awaited(awaited) = &self.state {
            match awaited.claim() {
                Ok(None) => return None,
                Ok(Some(flight)) => *self = flight,
                Err(error) => return Some(Err(error)),
            }
        }
        let State::UnderWay { request, .. } = &mut self.state else { panic!("a flight ends once") };
        let (mut landed, mut status) = (0, empty_status());
        // SAFETY: the request is under way or null, which has landed; flag and status are ours.
        let code = unsafe { ffi::MPI_Test(&raw mut *request, &raw mut landed, &raw mut status) };
        if code == 0 && landed == 0 {
            return None;
        }
        // After an error it is not known whether MPI holds on to the memory.
        let State::UnderWay { buffers, .. } = std::mem::replace(&mut self.state, State::Ended)
        else {
            unreachable!("it was under way a moment ago")
        };
        Some(check("MPI_Test", code).map(|()| ManuallyDrop::into_inner(buffers)))
    }

    /// Whether nothing of it has come yet, so that it can be forgotten.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self.state, State::Awaited(_))
    }
}

impl Awaited {
    /// Takes the message, if it is coming, and receives it into as much memory as it needs.
    ///
    /// A receive that MPI is told of beforehand would leave it to MPI what becomes of a message that
    /// is longer than its memory.
    fn claim(&self) -> Result<Option<Flight>, MpiError> {
        let Self { communicator, from, tag, bytes: expected } = *self;
        // SAFETY: a constant of the library.
        let (byte, mut message) = unsafe { (ffi::RSMPI_UINT8_T, ffi::RSMPI_MESSAGE_NULL) };
        let (mut coming, mut status, mut length) = (0, empty_status(), 0);
        // SAFETY: the communicator is valid, `from` one of its ranks, and the results are ours.
        let code = unsafe {
            let (coming, message) = (&raw mut coming, &raw mut message);
            ffi::MPI_Improbe(from, tag, communicator, coming, message, &raw mut status)
        };
        check("MPI_Improbe", code)?;
        if coming == 0 {
            return Ok(None);
        }
        // SAFETY: the status is that of a message of bytes.
        let code = unsafe { ffi::MPI_Get_count(&raw const status, byte, &raw mut length) };
        check("MPI_Get_count", code)?;
        let found = length as usize;
        let wrong = MpiError::Size { from: from as usize, found, expected };
        let mut buffer = Vec::new();
        if buffer.try_reserve_exact(found).is_err() {
            return Err(wrong);
        }
        buffer.resize(found, 0_u8);
        let (start, length) = (buffer.as_mut_ptr().cast::<c_void>(), count(found)?);
        let flight = Flight::launch(Buffers::In(buffer), "MPI_Imrecv", |request| {
            // SAFETY: the message was taken a moment ago and has `length` bytes, to as many of which
            // on the heap `start` points; the flight keeps them and nobody else looks at them until
            // MPI has let go of them.
            unsafe { ffi::MPI_Imrecv(start, length, byte, &raw mut message, request) }
        })?;
        // Another message than the expected one arrives all the same, so that its sender can go on.
        if found == expected { Ok(Some(flight)) } else { Err(wrong) }
    }
}

fn empty_status() -> ffi::MPI_Status {
    // SAFETY: a plain structure of integers, which MPI fills.
    unsafe { std::mem::zeroed() }
}
