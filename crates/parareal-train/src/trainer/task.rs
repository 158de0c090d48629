//! The task of a trainer: its batches and its evaluation.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use parareal::exec::{Executor, Loss, batch_loss};
use parareal::net::{Coarsen, PararealNetwork, SampleShape, Value};
use parareal_text::panic_message;
use toml::Table;

use super::metric::Metric;
use super::{Data, Trainer};
use crate::checkpoint::{LAST_BATCH, Saved};
use crate::checksum::Checksum;
use crate::data::{BatchIndex, Pass, without_graph};
use crate::task::{Batch, BatchOf, BatchesOf, Evaluated, OutputOf, Score, Stop};
use crate::{Model, RunConfig, Task, TrainError, prefetch};

/// Number of samples of the first batches on which the network and the loss are tried before a run starts.
const TRIED_SAMPLES: usize = 4;

/// Model and data of a trainer in one run.
pub(super) struct TrainerTask<'a, N: Coarsen, L: Loss<N::Output>> {
    trainer: &'a Trainer<N, L>,
    batch_size: usize,
    seed: u64,
    data: Table,
}

/// Sums over the samples of a source, computed by one process.
pub(super) struct Sums {
    samples: usize,
    /// The loss and the metrics, each weighted by the number of samples of its batch.
    values: Vec<f64>,
    outputs: Outputs,
    /// Checksum of the batches, if there are other ranks.
    batches: Option<Checksum>,
}

/// Means over the samples of a source.
pub(super) struct Means {
    pub(super) samples: usize,
    pub(super) loss: f64,
    pub(super) metrics: BTreeMap<String, f64>,
    /// False if an output was NaN, or if an output was infinite and the loss is not finite. Infinite outputs with
    /// a finite loss are valid: they exclude classes.
    pub(super) is_finite: bool,
}

/// Kinds of non-finite values among the outputs of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outputs {
    /// True if a value is infinite.
    infinite: bool,
    /// True if a value is NaN.
    nan: bool,
}

impl Outputs {
    /// Adds the values of a tensor. Integers are finite.
    fn add(&mut self, data: &TensorData) {
        let mut add = |value: f64| {
            self.infinite |= value.is_infinite();
            self.nan |= value.is_nan();
        };
        match (data.dtype(), data.as_slice::<f32>()) {
            (DType::F32, Ok(values)) => values.iter().for_each(|&value| add(value.into())),
            (dtype, _) if dtype.is_float() => data.iter::<f64>().for_each(add),
            _ => {}
        }
    }
}

/// Keys by which checkpoints record a set of samples.
struct Recorded {
    samples: &'static str,
    /// Keys of the number of samples, of the checksum of the first batch, and of the fingerprint.
    keys: [&'static str; 3],
}

const TRAINING: Recorded = Recorded {
    samples: "training samples",
    keys: ["training-samples", "first-batch", "training-fingerprint"],
};
const VALIDATION: Recorded = Recorded {
    samples: "validation samples",
    keys: ["validation-samples", "first-validation-batch", "validation-fingerprint"],
};

impl Recorded {
    /// Returns true if two records describe the same samples. Fingerprints are compared only if both records have
    /// one, because older checkpoints and some sources have none.
    fn is_same(&self, data: &Table, saved: &Table) -> bool {
        let [samples, first, fingerprint] = self.keys.map(|key| (data.get(key), saved.get(key)));
        let is_other = matches!(fingerprint, (Some(own), Some(saved)) if own != saved);
        samples.0 == samples.1 && first.0 == first.1 && !is_other
    }
}

impl<'a, N: Coarsen, L: Loss<N::Output>> TrainerTask<'a, N, L> {
    /// Reads the first batches and checks them. Rank 0 also tries the network and the loss on some of their
    /// samples.
    ///
    /// # Errors
    /// If the source fails, the source returns different batches for the same index, or the network or the loss
    /// does not accept a batch.
    pub(super) fn new(trainer: &'a Trainer<N, L>, config: &RunConfig) -> Result<Self, TrainError> {
        let model = &trainer.model;
        let network = match trainer.group.is_root() {
            true => Some(model.build(config.seed)?.valid()),
            false => None,
        };
        let mut data = Table::new();
        let mut record = |source: &Data<N, L>, pass: Pass, keys: [&str; 3]| {
            let samples = source.samples();
            data.insert(keys[0].into(), i64::try_from(samples).unwrap_or(i64::MAX).into());
            let Some(index) = pass.batches(samples, config.batch_size).next() else {
                return Ok(());
            };
            let shape = model.network.input_shape();
            let [first, again] = [(); 2].map(|()| batch_of::<N, L>(source, &shape, &index));
            let (first, again) = (first?, again?);
            let checksum = checksum_of(&first);
            if checksum_of(&again) != checksum {
                let message = "the source returned a different batch when asked again: it must \
                               return the same batch for the same index";
                return Err(TrainError::Batch { index, message: message.into() });
            }
            if let Some(network) = &network {
                let tried = match pass {
                    Pass::Evaluation => try_out(model, network, &trainer.metrics, first),
                    Pass::Training { .. } => try_out(model, network, &[], first).and_then(finite),
                };
                tried.map_err(|message| TrainError::Batch { index, message })?;
            }
            data.insert(keys[1].into(), checksum.into());
            if let Some(fingerprint) = source.fingerprint() {
                data.insert(keys[2].into(), fingerprint.into());
            }
            Ok(())
        };
        let first_epoch = Pass::Training { seed: config.seed, epoch: 1 };
        record(&*trainer.training, first_epoch, TRAINING.keys)?;
        if let Some(validation) = &trainer.validation {
            record(&**validation, Pass::Evaluation, VALIDATION.keys)?;
        }
        Ok(Self { trainer, batch_size: config.batch_size, seed: config.seed, data })
    }

