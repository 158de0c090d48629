use std::sync::mpsc::channel;

use crate::error::MpiError;
use crate::progress_handle::ProgressHandle;
use crate::progress_thread::{Membership, Operation};
use crate::raw::Buffers;
use crate::request::Request;

/// A communicator: a group of ranks that exchange messages.
///
/// Collective operations ([`sum_f32`](Self::sum_f32), [`all_gather`](Self::all_gather), and others) must be
/// started by all members in the same order.
#[derive(Clone)]
pub struct Communicator {
    membership: Membership,
    progress: ProgressHandle,
}

impl Communicator {
    pub(crate) fn new(membership: Membership, progress: ProgressHandle) -> Self {
        Self { membership, progress }
    }

    /// The rank of this process within the communicator, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.membership.rank
    }

    /// The number of ranks.
    #[must_use]
    pub fn size(&self) -> usize {
        self.membership.size
    }

    /// Starts sending bytes to another member. The request completes when MPI no longer uses the memory. Waiting
    /// for it is optional.
    ///
    /// # Errors
    /// [`MpiError::ThreadStopped`].
    pub fn send(
        &self,
        to: usize,
        tag: i32,
        data: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<Request<()>, MpiError> {
        self.start(Operation::Send { to, tag, data: Box::new(data) }, drop)
    }

    /// Starts receiving exactly `bytes` bytes from another member. If the message has a different length, the
    /// request fails with [`MpiError::MessageSize`].
    ///
    /// # Errors
    /// [`MpiError::ThreadStopped`].
    pub fn receive(
        &self,
        from: usize,
        tag: i32,
        bytes: usize,
    ) -> Result<Request<Vec<u8>>, MpiError> {
        let operation = Operation::Receive { from, tag, bytes };
        self.start(operation, |buffers| match buffers {
            Buffers::Bytes(bytes) => bytes,
            _ => unreachable!("a receive returns bytes"),
        })
    }

    /// Starts the element-wise sum of vectors of the same length over all members (an all-reduce).
    ///
    /// # Errors
    /// [`MpiError::ThreadStopped`].
    pub fn sum_f32(&self, terms: Vec<f32>) -> Result<Request<Vec<f32>>, MpiError> {
        self.start(Operation::SumF32(terms), |buffers| match buffers {
            Buffers::F32(_, sums) => sums,
            _ => unreachable!("a sum of f32 returns f32"),
        })
    }

    /// Starts the element-wise sum of vectors of the same length over all members (an all-reduce).
    ///
    /// # Errors
    /// [`MpiError::ThreadStopped`].
    pub fn sum_f64(&self, terms: Vec<f64>) -> Result<Request<Vec<f64>>, MpiError> {
        self.start(Operation::SumF64(terms), |buffers| match buffers {
            Buffers::F64(_, sums) => sums,
            _ => unreachable!("a sum of f64 returns f64"),
        })
    }

    /// Counts how many members have set each of some flags, and waits for the counts. All members pass as many flags.
    ///
    /// # Errors
    /// If MPI fails.
    pub fn count(&self, flags: &[bool]) -> Result<Vec<usize>, MpiError> {
        let counts = self.sum_f64(flags.iter().copied().map(f64::from).collect())?.wait()?;
        Ok(counts.into_iter().map(|count| count as usize).collect())
    }

    /// Starts broadcasting the root's bytes to all members. The other members pass a buffer of the same length;
    /// its content is ignored.
    ///
    /// # Errors
    /// [`MpiError::ThreadStopped`].
    pub fn broadcast(&self, root: usize, buffer: Vec<u8>) -> Result<Request<Vec<u8>>, MpiError> {
        self.start(Operation::Broadcast { root, buffer }, |buffers| match buffers {
            Buffers::Bytes(bytes) => bytes,
            _ => unreachable!("a broadcast returns bytes"),
        })
    }

    /// Gathers the bytes of each member on all members and waits for the result. The lengths may differ.
    ///
    /// # Errors
    /// If MPI fails.
    pub fn all_gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, MpiError> {
        let length = (own.len() as u64).to_le_bytes().to_vec();
        let lengths = self.all_gather_equal(length)?.wait()?;
        let lengths: Vec<usize> = lengths
            .chunks_exact(8)
            .map(|length| u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize)
            .collect();
        let all = self.all_gather_lengths(own, lengths.clone())?.wait()?;
        let mut rest = &all[..];
        Ok(lengths
            .into_iter()
            .map(|length| {
                let (bytes, after) = rest.split_at(length);
                rest = after;
                bytes.to_vec()
            })
            .collect())
    }

    /// Starts gathering the bytes of each member on all members. Every member contributes the same number of
    /// bytes. The result is their concatenation in rank order.
    ///
    /// # Errors
    /// [`MpiError::ThreadStopped`].
    pub fn all_gather_equal(&self, own: Vec<u8>) -> Result<Request<Vec<u8>>, MpiError> {
        let lengths = vec![own.len(); self.size()];
        self.all_gather_lengths(own, lengths)
    }

    fn all_gather_lengths(
        &self,
        own: Vec<u8>,
        lengths: Vec<usize>,
    ) -> Result<Request<Vec<u8>>, MpiError> {
        self.start(Operation::AllGather { own, lengths }, |buffers| match buffers {
            Buffers::Gathered { all, .. } => all,
            _ => unreachable!("an all-gather returns gathered bytes"),
        })
    }

    fn start<T: Send + 'static>(
        &self,
        operation: Operation,
        take: fn(Buffers) -> T,
    ) -> Result<Request<T>, MpiError> {
        let (reply, result) = channel();
        let is_receive = matches!(operation, Operation::Receive { .. });
        let completion = Box::new(move |outcome: Result<Buffers, MpiError>| {
            // The request may have been dropped.
            let _ = reply.send(outcome.map(take));
        });
        let request = self.progress.start(self.membership.index, operation, completion)?;
        Ok(Request::new(result, self.progress.clone(), is_receive.then_some(request)))
    }
}
