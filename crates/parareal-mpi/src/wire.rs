//! The boundary to MPI, with `flight.rs`: every unsafe block of the crate, behind functions that are
//! safe to call on the thread that initialized MPI. None of the types can leave it.
//!
//! What another rank does is believed in one thing: the members of a circle take part in the same
//! collective operations with the same numbers of elements. MPI does not check it, and Open MPI 4.1
//! writes beyond a buffer in shared memory where a long message does not fit. So ranks compare what
//! they run before they start, and messages from one rank to another are looked at before there is
//! memory for them.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use mpi_sys as ffi;

use crate::MpiError;
use crate::flight::{Buffers, Flight, Kept};

/// Longest text that this MPI gives for an error.
const LONGEST_MESSAGE: usize = ffi::MPI_MAX_ERROR_STRING as usize;

/// Whether MPI was started in this process, which can be done once.
static STARTED: AtomicBool = AtomicBool::new(false);

/// MPI, initialized on this thread, until [`Wire::finish`]. Not to be sent to another thread.
///
/// A wire that is dropped, by a panic say, ends nothing: to end MPI is to wait for the other ranks,
/// which may wait for this one.
pub(crate) struct Wire {
    _here: PhantomData<*const ()>,
}

/// A communicator. Not to be sent to another thread.
#[derive(Clone, Copy)]
pub(crate) struct Communicator {
    raw: ffi::MPI_Comm,
    _here: PhantomData<*const ()>,
}

impl Wire {
    pub(crate) fn start() -> Result<Self, MpiError> {
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(MpiError::Start("it was started before in this process".into()));
        }
        // SAFETY: a constant of the library.
        let (mut given, wanted) = (0, unsafe { ffi::RSMPI_THREAD_FUNNELED });
        let none = ptr::null_mut();
        // SAFETY: nobody in this process has called it before; no arguments are handed over, as the
        // standard allows, and the result is ours.
        let code = unsafe { ffi::MPI_Init_thread(none, none.cast(), wanted, &raw mut given) };
        if code != 0 {
            return Err(MpiError::Start(format!("MPI_Init_thread gives {code}")));
        }
        let this = Self { _here: PhantomData };
        // The standard orders the levels.
        if given < wanted {
            return Err(MpiError::Start("it does not allow other threads beside its own".into()));
        }
        // SAFETY: MPI is initialized, the communicator is the world's and the handler a constant.
        let code = unsafe {
            ffi::MPI_Comm_set_errhandler(ffi::RSMPI_COMM_WORLD, ffi::RSMPI_ERRORS_RETURN)
        };
        check("MPI_Comm_set_errhandler", code)?;
        Ok(this)
    }

    pub(crate) fn world(&self) -> Communicator {
        // SAFETY: a constant of the library, set when it was loaded.
        Communicator { raw: unsafe { ffi::RSMPI_COMM_WORLD }, _here: PhantomData }
    }

    /// Ends all ranks.
    pub(crate) fn abort(&self, code: i32) {
        // SAFETY: MPI is initialized; where the call returns nothing has happened.
        unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code) };
    }

    /// Ends MPI; all ranks do. No operation is under way, and no communicator is used after it.
    pub(crate) fn finish(self) {
        // SAFETY: MPI was initialized on this thread, which a wire does not leave, and not yet
        // finalized. What it says no longer matters to anybody.
        unsafe { ffi::MPI_Finalize() };
    }
}

impl Communicator {
    pub(crate) fn rank(self) -> Result<usize, MpiError> {
        let mut rank = 0;
        // SAFETY: the communicator is valid (communicators are never freed), the result is ours.
        check("MPI_Comm_rank", unsafe { ffi::MPI_Comm_rank(self.raw, &raw mut rank) })?;
        Ok(rank as usize)
    }

    pub(crate) fn size(self) -> Result<usize, MpiError> {
        let mut size = 0;
        // SAFETY: as above.
        check("MPI_Comm_size", unsafe { ffi::MPI_Comm_size(self.raw, &raw mut size) })?;
        Ok(size as usize)
    }