    /// Returns a text that identifies each set of samples, for comparison across ranks.
    pub(super) fn fingerprints(&self) -> BTreeMap<String, String> {
        let of = |recorded: Recorded| {
            let values = recorded.keys.map(|key| self.data.get(key).map(ToString::to_string));
            (recorded.samples.to_string(), values.map(Option::unwrap_or_default).join(" "))
        };
        [TRAINING, VALIDATION].map(of).into()
    }

    /// Checks that the run was started with the same data.
    ///
    /// # Errors
    /// If the data differ ([`TrainError::OtherData`]), or the source fails.
    pub(super) fn check_data(&self, folder: &Path, saved: &Saved) -> Result<(), TrainError> {
        let other = |samples| TrainError::OtherData { path: folder.to_path_buf(), what: samples };
        for recorded in [TRAINING, VALIDATION] {
            if !recorded.is_same(&self.data, &saved.data) {
                return Err(other(recorded.samples));
            }
        }
        // Older checkpoints do not have this entry.
        let Some(last) = saved.data.get(LAST_BATCH) else { return Ok(()) };
        let source = &*self.trainer.training;
        let pass = Pass::Training { seed: self.seed, epoch: saved.position.epoch };
        let mut batches = pass.batches(source.samples(), self.batch_size);
        let step = saved.position.epoch_steps.checked_sub(1);
        let Some(index) = step.and_then(|step| batches.nth(step)) else { return Ok(()) };
        let shape = self.trainer.model.network.input_shape();
        match checksum_of(&batch_of::<N, L>(source, &shape, &index)?) {
            checksum if last.as_str() == Some(&checksum) => Ok(()),
            _ => Err(other(TRAINING.samples)),
        }
    }
}

impl<N: Coarsen, L: Loss<N::Output>> Task for TrainerTask<'_, N, L> {
    type Network = N;
    type Loss = L;
    type Labels = ();

    fn model(&self) -> &Model<N, L> {
        &self.trainer.model
    }

    fn samples(&self) -> usize {
        self.trainer.training.samples()
    }

