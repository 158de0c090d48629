//! The task of a trainer: its batches, and how it evaluates.

use std::collections::BTreeMap;
use std::path::Path;

use parareal::exec::{ExecError, Executor, Loss};
use parareal::net::{Coarsen, Value};
use toml::Table;

use super::{Data, Trainer};
use crate::checksum::Checksum;
use crate::data::{BatchIndex, Pass, without_graph};
use crate::task::{Batch, BatchOf, BatchesOf, Evaluated, OutputOf, Score, Stop};
use crate::{Model, RunConfig, Task, TrainError, prefetch};

/// What a trainer trains in one run.
pub(super) struct TrainerTask<'a, N: Coarsen, L: Loss<N::Output>> {
    trainer: &'a Trainer<N, L>,
    batch_size: usize,
    data: Table,
}

/// Means over the samples of a source.
pub(super) struct Means {
    pub(super) samples: usize,
    pub(super) loss: f64,
    pub(super) metrics: BTreeMap<String, f64>,
}

/// Keys of the record of the data in checkpoints, and the samples that they tell of.
const RECORDED: [(&str, &str); 4] = [
    ("training-samples", "training samples"),
    ("first-batch", "training samples"),
    ("validation-samples", "validation samples"),
    ("first-validation-batch", "validation samples"),
];

impl<'a, N: Coarsen, L: Loss<N::Output>> TrainerTask<'a, N, L> {
    /// Reads the first batches, and checks them.
    ///
    /// # Errors
    /// Where there is no such batch, or the network does not take it.
    pub(super) fn new(trainer: &'a Trainer<N, L>, config: &RunConfig) -> Result<Self, TrainError> {
        let mut data = Table::new();
        let mut record = |source: &Data<N, L>, pass: Pass, keys: [&str; 2]| {
            let samples = source.samples();
            data.insert(keys[0].into(), i64::try_from(samples).unwrap_or(i64::MAX).into());
            let first = pass.batches(samples, config.batch_size).next();
            let batch = first.map(|index| batch_of::<N, L>(source, &index)).transpose()?;
            let Some(Batch { input, target, .. }) = batch else { return Ok(()) };
            let (found, expected) = (input.shape(), trainer.model.network.input_shape());
            if found != expected {
                let expected = format!("the network takes samples of shape {expected}");
                let found = format!("of shape {found}");
                return Err(TrainError::setting("inputs", found, expected));
            }
            let mut checksum = Checksum::default();
            checksum.add_data(&input.into_data());
            checksum.add_data(&target.into_data());
            data.insert(keys[1].into(), checksum.finish().into());
            Ok(())
        };
        let first_epoch = Pass::Training { seed: config.seed, epoch: 1 };
        let keys = RECORDED.map(|(key, _)| key);
        record(&*trainer.training, first_epoch, [keys[0], keys[1]])?;
        if let Some(validation) = &trainer.validation {
            record(&**validation, Pass::Evaluation, [keys[2], keys[3]])?;
        }
        Ok(Self { trainer, batch_size: config.batch_size, data })
    }

    /// Refuses to go on with a run that was started with other data.
    ///
    /// # Errors
    /// [`TrainError::OtherData`].
    pub(super) fn check_data(&self, folder: &Path, saved: &Table) -> Result<(), TrainError> {
        let differs = |(key, _): &&(&str, &str)| self.data.get(*key) != saved.get(*key);
        match RECORDED.iter().find(differs) {
            Some((_, what)) => Err(TrainError::OtherData { path: folder.to_path_buf(), what }),
            None => Ok(()),
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
        Ok(Box::new(indices.map(|index| batch_of::<N, L>(source, &index))))
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
        let means = self.trainer.means(executor, &**validation, self.batch_size, stop)?;
        let Some(Means { loss, metrics, .. }) = means else { return Ok(None) };
        let score = Score { loss, error: None, top5_error: None, is_finite: true };
        Ok(Some(Evaluated { validation: Some(score), metrics, ..Evaluated::default() }))
    }

    fn data(&self) -> Table {
        self.data.clone()
    }
}

impl<N: Coarsen, L: Loss<N::Output>> Trainer<N, L> {
    /// Evaluates all samples of a source in their order; `None` if `stop` returned true.
    pub(super) fn means(
        &self,
        executor: &mut dyn Executor<N, L>,
        source: &Data<N, L>,
        batch_size: usize,
        stop: Stop<'_>,
    ) -> Result<Option<Means>, TrainError> {
        let (mut samples, mut sums) = (0, vec![0.0; 1 + self.metrics.len()]);
        let indices = Pass::Evaluation.batches(source.samples(), batch_size);
        let batches = indices.map(|index| batch_of::<N, L>(source, &index));
        let complete = prefetch(batches, |batches| {
            for batch in batches {
                if stop()? {
                    return Ok::<_, TrainError>(false);
                }
                let batch = batch?;
                let count = batch.samples();
                let output = executor.infer(batch.input)?;
                let values = self.values(output, batch.target)?;
                // A mean over samples: the last batch may be smaller.
                let weighted = values.into_iter().map(|value| value * count as f64);
                sums.iter_mut().zip(weighted).for_each(|(sum, value)| *sum += value);
                samples += count;
            }
            Ok(true)
        })??;
        if !complete {
            return Ok(None);
        }
        let means = sums.into_iter().map(|sum| (sum / samples.max(1) as f64).to_bits()).collect();
        // What a metric computes decides on the run: all ranks take the numbers of the first one. As bits, because
        // JSON has no NaN.
        let means: Vec<u64> = self.group.on_root(|| Ok::<_, TrainError>(means))?;
        let mut means = means.into_iter().map(f64::from_bits);
        let loss = means.next().unwrap_or(f64::NAN);
        let names = self.metrics.iter().map(|metric| metric.name.clone());
        Ok(Some(Means { samples, loss, metrics: names.zip(means).collect() }))
    }

    /// Computes the loss of a batch, and then each metric.
    fn values(&self, output: N::Output, target: L::Target) -> Result<Vec<f64>, TrainError> {
        let target = target.to_device(&output.device());
        self.model
            .loss
            .check(&output, &target)
            .map_err(|error| ExecError::Target(error.to_string()))?;
        let loss = self.model.loss.forward(output.clone(), target.clone()).into_scalar::<f64>();
        let metrics = self.metrics.iter();
        let metrics = metrics.map(|metric| (metric.of_batch)(output.clone(), target.clone()));
        Ok(std::iter::once(loss).chain(metrics).collect())
    }
}

/// Returns a batch of a source.
///
/// # Errors
/// The source's own error, or where it returns another number of samples than it was asked for.
fn batch_of<N: Coarsen, L: Loss<N::Output>>(
    source: &Data<N, L>,
    index: &BatchIndex,
) -> Result<BatchFor<N, L>, TrainError> {
    let failed = |error, bad_input| TrainError::Task { error, bad_input };
    let (input, target) = source.batch(index).map_err(|error| failed(error, false))?;
    let (inputs, targets, expected) = (input.samples(), target.samples(), index.samples.len());
    if inputs != expected || targets != expected {
        let message = format!(
            "the source of batches returned {inputs} inputs and {targets} targets for batch {} of a \
             pass: {expected} of each are expected",
            index.step
        );
        return Err(failed(message.into(), true));
    }
    Ok(Batch { input: without_graph(input), target: without_graph(target), labels: () })
}

/// Batch of a network and a loss.
type BatchFor<N, L> = BatchOf<TrainerTask<'static, N, L>>;
