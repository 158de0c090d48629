//! Bytes and counts that the processes of a group exchange.

#[cfg(feature = "mpi")]
use parareal::exec::MpiError;

use super::ProcessGroup;
use crate::error::TrainError;

/// The tag of messages to rank 0. Nothing else is sent from one rank to another in the communicator of a group.
#[cfg(feature = "mpi")]
const TAG: i32 = 0;

impl ProcessGroup {
    /// Gathers the bytes of all processes on every process, in rank order.
    pub(super) fn gather_on_all(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((_, all)) = &self.inner.ranks {
            return all.all_gather(own).map_err(failed);
        }
        Ok(vec![own])
    }

    /// Gathers the bytes of all processes on rank 0, in rank order. Another rank gets an empty list.
    pub(super) fn gather_on_root(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((_, all)) = &self.inner.ranks {
            let length = own.len() as u64;
            if !self.is_root() {
                all.send(0, TAG, length.to_le_bytes()).map_err(failed)?;
                all.send(0, TAG, own).map_err(failed)?;
                return Ok(Vec::new());
            }
            let receive = |rank, bytes| all.receive(rank, TAG, bytes).map_err(failed);
            let lengths: Vec<_> =
                (1..self.size()).map(|rank| receive(rank, 8)).collect::<Result<_, _>>()?;
            let mut gathered = vec![own];
            for (rank, length) in (1..).zip(lengths) {
                let length = length.wait().map_err(failed)?.try_into().expect("8 bytes");
                let bytes = receive(rank, u64::from_le_bytes(length) as usize)?;
                gathered.push(bytes.wait().map_err(failed)?);
            }
            return Ok(gathered);
        }
        Ok(vec![own])
    }

    /// Broadcasts the bytes of rank 0. The bytes of other ranks are ignored.
    pub(crate) fn broadcast(&self, own: Vec<u8>) -> Result<Vec<u8>, TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((_, all)) = &self.inner.ranks {
            let from_root = |bytes| all.broadcast(0, bytes).and_then(|sent| sent.wait());
            let length = from_root((own.len() as u64).to_le_bytes().to_vec()).map_err(failed)?;
            let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
            let own = if self.is_root() { own } else { vec![0; length] };
            return from_root(own).map_err(failed);
        }
        Ok(own)
    }

    /// Returns how many processes have set each flag. Unlike [`Self::gather_on_all`], this takes no more memory or
    /// traffic per process if there are more of them.
    pub(super) fn count<const K: usize>(&self, own: [bool; K]) -> Result<[usize; K], TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((_, all)) = &self.inner.ranks {
            let counts = all.count(&own).map_err(failed)?;
            return Ok(std::array::from_fn(|k| counts[k]));
        }
        Ok(own.map(usize::from))
    }
}

#[cfg(feature = "mpi")]
pub(super) fn failed(error: MpiError) -> TrainError {
    match error {
        MpiError::Timeout { call, seconds } => TrainError::MpiHangs { call, seconds },
        error => TrainError::ranks(&error.to_string()),
    }
}
