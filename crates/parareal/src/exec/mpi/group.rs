use std::collections::VecDeque;
use std::sync::Arc;

use parareal_mpi::{Communicator, Request};

use super::LinkFault;
use crate::exec::Disconnected;
use crate::exec::replicas::{Group, Numbers};

/// [`Group`] between ranks: an all-reduce that moves on while its workers compute.
pub(super) struct RankGroup {
    circle: Communicator,
    under_way: VecDeque<Sum>,
    fault: LinkFault,
}

enum Sum {
    Singles(Request<Vec<f32>>),
    Doubles(Request<Vec<f64>>),
}

impl RankGroup {
    pub(super) fn new(circle: Communicator, fault: LinkFault) -> Self {
        Self { circle, under_way: VecDeque::new(), fault }
    }
}

impl Group for RankGroup {
    fn begin(&mut self, terms: Numbers) -> Result<(), Disconnected> {
        let begun = match terms {
            Numbers::Singles(terms) => self.circle.sum_f32(terms).map(Sum::Singles),
            Numbers::Doubles(terms) => self.circle.sum_f64(terms).map(Sum::Doubles),
        };
        self.under_way.push_back(begun.map_err(|error| self.fault.note(error))?);
        Ok(())
    }

    fn end(&mut self) -> Result<Arc<Numbers>, Disconnected> {
        let sum = match self.under_way.pop_front().ok_or(Disconnected)? {
            Sum::Singles(pending) => pending.wait().map(Numbers::Singles),
            Sum::Doubles(pending) => pending.wait().map(Numbers::Doubles),
        };
        sum.map(Arc::new).map_err(|error| self.fault.note(error))
    }
}