    fn batches(
        &self,
        batch_size: usize,
        seed: u64,
        epoch: usize,
        skip: usize,
    ) -> Result<BatchesOf<'_, Self>, TrainError> {
        let source = &*self.trainer.training;
        let pass = Pass::Training { seed, epoch };
        let indices = pass.batches(source.samples(), batch_size).skip(skip);
        let shape = self.trainer.model.network.input_shape();
        Ok(Box::new(indices.map(move |index| batch_of::<N, L>(source, &shape, &index))))
    }

    fn wrong(&self, _output: OutputOf<Self>, _labels: &()) -> Option<usize> {
        None
    }

    fn evaluate(
        &self,
        executor: &mut dyn Executor<N, L>,
        stop: Stop<'_>,
    ) -> Result<Option<Evaluated<'_>>, TrainError> {
        let Some(validation) = &self.trainer.validation else {
            return Ok(Some(Evaluated::default()));
        };
        let sums = self.trainer.sums(executor, &**validation, self.batch_size, stop)?;
        let Some(sums) = sums else { return Ok(None) };
        let Means { loss, metrics, is_finite, .. } =
            self.trainer.means(sums, VALIDATION.samples)?;
        let score = Score { loss, error: None, top5_error: None, is_finite };
        Ok(Some(Evaluated { validation: Some(score), metrics, ..Evaluated::default() }))
    }

    fn data(&self) -> Table {
        self.data.clone()
    }

    fn records_last_batch(&self) -> bool {
        true
    }
}

impl<N: Coarsen, L: Loss<N::Output>> Trainer<N, L> {
    /// Evaluates all samples of a source in order. Returns `None` if `stop` returned true.
    pub(super) fn sums(
        &self,
        executor: &mut dyn Executor<N, L>,
        source: &Data<N, L>,
        batch_size: usize,
        stop: Stop<'_>,
    ) -> Result<Option<Sums>, TrainError> {
        let mut sums = Sums {
            samples: 0,
            values: vec![0.0; 1 + self.metrics.len()],
            outputs: Outputs::default(),
            batches: (self.group.size() > 1).then(Checksum::default),
        };
        let shape = self.model.network.input_shape();
        let indices = Pass::Evaluation.batches(source.samples(), batch_size);
        let batches = indices.map(|index| batch_of::<N, L>(source, &shape, &index));
        let complete = prefetch(batches, |batches| {
            for batch in batches {
                if stop()? {
                    return Ok::<_, TrainError>(false);
                }
                let batch = batch?;
                if let Some(checksum) = &mut sums.batches {
                    checksum.add(&batch.input, &batch.target);
                }
                let count = batch.samples();
                let output = executor.infer(batch.input)?;
                output.clone().into_data().iter().for_each(|data| sums.outputs.add(data));
                let values = self.values(output, batch.target)?;
                // A mean over samples: the last batch may be smaller.
                let weighted = values.into_iter().map(|value| value * count as f64);
                sums.values.iter_mut().zip(weighted).for_each(|(sum, value)| *sum += value);
                sums.samples += count;
            }
            Ok(true)
        })??;
        Ok(complete.then_some(sums))
    }

    /// Returns the means over the samples. All ranks use the results of rank 0, because the run makes decisions
    /// that depend on them.
    ///
    /// # Errors
    /// If ranks had different batches ([`TrainError::RanksData`]), or MPI fails.
    pub(super) fn means(&self, sums: Sums, name: &str) -> Result<Means, TrainError> {
        let Sums { samples, values, outputs, batches } = sums;
        if let Some(checksum) = batches {
            self.group.compare_data([(name.to_string(), checksum.finish())].into())?;
        }
        // Sent as bits, because JSON has no NaN.
        let means = values.into_iter().map(|sum| (sum / samples.max(1) as f64).to_bits()).collect();
        let of_root = || Ok::<_, TrainError>((means, outputs.nan, outputs.infinite));
        let (means, nan, infinite): (Vec<u64>, bool, bool) = self.group.on_root(of_root)?;
        let mut means = means.into_iter().map(f64::from_bits);
        let loss = means.next().unwrap_or(f64::NAN);
        let is_finite = !nan && (loss.is_finite() || !infinite);
        let names = self.metrics.iter().map(|metric| metric.name.clone());
        Ok(Means { samples, loss, metrics: names.zip(means).collect(), is_finite })
    }

    /// Computes the loss of a batch, and then each metric.
    fn values(&self, output: N::Output, target: L::Target) -> Result<Vec<f64>, TrainError> {
        let target = target.to_device(&output.device());
        let loss = batch_loss(&self.model.loss, &output, target.clone())?.into_scalar::<f64>();
        let metrics = self.metrics.iter();
        let failed = |message: String| TrainError::Task { error: message.into(), bad_input: false };
        let metrics =
            metrics.map(|metric| metric.apply(output.clone(), target.clone()).map_err(failed));
        std::iter::once(Ok(loss)).chain(metrics).collect()
    }
}

