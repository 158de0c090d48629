use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

use mpi_sys as ffi;

use super::request::{Buffers, RawRequest, SendBuffer};
use super::return_code::{check, count};
use crate::error::MpiError;

/// An MPI communicator. It cannot be sent to another thread.
#[derive(Clone, Copy)]
pub(crate) struct RawCommunicator {
    raw: ffi::MPI_Comm,
    _here: PhantomData<*const ()>,
}

impl RawCommunicator {
    /// Wraps a valid communicator.
    pub(super) fn new(raw: ffi::MPI_Comm) -> Self {
        Self { raw, _here: PhantomData }
    }

    pub(crate) fn rank(self) -> Result<usize, MpiError> {
        let mut rank = 0;
        // SAFETY: the communicator is valid (communicators are never freed), and the result is a local variable.
        check("MPI_Comm_rank", unsafe { ffi::MPI_Comm_rank(self.raw, &raw mut rank) })?;
        Ok(rank as usize)
    }

    pub(crate) fn size(self) -> Result<usize, MpiError> {
        let mut size = 0;
        // SAFETY: as above.
        check("MPI_Comm_size", unsafe { ffi::MPI_Comm_size(self.raw, &raw mut size) })?;
        Ok(size as usize)
    }

    /// Splits the communicator into one per color, with its ranks in the same order (`MPI_Comm_split`). Returns
    /// `None` on ranks without a color. All ranks must call this.
    pub(crate) fn split(self, color: Option<u32>) -> Result<Option<Self>, MpiError> {
        let key = self.rank()? as c_int;
        // SAFETY: constants of the library.
        let (undefined, null) = unsafe { (ffi::RSMPI_UNDEFINED, ffi::RSMPI_COMM_NULL) };
        let mut raw = null;
        let given = color.map_or(undefined, |color| color as c_int);
        // SAFETY: the communicator is valid, and the result is a local variable.
        let code = unsafe { ffi::MPI_Comm_split(self.raw, given, key, &raw mut raw) };
        check("MPI_Comm_split", code)?;
        Ok(color.map(|_| Self { raw, _here: PhantomData }))
    }

    /// The communicator of the ranks on this machine (`MPI_Comm_split_type`).
    pub(crate) fn machine(self) -> Result<Self, MpiError> {
        let key = self.rank()? as c_int;
        // SAFETY: constants of the library.
        let (kind, info, mut raw) =
            unsafe { (ffi::RSMPI_COMM_TYPE_SHARED, ffi::RSMPI_INFO_NULL, ffi::RSMPI_COMM_NULL) };
        // SAFETY: the communicator is valid, and the result is a local variable.
        let code = unsafe { ffi::MPI_Comm_split_type(self.raw, kind, key, info, &raw mut raw) };
        check("MPI_Comm_split_type", code)?;
        Ok(Self { raw, _here: PhantomData })
    }

    /// Converts a rank of this communicator to MPI's type. Numbers with a special meaning to MPI, such as
    /// `MPI_ANY_SOURCE`, are rejected.
    fn member(self, rank: usize) -> Result<c_int, MpiError> {
        let size = self.size()?;
        match c_int::try_from(rank) {
            Ok(number) if rank < size => Ok(number),
            _ => Err(MpiError::InvalidRank { rank, size }),
        }
    }

    pub(crate) fn send(
        self,
        to: usize,
        tag: i32,
        data: Box<dyn AsRef<[u8]> + Send>,
    ) -> Result<RawRequest, MpiError> {
        let (to, kept) = (self.member(to)?, SendBuffer::new(data));
        let bytes = kept.bytes();
        let (start, count) = (bytes.as_ptr().cast::<c_void>(), count(bytes.len())?);
        RawRequest::start(Buffers::Send(kept), "MPI_Isend", |request| {
            // SAFETY: `start` points to `count` bytes that the request keeps, in place and
            // unchanged, until MPI no longer uses them; `to` is a rank of this communicator.
            unsafe {
                let byte = ffi::RSMPI_UINT8_T;
                ffi::MPI_Isend(start, count, byte, to, tag, self.raw, request)
            }
        })
    }

