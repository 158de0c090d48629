use std::cell::{Cell, RefCell};

use parareal_autodiff::ReplicaSum;

use super::all_reduce::{AllReduce, Bucket};

/// Sums within operations over the workers that hold the same subnetworks, one worker per replica.
pub(super) struct StatisticsSum {
    all_reduce: RefCell<Box<dyn AllReduce>>,
    is_disconnected: Cell<bool>,
}

impl StatisticsSum {
    pub(super) fn new(all_reduce: Box<dyn AllReduce>) -> Self {
        Self { all_reduce: RefCell::new(all_reduce), is_disconnected: Cell::new(false) }
    }

    /// Returns true if another replica had stopped, so that a sum is not complete.
    pub(super) fn is_disconnected(&self) -> bool {
        self.is_disconnected.get()
    }
}

impl ReplicaSum for StatisticsSum {
    fn sum(&self, terms: &mut [f64]) {
        let mut all_reduce = self.all_reduce.borrow_mut();
        let started = all_reduce.start(Bucket::F64(terms.to_vec()));
        match started.and_then(|()| all_reduce.wait()).as_deref() {
            Ok(Bucket::F64(sums)) => terms.copy_from_slice(sums),
            Ok(Bucket::F32(_)) => unreachable!("a sum has the precision of its terms"),
            Err(_) => self.is_disconnected.set(true),
        }
    }
}