/// Computes the loss and the metrics of some samples of a batch in evaluation mode, and returns the loss.
///
/// # Errors
/// If the network, the loss or a metric cannot be computed. The error describes the problem.
fn try_out<N: Coarsen, L: Loss<N::Output>>(
    model: &Model<N, L>,
    network: &PararealNetwork<N>,
    metrics: &[Metric<N::Output, L::Target>],
    batch: BatchFor<N, L>,
) -> Result<f64, String> {
    let samples = batch.samples().min(TRIED_SAMPLES);
    let compute = || {
        let input = batch.input.part(0..samples);
        let output = network.forward_chain(input);
        let target = batch.target.part(0..samples).to_device(&output.device());
        let loss = batch_loss(&model.loss, &output, target.clone());
        let loss = loss.map_err(|error| error.to_string())?;
        let apply = |metric: &Metric<_, _>| metric.apply(output.clone(), target.clone()).map(drop);
        metrics.iter().try_for_each(apply)?;
        Ok(loss.into_scalar::<f64>())
    };
    catch_unwind(AssertUnwindSafe(compute)).unwrap_or_else(|panic| {
        Err(format!("the network or the loss panicked: {}", panic_message(&*panic)))
    })
}

/// Returns the loss, or an error if it is not finite.
fn finite(loss: f64) -> Result<f64, String> {
    match loss.is_finite() {
        true => Ok(loss),
        false => Err(format!(
            "the loss is {loss} before any training: samples or initial weights are not finite, or too large"
        )),
    }
}

/// Returns the checksum of a batch.
fn checksum_of<I: Value, T: Value, L>(batch: &Batch<I, T, L>) -> String {
    Checksum::of(&batch.input, &batch.target)
}

/// Returns a batch of a source for a network that takes samples of this shape.
///
/// # Errors
/// If the source fails, or returns samples of a different number or shape than expected.
fn batch_of<N: Coarsen, L: Loss<N::Output>>(
    source: &Data<N, L>,
    shape: &SampleShape,
    index: &BatchIndex,
) -> Result<BatchFor<N, L>, TrainError> {
    let failed = |error| TrainError::Source { index: index.clone(), error };
    let wrong = |message| Err(TrainError::Batch { index: index.clone(), message });
    let (input, target) = source.batch(index).map_err(failed)?;
    let (inputs, targets, expected) = (input.samples(), target.samples(), index.samples.len());
    if inputs != expected || targets != expected {
        return wrong(format!(
            "the source returned {inputs} inputs and {targets} targets: expected {expected} of each"
        ));
    }
    let found = input.shape();
    if found != *shape {
        return wrong(format!(
            "the inputs have shape {found}, but the network expects samples of shape {shape}"
        ));
    }
    Ok(Batch { input: without_graph(input), target: without_graph(target), labels: () })
}

/// Batch of a network and a loss.
type BatchFor<N, L> = BatchOf<TrainerTask<'static, N, L>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn records_without_a_fingerprint_are_compared_by_number_and_first_batch() {
        let own = table("training-samples = 3\nfirst-batch = 'a'\ntraining-fingerprint = 'x'");
        for (saved, expected) in [
            ("training-samples = 3\nfirst-batch = 'a'\ntraining-fingerprint = 'x'", true),
            ("training-samples = 3\nfirst-batch = 'a'\ntraining-fingerprint = 'y'", false),
            ("training-samples = 3\nfirst-batch = 'a'", true),
            ("training-samples = 3\nfirst-batch = 'b'", false),
            ("training-samples = 4\nfirst-batch = 'a'", false),
        ] {
            assert_eq!(TRAINING.is_same(&own, &table(saved)), expected, "{saved}");
            assert_eq!(TRAINING.is_same(&table(saved), &own), expected, "{saved}");
        }
    }

    #[test]
    fn infinite_outputs_are_distinguished_from_nan() {
        let of = |data: TensorData| {
            let mut outputs = Outputs::default();
            outputs.add(&data);
            (outputs.infinite, outputs.nan)
        };
        assert_eq!(of(TensorData::from([1.0_f32, f32::MAX])), (false, false));
        assert_eq!(of(TensorData::from([u64::MAX])), (false, false));
        assert_eq!(of(TensorData::from([0.0_f32, f32::NAN])), (false, true));
        assert_eq!(of(TensorData::from([f64::NEG_INFINITY])), (true, false));
    }
}