    /// The communicator of those that give the same color, in their order; `None` without one.
    /// All ranks of this communicator call it.
    pub(crate) fn split(self, color: Option<u32>) -> Result<Option<Self>, MpiError> {
        let key = self.rank()? as c_int;
        // SAFETY: constants of the library.
        let (undefined, null) = unsafe { (ffi::RSMPI_UNDEFINED, ffi::RSMPI_COMM_NULL) };
        let mut raw = null;
        let given = color.map_or(undefined, |color| color as c_int);
        // SAFETY: the communicator is valid, the result is ours.
        let code = unsafe { ffi::MPI_Comm_split(self.raw, given, key, &raw mut raw) };
        check("MPI_Comm_split", code)?;
        Ok(color.map(|_| Self { raw, _here: PhantomData }))
    }

    /// The communicator of the ranks on this machine.
    pub(crate) fn machine(self) -> Result<Self, MpiError> {
        let key = self.rank()? as c_int;
        // SAFETY: constants of the library.
        let (kind, info, mut raw) =
            unsafe { (ffi::RSMPI_COMM_TYPE_SHARED, ffi::RSMPI_INFO_NULL, ffi::RSMPI_COMM_NULL) };
        // SAFETY: the communicator is valid, the result is ours.
        let code = unsafe { ffi::MPI_Comm_split_type(self.raw, kind, key, info, &raw mut raw) };
        check("MPI_Comm_split_type", code)?;
        Ok(Self { raw, _here: PhantomData })
    }

    /// A rank as MPI counts. Numbers that it would take for something else, as for any rank, are
    /// none.
    fn member(self, rank: usize) -> Result<c_int, MpiError> {
        let size = self.size()?;
        match c_int::try_from(rank) {
            Ok(number) if rank < size => Ok(number),
            _ => Err(MpiError::NoMember { rank, size }),
        }
    }

    pub(crate) fn send(
        self,
        to: usize,
        tag: i32,
        data: Box<dyn AsRef<[u8]> + Send>,
    ) -> Result<Flight, MpiError> {
        let (to, kept) = (self.member(to)?, Kept::new(data));
        let bytes = kept.bytes();
        let (start, count) = (bytes.as_ptr().cast::<c_void>(), count(bytes.len())?);
        Flight::launch(Buffers::Out(kept), "MPI_Isend", |request| {
            // SAFETY: `start` points to `count` bytes that the flight keeps, where they are and
            // unchanged, until MPI has let go of them; `to` is a rank of this communicator.
            unsafe {
                let byte = ffi::RSMPI_UINT8_T;
                ffi::MPI_Isend(start, count, byte, to, tag, self.raw, request)
            }
        })
    }

    pub(crate) fn receive(self, from: usize, tag: i32, bytes: usize) -> Result<Flight, MpiError> {
        // So that no message of a rank of ours is longer.
        count(bytes)?;
        Ok(Flight::awaits(self.raw, self.member(from)?, tag, bytes))
    }

    pub(crate) fn broadcast(self, root: usize, mut buffer: Vec<u8>) -> Result<Flight, MpiError> {
        let root = self.member(root)?;
        let (start, count) = (buffer.as_mut_ptr().cast::<c_void>(), count(buffer.len())?);
        Flight::launch(Buffers::In(buffer), "MPI_Ibcast", |request| {
            // Open MPI refuses an empty one.
            if count == 0 {
                return 0;
            }
            // SAFETY: `start` points to `count` bytes on the heap that the flight keeps and nobody
            // else looks at until MPI has let go of them, and `root` is a rank of this communicator.
            // That all members give as many bytes is what a circle's members owe each other.
            unsafe {
                let byte = ffi::RSMPI_UINT8_T;
                ffi::MPI_Ibcast(start, count, byte, root, self.raw, request)
            }
        })
    }

