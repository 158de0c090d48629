use parareal_mpi::Communicator;

use super::LinkFault;
use crate::exec::control::ThreadControl;
use crate::exec::{Control, Disconnected};

/// [`Control`] between the workers of a chain that stands on several ranks: the workers of a rank
/// agree among themselves, and the first of them with the other ranks.
pub(super) struct RankControl {
    pub(super) local: ThreadControl,
    /// Which worker of its rank this is, from 0.
    pub(super) worker: usize,
    /// The ranks of the chain.
    pub(super) chain: Communicator,
    pub(super) fault: LinkFault,
}

impl RankControl {
    /// Folds what the ranks of the chain have, in their order.
    fn between_ranks(
        &mut self,
        values: &mut [f64],
        fold: impl Fn(f64, f64) -> f64,
    ) -> Result<(), Disconnected> {
        if self.worker == 0 && self.chain.size() > 1 {
            let all = self.chain.all_gather_equal(bytes(values)).and_then(|pending| pending.wait());
            let all = numbers(&all.map_err(|error| self.fault.note(error))?);
            for (index, value) in values.iter_mut().enumerate() {
                let mut given = all.iter().skip(index).step_by(all.len() / self.chain.size());
                let first = *given.next().expect("a chain has ranks");
                *value = given.fold(first, |folded, &value| fold(folded, value));
            }
        }
        // The others take what the first one has.
        if self.worker > 0 {
            values.fill(0.0);
        }
        self.local.sum(values)
    }
}

impl Control for RankControl {
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
