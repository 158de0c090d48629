//! The training loop.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use parareal::exec::ExecError;
use parareal::net::{Init, PararealNetwork};
use parareal_data::{Augmentation, Batches, Dataset};
use parareal_models::resnet::Summary;
use serde::Serialize;

use crate::checkpoint::Store;
use crate::evaluate::judge;
use crate::executor::AnyExecutor;
use crate::metrics::Metrics;
use crate::scores::{Scores, Tally, tensors};
use crate::usage::{Times, Usage};
use crate::{Config, DeviceName, EpochRecord, StepRecord, TrainError, folder};

/// Is told how a run goes.
pub trait Observer {
    /// Behind every step.
    fn on_step(&mut self, record: &StepRecord);

    /// Behind every epoch and its evaluation.
    fn on_epoch(&mut self, record: &EpochRecord);
}

/// A run that is ready to start: everything was looked over, the images are in memory.
pub struct Run {
    config: Config,
    dataset: Dataset,
    summary: Summary,
    output: PathBuf,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The folder of the run.
    pub output: PathBuf,
    /// Complete epochs.
    pub epochs: usize,
    /// Steps.
    pub steps: usize,
    /// The training loss of the last complete epoch.
    pub train_loss: Option<f64>,
    /// The training error of the last complete epoch.
    pub train_error: Option<f64>,
    /// The test loss behind the last complete epoch.
    pub test_loss: Option<f64>,
    /// The test error behind the last complete epoch.
    pub test_error: Option<f64>,
    /// The time of training, evaluations included.
    pub seconds: f64,
    /// The median time of an epoch's training, evaluation not counted.
    pub seconds_per_epoch: Option<f64>,
    /// How busy each subnetwork was in the training steps; empty where that is not known.
    pub subnetworks: Vec<Usage>,
    /// Whether the run was told to stop before its end.
    #[serde(skip)]
    pub interrupted: bool,
}

impl Run {
    /// Looks for the devices, loads the images, and makes the folder of the run: `output`, or a
    /// new one below `runs`.
    ///
    /// # Errors
    /// [`TrainError`] where something is missing or in the way. Nothing was written then.
    pub fn prepare(config: Config, output: Option<PathBuf>) -> Result<Self, TrainError> {
        for device in &config.devices {
            DeviceName::find(device)?;
        }
        if let Some(output) = &output {
            folder::check(output)?;
        }
        let dataset = Dataset::load(config.dataset, &config.load)?;
        let train = &dataset.train;
        let summary = config.network.summary(train.channels(), train.classes())?;
        let output = folder::create(output, &config)?;
        Ok(Self { config, dataset, summary, output })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the network consists of.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The folder of the run.
    #[must_use]
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// The number of training images, and of test images.
    #[must_use]
    pub fn images(&self) -> (usize, usize) {
        (self.dataset.train.len(), self.dataset.test.as_ref().map_or(0, |test| test.len()))
    }

    /// Steps of an epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> usize {
        self.dataset.train.len().div_ceil(self.config.batch_size)
    }

    /// Trains to the end, or until `stop` says so: then the step is finished and the weights are
    /// saved.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] where the loss is not finite, a worker's failure, or a file that
    /// cannot be written.
    pub fn train(
        &self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, TrainError> {
        let config = &self.config;
        let train = &self.dataset.train;
        let (net, cuts) = config.network_for(train.channels(), train.classes());
        let network = PararealNetwork::build(&net, cuts, &Init::new(config.seed, &Device::flex()))?;
        let names = network.subnetworks().iter().map(|subnetwork| {
            subnetwork.named_tensors().into_iter().map(|tensor| tensor.name).collect()
        });
        let store = Store::new(&self.output, config.settings(), names.collect());
        let executor = config.executor(network)?;
        let metrics = Metrics::create(&self.output)?;
        let times = Times::default();
        let mut training =
            Training { run: self, executor, metrics, store, times, epochs: Vec::new(), step: 0 };
        let begun = Instant::now();
        let interrupted = !training.epochs(observer, stop)?;
        Ok(training.outcome(begun.elapsed().as_secs_f64(), interrupted))
    }
}

/// A run under way.
struct Training<'a> {
    run: &'a Run,
    executor: AnyExecutor,
    metrics: Metrics,
    store: Store,
    times: Times,
    epochs: Vec<EpochRecord>,
    step: usize,
}

impl Training<'_> {
    /// Whether it came to its end.
    fn epochs(
        &mut self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, TrainError> {
        for epoch in 1..=self.run.config.epochs {
            let begun = Instant::now();
            let (tally, complete) = self.steps(epoch, observer, stop)?;
            let seconds = begun.elapsed().as_secs_f64();
            self.store.save(epoch, self.step, self.executor.named_tensors()?)?;
            if !complete {
                return Ok(false);
            }
            let dataset = &self.run.dataset;
            let test = match &dataset.test {
                Some(test) => {
                    let judged = judge(&mut self.executor, test, &dataset.normalization, stop)?;
                    let Some(judged) = judged else { return Ok(false) };
                    Some(judged)
                }
                None => None,
            };
            let record = EpochRecord {
                epoch,
                train_loss: tally.loss(),
                train_error: tally.error(),
                test_loss: test.map(|test| test.loss()),
                test_error: test.map(|test| test.error()),
                seconds,
            };
            self.metrics.epoch(&record)?;
            observer.on_epoch(&record);
            self.epochs.push(record);
        }
        Ok(true)
    }

    /// The steps of an epoch, and whether they all were taken.
    fn steps(
        &mut self,
        epoch: usize,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<(Tally, bool), TrainError> {
        let Run { config, dataset, .. } = self.run;
        let learning_rate = config.learning_rate_in(epoch);
        let mut tally = Tally::default();
        let mut batches = Batches::training(
            &dataset.train,
            &dataset.normalization,
            Augmentation::None,
            config.batch_size,
            config.seed,
            epoch,
        )?;
        for batch in batches.by_ref() {
            self.step += 1;
            let (images, targets, labels) = tensors(batch);
            let report =
                self.executor.train_step(images, targets, learning_rate).map_err(|error| {
                    match error {
                        ExecError::LossNotFinite { loss } => {
                            TrainError::Diverged { step: self.step, learning_rate, loss }
                        }
                        error => error.into(),
                    }
                })?;
            let wrong = Scores::read(report.output).wrong(&labels);
            tally.add(labels.len(), wrong, report.loss);
            self.times.add(report.duration, &report.subnetworks);
            let record = StepRecord {
                epoch,
                step: self.step,
                loss: report.loss,
                error: wrong as f64 / labels.len() as f64,
                learning_rate,
                images_per_second: labels.len() as f64 / report.duration.as_secs_f64().max(1e-9),
            };
            self.metrics.step(&record)?;
            observer.on_step(&record);
            if stop() {
                return Ok((tally, false));
            }
        }
        Ok((tally, true))
    }

    fn outcome(self, seconds: f64, interrupted: bool) -> Outcome {
        let last = self.epochs.last();
        Outcome {
            output: self.run.output.clone(),
            epochs: self.epochs.len(),
            steps: self.step,
            train_loss: last.map(|epoch| epoch.train_loss),
            train_error: last.map(|epoch| epoch.train_error),
            test_loss: last.and_then(|epoch| epoch.test_loss),
            test_error: last.and_then(|epoch| epoch.test_error),
            seconds,
            seconds_per_epoch: median(self.epochs.iter().map(|epoch| epoch.seconds).collect()),
            subnetworks: self.times.usage(),
            interrupted,
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
