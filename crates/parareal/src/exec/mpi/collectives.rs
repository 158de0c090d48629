use parareal_mpi::Communicator;

use super::first_error::FirstError;
use crate::exec::collectives::{Collectives, Disconnected, ThreadCollectives};

/// [`Collectives`] between the workers of a replica on several ranks. The workers of a rank reduce among
/// themselves, then the first worker of each rank reduces with the other ranks.
pub(in crate::exec) struct RankCollectives {
    pub(super) local: ThreadCollectives,
    /// The index of the worker within its rank.
    pub(super) worker: usize,
    /// The ranks of the replica.
    pub(super) replica: Communicator,
    pub(super) first_error: FirstError,
}

impl RankCollectives {
    /// Folds the values of the ranks of the replica, in rank order.
    fn between_ranks(
        &mut self,
        values: &mut [f64],
        fold: impl Fn(f64, f64) -> f64,
    ) -> Result<(), Disconnected> {
        if self.worker == 0 && self.replica.size() > 1 {
            let all =
                self.replica.all_gather_equal(bytes(values)).and_then(|request| request.wait());
            let all = numbers(&all.map_err(|error| self.first_error.note(error))?);
            for (index, value) in values.iter_mut().enumerate() {
                let mut given = all.iter().skip(index).step_by(all.len() / self.replica.size());
                let first = *given.next().expect("a replica has ranks");
                *value = given.fold(first, |folded, &value| fold(folded, value));
            }
        }
        // The other workers of this rank get the values of the first one.
        if self.worker > 0 {
            values.fill(0.0);
        }
        self.local.sum(values)
    }
}

impl Collectives for RankCollectives {
    fn sum(&mut self, values: &mut [f64]) -> Result<(), Disconnected> {
        self.local.sum(values)?;
        self.between_ranks(values, |a, b| a + b)
    }

    fn max(&mut self, values: &mut [f64]) -> Result<(), Disconnected> {
        self.local.max(values)?;
        let max = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
        self.between_ranks(values, max)
    }
}

fn bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn numbers(bytes: &[u8]) -> Vec<f64> {
    let values = bytes.chunks_exact(size_of::<f64>());
    values.map(|value| f64::from_le_bytes(value.try_into().expect("there are 8"))).collect()
}