    pub(crate) fn receive(
        self,
        from: usize,
        tag: i32,
        bytes: usize,
    ) -> Result<RawRequest, MpiError> {
        // MPI cannot send longer messages.
        count(bytes)?;
        Ok(RawRequest::receive(self.raw, self.member(from)?, tag, bytes))
    }

    pub(crate) fn broadcast(
        self,
        root: usize,
        mut buffer: Vec<u8>,
    ) -> Result<RawRequest, MpiError> {
        let root = self.member(root)?;
        let (start, count) = (buffer.as_mut_ptr().cast::<c_void>(), count(buffer.len())?);
        RawRequest::start(Buffers::Bytes(buffer), "MPI_Ibcast", |request| {
            // Open MPI rejects an empty broadcast, so none is started.
            if count == 0 {
                return 0;
            }
            // SAFETY: `start` points to `count` bytes on the heap that the request keeps and nothing else
            // accesses until MPI has completed it, and `root` is a rank of this communicator. All members are
            // trusted to pass the same number of bytes: see `raw`.
            unsafe {
                let byte = ffi::RSMPI_UINT8_T;
                ffi::MPI_Ibcast(start, count, byte, root, self.raw, request)
            }
        })
    }

    /// Gathers `lengths[r]` bytes from each rank `r` on all ranks.
    ///
    /// # Panics
    /// If the number of lengths differs from the number of ranks, or the length for this rank differs from the
    /// length of `own`.
    pub(crate) fn all_gather(
        self,
        own: Vec<u8>,
        lengths: &[usize],
    ) -> Result<RawRequest, MpiError> {
        assert_eq!(lengths.len(), self.size()?, "one length per rank");
        // Some MPI implementations copy a rank's own contribution without checking its length.
        assert_eq!(lengths[self.rank()?], own.len(), "the announced length of this rank");
        let total = lengths.iter().fold(0_usize, |all, &length| all.saturating_add(length));
        // No offset and no count exceeds the total.
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
        RawRequest::start(buffers, "MPI_Iallgatherv", |request| {
            if total == 0 {
                return 0;
            }
            // SAFETY: all four pointers refer to heap memory that the request keeps and nothing else accesses.
            // `into` has room for the sum of the counts, there is one count and one offset per rank, and `from`
            // has as many bytes as this rank's count. Each member is trusted to pass as many bytes as its count:
            // see `raw`.
            unsafe {
                let byte = ffi::RSMPI_UINT8_T;
                let comm = self.raw;
                ffi::MPI_Iallgatherv(from, given, byte, into, sizes, places, byte, comm, request)
            }
        })
    }

    pub(crate) fn sum_f32(self, terms: Vec<f32>) -> Result<RawRequest, MpiError> {
        let mut sums = vec![0.0_f32; terms.len()];
        let (from, into) = (terms.as_ptr().cast(), sums.as_mut_ptr().cast());
        let count = count(terms.len())?;
        // SAFETY: a constant of the library.
        let kind = unsafe { ffi::RSMPI_FLOAT };
        self.sum(Buffers::F32(terms, sums), from, into, count, kind)
    }

    pub(crate) fn sum_f64(self, terms: Vec<f64>) -> Result<RawRequest, MpiError> {
        let mut sums = vec![0.0_f64; terms.len()];
        let (from, into) = (terms.as_ptr().cast(), sums.as_mut_ptr().cast());
        let count = count(terms.len())?;
        // SAFETY: a constant of the library.
        let kind = unsafe { ffi::RSMPI_DOUBLE };
        self.sum(Buffers::F64(terms, sums), from, into, count, kind)
    }

    fn sum(
        self,
        buffers: Buffers,
        from: *const c_void,
        into: *mut c_void,
        count: c_int,
        kind: ffi::MPI_Datatype,
    ) -> Result<RawRequest, MpiError> {
        RawRequest::start(buffers, "MPI_Iallreduce", |request| {
            if count == 0 {
                return 0;
            }
            // SAFETY: `from` and `into` each point to `count` elements of this kind on the heap, which the
            // request keeps and nothing else accesses until MPI has completed it. All members are trusted to pass
            // the same number of elements: see `raw`.
            unsafe {
                let sum = ffi::RSMPI_SUM;
                ffi::MPI_Iallreduce(from, into, count, kind, sum, self.raw, request)
            }
        })
    }
}
