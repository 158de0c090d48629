use std::collections::VecDeque;
use std::sync::Arc;

use parareal_mpi::{Communicator, Request};

use super::first_error::FirstError;
use crate::exec::all_reduce::{AllReduce, Bucket};
use crate::exec::collectives::Disconnected;

/// [`AllReduce`] between ranks, which makes progress while the workers compute.
pub(super) struct RankAllReduce {
    communicator: Communicator,
    in_progress: VecDeque<Sum>,
    first_error: FirstError,
}

enum Sum {
    F32(Request<Vec<f32>>),
    F64(Request<Vec<f64>>),
}

impl RankAllReduce {
    pub(super) fn new(communicator: Communicator, first_error: FirstError) -> Self {
        Self { communicator, in_progress: VecDeque::new(), first_error }
    }
}

impl AllReduce for RankAllReduce {
    fn start(&mut self, terms: Bucket) -> Result<(), Disconnected> {
        let started = match terms {
            Bucket::F32(terms) => self.communicator.sum_f32(terms).map(Sum::F32),
            Bucket::F64(terms) => self.communicator.sum_f64(terms).map(Sum::F64),
        };
        self.in_progress.push_back(started.map_err(|error| self.first_error.note(error))?);
        Ok(())
    }

    fn wait(&mut self) -> Result<Arc<Bucket>, Disconnected> {
        let sum = match self.in_progress.pop_front().ok_or(Disconnected)? {
            Sum::F32(request) => request.wait().map(Bucket::F32),
            Sum::F64(request) => request.wait().map(Bucket::F64),
        };
        sum.map(Arc::new).map_err(|error| self.first_error.note(error))
    }
}
