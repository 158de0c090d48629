use std::error::Error;
use std::ops::Range;

use parareal::net::Value;

/// A source of batches: a function of the seed, the epoch and the step.
///
/// The same [`BatchIndex`] always gives the same batch, whatever was asked for before. So a run that is resumed
/// sees the batches of an uninterrupted one, and each rank of an MPI program prepares the batches of the others.
/// A run checks this as far as it can: a checksum of its first batches is recorded in each checkpoint, and ranks
/// compare checksums.
///
/// [`TensorDataset`](crate::TensorDataset) is a source of samples in memory, [`from_fn`](crate::from_fn) makes
/// one of a function.
pub trait Source: Send + Sync {
    /// Type of a batch of inputs.
    type Input: Value;
    /// Type of a batch of targets.
    type Target: Value;

    /// Returns the number of samples of a pass.
    fn samples(&self) -> usize;

    /// Returns a batch of `index.samples.len()` samples: their inputs and targets, on any device. Executors take
    /// them from the CPU at no cost.
    ///
    /// It is called on another thread, while earlier steps run.
    ///
    /// # Errors
    /// Any error; it ends the run.
    fn batch(&self, index: &BatchIndex) -> Result<(Self::Input, Self::Target), SourceError>;
}

/// Error of a source.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// What a batch depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchIndex {
    /// The pass over the samples.
    pub pass: Pass,
    /// Number of the batch in this pass, from 0.
    pub step: usize,
    /// Places of its samples in the order of the pass. The last batch may be shorter than the others.
    pub samples: Range<usize>,
}

/// One pass over the samples of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// An epoch of training. Sources choose an order that depends on nothing but these numbers.
    Training {
        /// Seed of the run.
        seed: u64,
        /// The epoch, from 1.
        epoch: usize,
    },
    /// An evaluation, which takes the samples in the order in which they are.
    Evaluation,
}

impl Pass {
    /// Returns the batches of a pass over so many samples.
    pub(crate) fn batches(
        self,
        samples: usize,
        batch_size: usize,
    ) -> impl Iterator<Item = BatchIndex> + Send {
        let size = batch_size.max(1);
        (0..samples.div_ceil(size)).map(move |step| {
            let first = step * size;
            BatchIndex { pass: self, step, samples: first..samples.min(first + size) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_batch_holds_the_rest() {
        let samples = |samples, size| -> Vec<_> {
            Pass::Evaluation.batches(samples, size).map(|index| index.samples).collect()
        };
        assert_eq!(samples(5, 2), [0..2, 2..4, 4..5]);
        assert_eq!(samples(4, 2), [0..2, 2..4]);
        assert_eq!(samples(5, 4), [0..4, 4..5]);
        assert!(samples(0, 8).is_empty());
    }
}
