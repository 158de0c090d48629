use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use burn::tensor::{DType, Device, TensorData};
use parareal::net::Value;

use super::source::{BatchIndex, Pass, Source, SourceError};
use crate::TrainError;
use crate::checksum::Checksum;

/// Data set in memory: inputs, and one target per input.
///
/// Each epoch takes the samples in a different order, which depends only on the seed and the epoch. Evaluations
/// take them in stored order.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use parareal_train::TensorDataset;
///
/// let device = Device::flex();
/// let inputs = Tensor::<2>::from_data([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], &device);
/// let targets = Tensor::<1, Int>::from_data([1, 1, 0], &device);
/// let data = TensorDataset::new(inputs, targets)?;
/// assert_eq!(data.len(), 3);
/// # Ok::<(), parareal_train::TrainError>(())
/// ```
pub struct TensorDataset<I, T> {
    samples: usize,
    // A mutex, because a `Value` need not be `Sync`.
    values: Mutex<(I, T)>,
    /// Cached order of the epoch that was requested last.
    order: Mutex<Option<Order>>,
    fingerprint: OnceLock<String>,
}

struct Order {
    pass: Pass,
    indices: Arc<[usize]>,
}

impl<I: Value, T: Value> TensorDataset<I, T> {
    /// Creates a data set from inputs and targets and keeps them on the CPU. The first dimension of both is the
    /// number of samples.
    ///
    /// # Errors
    /// If there are no samples, or the numbers of inputs and targets differ ([`TrainError::Setting`]).
    pub fn new(inputs: I, targets: T) -> Result<Self, TrainError> {
        let (samples, count) = (inputs.samples(), targets.samples());
        if samples == 0 {
            return Err(TrainError::setting("number of inputs", 0, "expected at least 1"));
        }
        if count != samples {
            let expected = format!("expected {samples}, one for each input");
            return Err(TrainError::setting("number of targets", count, expected));
        }
        let values = Mutex::new((on_cpu(inputs), on_cpu(targets)));
        Ok(Self { samples, values, order: Mutex::new(None), fingerprint: OnceLock::new() })
    }

    /// Returns the number of samples, at least one.
    #[allow(clippy::len_without_is_empty)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Returns all inputs and targets, without copying their memory.
    fn values(&self) -> (I, T) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the order of the samples in an epoch.
    fn order(&self, pass: Pass) -> Arc<[usize]> {
        let mut kept = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(order) if order.pass == pass => order.indices.clone(),
            _ => {
                let indices: Arc<[usize]> = pass.order(self.samples).into();
                *kept = Some(Order { pass, indices: indices.clone() });
                indices
            }
        }
    }
}

/// Returns the values on the CPU, detached from any autodiff graph.
fn on_cpu<V: Value>(value: V) -> V {
    match value.device() == Device::flex() {
        true => without_graph(value),
        false => on_device(value, &Device::flex()),
    }
}

/// Returns the values on their device, detached from any autodiff graph.
pub(crate) fn without_graph<V: Value>(value: V) -> V {
    let device = value.device();
    if device.is_autodiff() { on_device(value, &device.without_autodiff()) } else { value }
}

fn on_device<V: Value>(value: V, device: &Device) -> V {
    let data = value.into_data();
    let dtype = data.iter().map(TensorData::dtype).find(DType::is_float).unwrap_or(DType::F32);
    V::from_data(data, device, dtype)
}

impl<I: Value, T: Value> Source for TensorDataset<I, T> {
    type Input = I;
    type Target = T;

    fn samples(&self) -> usize {
        self.samples
    }

    fn batch(&self, index: &BatchIndex) -> Result<(I, T), SourceError> {
        let places = index.samples.clone();
        let (inputs, targets) = self.values();
        if places.is_empty() || places.end > self.samples {
            return Err(format!(
                "samples {places:?} are out of range: there are {} samples",
                self.samples
            )
            .into());
        }
        Ok(match index.pass {
            Pass::Training { .. } => {
                let order = self.order(index.pass);
                let indices = &order[places];
                (inputs.select(indices), targets.select(indices))
            }
            Pass::Evaluation => (inputs.part(places.clone()), targets.part(places)),
        })
    }

    /// Returns the SHA-256 of all inputs and targets. The checksum is computed only once.
    fn fingerprint(&self) -> Option<String> {
        let fingerprint = self.fingerprint.get_or_init(|| {
            let (inputs, targets) = self.values();
            Checksum::of(&inputs, &targets)
        });
        Some(fingerprint.clone())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, Tensor, TensorData};

    use super::*;

    fn data(samples: usize) -> TensorDataset<Tensor<2>, Tensor<1, Int>> {
        let device = Device::flex();
        let numbers: Vec<i64> = (0..samples as i64).collect();
        let targets = Tensor::from_data(TensorData::new(numbers, [samples]), &device);
        let inputs: Tensor<1, Int> = targets.clone();
        TensorDataset::new(inputs.float().reshape([samples, 1]), targets).unwrap()
    }

    fn pass_over(
        data: &TensorDataset<Tensor<2>, Tensor<1, Int>>,
        pass: Pass,
        size: usize,
    ) -> Vec<i64> {
        let batches = pass.batches(data.len(), size).flat_map(|index| {
            let (input, target) = data.batch(&index).unwrap();
            assert_eq!(input.dims(), [index.samples.len(), 1]);
            let (input, target) = (input.into_data(), target.into_data());
            assert!(input.iter::<i64>().eq(target.iter::<i64>()));
            target.iter::<i64>().collect::<Vec<_>>()
        });
        batches.collect()
    }

    #[test]
    fn an_epoch_visits_each_sample_once_in_its_own_order() {
        let data = data(11);
        let epoch = |epoch, size| pass_over(&data, Pass::Training { seed: 3, epoch }, size);
        let (first, second) = (epoch(1, 4), epoch(2, 4));
        assert_ne!(first, second);
        for mut order in [first.clone(), second] {
            order.sort_unstable();
            assert!(order.into_iter().eq(0..11));
        }
        // The same epoch again, in other batches.
        assert_eq!(epoch(1, 11), first);
        assert!(pass_over(&data, Pass::Evaluation, 4).into_iter().eq(0..11));
    }

    #[test]
    fn one_other_sample_changes_the_fingerprint() {
        let fingerprint = |last: i64| {
            let device = Device::flex();
            let targets = Tensor::<1, Int>::from_data([0, 1, last], &device);
            TensorDataset::new(Tensor::<2>::zeros([3, 2], &device), targets).unwrap().fingerprint()
        };
        assert!(fingerprint(2).is_some());
        assert_eq!(fingerprint(2), fingerprint(2));
        assert_ne!(fingerprint(2), fingerprint(3));
    }

    #[test]
    fn empty_data_and_other_numbers_of_targets_are_refused() {
        let device = Device::flex();
        let numbers = |count| Tensor::<1, Int>::zeros([count], &device);
        let refuse = |inputs, targets| {
            let made = TensorDataset::new(numbers(inputs), numbers(targets));
            made.err().unwrap().to_string()
        };
        assert_eq!(refuse(0, 0), "invalid value `0` for number of inputs: expected at least 1");
        let message = refuse(3, 2);
        assert_eq!(
            message,
            "invalid value `2` for number of targets: expected 3, one for each input"
        );
    }
}
