use std::error::Error;
use std::fmt;
use std::ops::Range;

use parareal::net::Value;

use super::permutation::permutation;

/// A source of batches: a function of the seed, the epoch and the step.
///
/// The same [`BatchIndex`] must always give the same batch, independently of earlier requests. A resumed run then
/// sees the batches of an uninterrupted run, and all ranks of an MPI program prepare the same batches. A run
/// makes these checks:
///
/// | check | when |
/// | --- | --- |
/// | the first batches are the same if they are requested twice | before the run starts |
/// | the first batches and the last batch before a checkpoint have the recorded checksums | when the run is resumed |
/// | all batches have the same checksums on all ranks | before each checkpoint and after each evaluation |
///
/// [`TensorDataset`](crate::TensorDataset) is a source of samples in memory, and [`from_fn`](crate::from_fn) creates
/// one from a function. An example of a source that reads each sample from a file on request:
///
/// ```
/// use std::{fs, path::PathBuf};
///
/// use burn::tensor::{Device, Int, Tensor, TensorData};
/// use parareal_train::{BatchIndex, Pass, Source, SourceError};
///
/// /// Files of eight bytes each, and the classes of the samples in them.
/// struct Files(Vec<(PathBuf, i64)>);
///
/// impl Source for Files {
///     type Input = Tensor<2>;
///     type Target = Tensor<1, Int>;
///
///     fn samples(&self) -> usize {
///         self.0.len()
///     }
///
///     fn batch(&self, index: &BatchIndex) -> Result<(Tensor<2>, Tensor<1, Int>), SourceError> {
///         let (mut values, mut classes) = (Vec::new(), Vec::new());
///         // A different order in each epoch, and the order of the files in an evaluation.
///         let order = index.pass.order(self.samples());
///         for &sample in &order[index.samples.clone()] {
///             let (path, class) = &self.0[sample];
///             let bytes: [u8; 8] = fs::read(path)?.as_slice().try_into()?;
///             values.extend(bytes.map(|byte| f32::from(byte) / 255.0));
///             classes.push(*class);
///         }
///         let (device, count) = (Device::flex(), classes.len());
///         let inputs = Tensor::from_data(TensorData::new(values, [count, 8]), &device);
///         Ok((inputs, Tensor::from_data(TensorData::new(classes, [count]), &device)))
///     }
/// }
///
/// # fn main() -> Result<(), SourceError> {
/// # let folder = tempfile::tempdir()?;
/// # let mut files = Vec::new();
/// # for class in 0..5 {
/// #     let path = folder.path().join(class.to_string());
/// #     fs::write(&path, [class as u8; 8])?;
/// #     files.push((path, class));
/// # }
/// let data = Files(files);
/// // The batches of two samples that a run with this seed requests in its third epoch.
/// let pass = Pass::Training { seed: 7, epoch: 3 };
/// for index in pass.batches(data.samples(), 2) {
///     let (inputs, classes) = data.batch(&index)?;
///     assert_eq!(inputs.dims(), [index.samples.len(), 8]);
/// #   let found: Vec<i64> = classes.into_data().iter::<i64>().collect();
/// #   let order = pass.order(5);
/// #   assert!(found.iter().map(|&class| class as usize).eq(order[index.samples].iter().copied()));
/// }
/// # Ok(())
/// # }
/// ```
pub trait Source: Send + Sync {
    /// Type of a batch of inputs.
    type Input: Value;
    /// Type of a batch of targets.
    type Target: Value;

    /// Returns the number of samples of a pass.
    fn samples(&self) -> usize;

    /// Returns a batch of `index.samples.len()` samples: their inputs and targets, on any device. Executors take
    /// batches from the CPU, so tensors on the CPU need no additional copy.
    ///
    /// Batches are requested on a separate thread while earlier steps run. The first batches and, when a run is
    /// resumed, the last batch before its checkpoint are requested on the calling thread, before anything is
    /// written.
    ///
    /// # Errors
    /// If the batch cannot be computed. An error ends the run.
    fn batch(&self, index: &BatchIndex) -> Result<(Self::Input, Self::Target), SourceError>;

    /// Returns a text that identifies the samples, such as a checksum of all of them. The default is `None`, for
    /// sources where this is too expensive. Checkpoints record the text, and resuming a run fails if the text has
    /// changed.
    fn fingerprint(&self) -> Option<String> {
        None
    }
}

/// Error of a source.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// Position of a batch in a run, which determines the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchIndex {
    /// The pass over the samples.
    pub pass: Pass,
    /// Index of the batch in this pass, from 0.
    pub step: usize,
    /// Positions of the batch's samples in the order of the pass. The last batch may be smaller than the others.
    pub samples: Range<usize>,
}

impl fmt::Display for BatchIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {} of {}", self.step, self.pass)
    }
}

/// One pass over the samples of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// An epoch of training. The order of the samples that a source chooses must depend only on these numbers.
    Training {
        /// Seed of the run.
        seed: u64,
        /// The epoch, from 1.
        epoch: usize,
    },
    /// An evaluation, which takes the samples in stored order.
    Evaluation,
}

impl Pass {
    /// Returns the indices of the samples, from 0 to `samples - 1`, in the order of the pass. In an epoch of
    /// training, the order is random and depends only on the seed and the epoch. In an evaluation, the indices
    /// increase. [`BatchIndex::samples`] is a range of positions in this order.
    ///
    /// The call takes time proportional to `samples`, about 10 ns per sample.
    ///
    /// ```
    /// use parareal_train::Pass;
    ///
    /// assert_eq!(Pass::Evaluation.order(3), [0, 1, 2]);
    /// let mut order = Pass::Training { seed: 1, epoch: 2 }.order(100);
    /// order.sort_unstable();
    /// assert!(order.into_iter().eq(0..100));
    /// ```
    #[must_use]
    pub fn order(self, samples: usize) -> Vec<usize> {
        match self {
            Self::Training { seed, epoch } => permutation(samples, seed, epoch),
            Self::Evaluation => (0..samples).collect(),
        }
    }

    /// Returns the indices of all batches of a pass over this many samples, in order. A batch size of 0 is
    /// treated as 1.
    ///
    /// ```
    /// use parareal_train::Pass;
    ///
    /// let batches: Vec<_> = Pass::Evaluation.batches(5, 2).map(|index| index.samples).collect();
    /// assert_eq!(batches, [0..2, 2..4, 4..5]);
    /// ```
    pub fn batches(
        self,
        samples: usize,
        batch_size: usize,
    ) -> impl Iterator<Item = BatchIndex> + Send {
        let size = batch_size.max(1);
        (0..samples.div_ceil(size)).map(move |step| {
            let first = step * size;
            BatchIndex { pass: self, step, samples: first..samples.min(first.saturating_add(size)) }
        })
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Training { epoch, .. } => write!(f, "training epoch {epoch}"),
            Self::Evaluation => f.write_str("an evaluation"),
        }
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
        assert_eq!(samples(3, usize::MAX).first(), Some(&(0..3)));
        let last = Pass::Evaluation.batches(usize::MAX, usize::MAX - 1).last().unwrap();
        assert_eq!(last.samples, usize::MAX - 1..usize::MAX);
    }
}
