use std::cell::{Cell, RefCell};
use std::rc::Rc;

use parareal_autodiff::{ReplicaSum, with_replica_sum};

use super::all_reduce::AllReduce;
use super::collectives::Disconnected;

/// Sums within operations over the workers that hold the same subnetworks, one worker per replica.
pub(super) struct StatisticsSum {
    all_reduce: RefCell<Box<dyn AllReduce>>,
    /// True if another replica has stopped, so that a sum is not complete.
    is_disconnected: Cell<bool>,
}

impl StatisticsSum {
    pub(super) fn new(all_reduce: Box<dyn AllReduce>) -> Self {
        Self { all_reduce: RefCell::new(all_reduce), is_disconnected: Cell::new(false) }
    }

    /// Executes operations, in which normalizations sum over the replicas. Fails if another replica has stopped.
    pub(super) fn execute<T>(
        self: Rc<Self>,
        operations: impl FnOnce() -> Result<T, Disconnected>,
    ) -> Result<T, Disconnected> {
        let done = with_replica_sum(self.clone(), operations)?;
        if self.is_disconnected.get() { Err(Disconnected) } else { Ok(done) }
    }
}

impl ReplicaSum for StatisticsSum {
    fn sum(&self, terms: &mut [f64]) {
        if self.all_reduce.borrow_mut().sum(terms).is_err() {
            self.is_disconnected.set(true);
        }
    }
}