    /// Gathers `lengths[r]` bytes from each rank `r`.
    ///
    /// # Panics
    /// Where there are not as many lengths as ranks, or this rank's is not that of `own`.
    pub(crate) fn gather(self, own: Vec<u8>, lengths: &[usize]) -> Result<Flight, MpiError> {
        assert_eq!(lengths.len(), self.size()?, "a length for each rank");
        // Some MPIs copy what this rank gives without a look at the room for it.
        assert_eq!(lengths[self.rank()?], own.len(), "the length that this rank has told");
        let total = lengths.iter().fold(0_usize, |all, &length| all.saturating_add(length));
        // The last offset is smaller, and so are all counts.
        count(total)?;
        let counts: Vec<c_int> = lengths.iter().map(|&length| length as c_int).collect();
        let offsets: Vec<c_int> = counts
            .iter()
            .scan(0, |next, &count| {
                let offset = *next;
                *next += count;
                Some(offset)
            })
            .collect();
        let (given, mut all) = (count(own.len())?, vec![0_u8; total]);
        let (from, into) = (own.as_ptr().cast::<c_void>(), all.as_mut_ptr().cast::<c_void>());
        let (sizes, places) = (counts.as_ptr(), offsets.as_ptr());
        let buffers = Buffers::Gathered { own, all, counts, offsets };
        Flight::launch(buffers, "MPI_Iallgatherv", |request| {
            if total == 0 {
                return 0;
            }
            // SAFETY: all four point to memory on the heap that the flight keeps and nobody else
            // looks at; `into` has room for the sum of the counts, counts and offsets are as many as
            // the communicator has ranks, and `from` has as many bytes as this rank's count. That
            // each member gives as many bytes as it is said to is what members owe each other.
            unsafe {
                let byte = ffi::RSMPI_UINT8_T;
                let comm = self.raw;
                ffi::MPI_Iallgatherv(from, given, byte, into, sizes, places, byte, comm, request)
            }
        })
    }

    pub(crate) fn sum_singles(self, terms: Vec<f32>) -> Result<Flight, MpiError> {
        let mut sums = vec![0.0_f32; terms.len()];
        let (from, into) = (terms.as_ptr().cast(), sums.as_mut_ptr().cast());
        let count = count(terms.len())?;
        // SAFETY: a constant of the library.
        let kind = unsafe { ffi::RSMPI_FLOAT };
        self.sum(Buffers::Singles(terms, sums), from, into, count, kind)
    }

    pub(crate) fn sum_doubles(self, terms: Vec<f64>) -> Result<Flight, MpiError> {
        let mut sums = vec![0.0_f64; terms.len()];
        let (from, into) = (terms.as_ptr().cast(), sums.as_mut_ptr().cast());
        let count = count(terms.len())?;
        // SAFETY: a constant of the library.
        let kind = unsafe { ffi::RSMPI_DOUBLE };
        self.sum(Buffers::Doubles(terms, sums), from, into, count, kind)
    }

    fn sum(
        self,
        buffers: Buffers,
        from: *const c_void,
        into: *mut c_void,
        count: c_int,
        kind: ffi::MPI_Datatype,
    ) -> Result<Flight, MpiError> {
        Flight::launch(buffers, "MPI_Iallreduce", |request| {
            if count == 0 {
                return 0;
            }
            // SAFETY: `from` and `into` point to `count` elements of this kind on the heap each,
            // which the flight keeps and nobody else looks at until MPI has let go of them. That
            // all members give as many elements is what a circle's members owe each other.
            unsafe {
                let sum = ffi::RSMPI_SUM;
                ffi::MPI_Iallreduce(from, into, count, kind, sum, self.raw, request)
            }
        })
    }
}

pub(crate) fn count(elements: usize) -> Result<c_int, MpiError> {
    c_int::try_from(elements).map_err(|_| MpiError::TooLong { count: elements })
}

pub(crate) fn check(call: &'static str, code: c_int) -> Result<(), MpiError> {
    if code == 0 {
        return Ok(());
    }
    let (mut text, mut length) = (vec![0_u8; LONGEST_MESSAGE], 0);
    // SAFETY: the text has room for the longest message of any MPI.
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
