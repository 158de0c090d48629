//! The training loop.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use parareal::exec::{ExecError, Update};
use parareal::net::{Init, PararealNetwork};
use parareal_data::{Augmentation, Batches, Dataset, ImageSet};
use parareal_models::resnet::Summary;
use serde::Serialize;

use crate::checkpoint::{self, Best, ImageRecord, Position, Saved, Store};
use crate::evaluate::judge;
use crate::executor::AnyExecutor;
use crate::folder::Lock;
use crate::metrics::Metrics;
use crate::scores::{Scores, tensors};
use crate::tensorboard::Events;
use crate::usage::{Times, Usage};
use crate::{Config, DeviceName, EpochRecord, Settings, StepRecord, TrainError, folder};

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
    /// Images set aside to choose by.
    validation: Option<ImageSet>,
    summary: Summary,
    output: PathBuf,
    images: ImageRecord,
    /// Where it goes on from.
    saved: Option<Saved>,
    notes: Vec<String>,
    /// Of the notes, those about checkpoints that could not be used.
    skipped: Vec<String>,
    /// Held for as long as the run is under way.
    _lock: Lock,
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
    /// Checkpoints that could not be used when it went on, and why.
    pub notes: Vec<String>,
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
        look_for_devices(&config)?;
        if let Some(output) = &output {
            folder::check(output)?;
        }
        let (dataset, validation) = config.load_images()?;
        let train = &dataset.train;
        let summary = config.network.summary(train.channels(), train.classes())?;
        let output = folder::create(output, &config)?;
        let lock = Lock::take(&output)?;
        let images = ImageRecord::of(&dataset);
        let (saved, notes, skipped) = (None, dataset.notes.clone(), Vec::new());
        Ok(Self {
            config,
            dataset,
            validation,
            summary,
            output,
            images,
            saved,
            notes,
            skipped,
            _lock: lock,
        })
    }

    /// Goes on with the run in a folder, from its newest checkpoint that is whole. `changes` says
    /// what is to be otherwise from here on: devices, workers, the number of epochs.
    ///
    /// # Errors
    /// [`TrainError`] where there is no run, another process is at it, it was made with other
    /// settings or images, or all of its checkpoints are damaged.
    pub fn resume(output: &Path, changes: Settings) -> Result<Self, TrainError> {
        let before = folder::read_config(output)?;
        let config = Config::resume(before.clone(), changes, output)?;
        look_for_devices(&config)?;
        let lock = Lock::take(output)?;
        let (dataset, validation) = config.load_images()?;
        let train = &dataset.train;
        let summary = config.network.summary(train.channels(), train.classes())?;
        let (saved, damaged) = checkpoint::newest(output)?;
        let images = ImageRecord::of(&dataset);
        if let Some(saved) = &saved
            && saved.images.fingerprint != images.fingerprint
        {
            let path = output.to_path_buf();
            return Err(TrainError::OtherImages { path, dataset: config.dataset.to_string() });
        }
        let mut notes = dataset.notes.clone();
        let skipped = damaged.iter().map(|error| format!("skipped a checkpoint: {error}"));
        let skipped: Vec<String> = skipped.collect();
        notes.extend(skipped.clone());
        if saved.is_none() {
            notes.push("nothing was saved yet: the run starts from its beginning".into());
        }
        if config.settings() != before {
            folder::write_config(output, &config)?;
        }
        let output = output.to_path_buf();
        Ok(Self {
            config,
            dataset,
            validation,
            summary,
            output,
            images,
            saved,
            notes,
            skipped,
            _lock: lock,
        })
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

    /// What a person should know before it starts.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Steps that are behind it already.
    #[must_use]
    pub fn steps_done(&self) -> usize {
        self.saved.as_ref().map_or(0, |saved| saved.position.step)
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

    /// Trains to the end, or until `stop` says so: then the step is finished and a checkpoint is
    /// saved.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] where the loss is not finite, a worker's failure, or a file that
    /// cannot be written.
    pub fn train(
        mut self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, TrainError> {
        let saved = self.saved.take();
        let mut training = Training::new(&self, saved)?;
        let begun = Instant::now();
        let interrupted = !training.epochs(observer, stop)?;
        let seconds = begun.elapsed().as_secs_f64();
        if !interrupted {
            training.metrics.end(seconds, &training.times.usage())?;
        }
        Ok(training.outcome(seconds, interrupted))
    }
}

fn look_for_devices(config: &Config) -> Result<(), TrainError> {
    config.devices.iter().try_for_each(|device| DeviceName::find(device).map(drop))
}

/// A run under way.
struct Training<'a> {
    run: &'a Run,
    executor: AnyExecutor,
    metrics: Metrics,
    events: Events,
    store: Store,
    times: Times,
    epochs: Vec<EpochRecord>,
    position: Position,
    /// The last checkpoint: its step, and when it was saved.
    saved: (usize, Instant),
}

impl<'a> Training<'a> {
    fn new(run: &'a Run, saved: Option<Saved>) -> Result<Self, TrainError> {
        let Run { config, dataset: Dataset { train, .. }, output, images, .. } = run;
        let (net, cuts) = config.network_for(train.channels(), train.classes());
        let network = PararealNetwork::build(&net, cuts, &Init::new(config.seed, &Device::flex()))?;
        let names = network.subnetworks().iter().map(|subnetwork| {
            subnetwork.named_tensors().into_iter().map(|tensor| tensor.name).collect()
        });
        let (names, settings) = (names.collect(), config.settings());
        let keep = config.keep_checkpoints;
        let store = Store::new(output, settings, images.clone(), names, keep);
        let mut executor = config.executor(network)?;
        let (metrics, epochs, position) = match saved {
            None => (Metrics::create(output)?, Vec::new(), Position::default()),
            Some(Saved { position, weights, optimizer, .. }) => {
                executor.load(weights).map_err(|error| {
                    TrainError::weights(output, format!("a checkpoint of another network: {error}"))
                })?;
                executor.load_optimizer_state(optimizer)?;
                let (metrics, epochs) = Metrics::resume(output, position.metrics_bytes)?;
                (metrics, epochs, position)
            }
        };
        let events = Events::create(output, position.step)?;
        let (times, saved) = (Times::default(), (position.step, Instant::now()));
        Ok(Self { run, executor, metrics, events, store, times, epochs, position, saved })
    }

    /// Whether it came to its end.
    fn epochs(
        &mut self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, TrainError> {
        // A run that had no patience left goes no further.
        if self.is_out_of_patience() {
            return Ok(true);
        }
        for epoch in self.position.epoch.max(1)..=self.run.config.epochs {
            let complete = self.steps(epoch, observer, stop)?;
            self.save()?;
            if !complete {
                return Ok(false);
            }
            let Some(record) = self.judge(epoch, stop)? else { return Ok(false) };
            self.metrics.epoch(&record)?;
            self.events.epoch(self.position.step, &record)?;
            let is_best = self.choose(&record)?;
            observer.on_epoch(&record);
            self.epochs.push(record);
            if !is_best && self.is_out_of_patience() {
                break;
            }
        }
        Ok(true)
    }

    /// What the epoch came to; `None` where it was told to stop.
    fn judge(
        &mut self,
        epoch: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<EpochRecord>, TrainError> {
        let Run { dataset, validation, .. } = self.run;
        let mut judged = [None; 2];
        for (judged, set) in judged.iter_mut().zip([&dataset.test, validation]) {
            if let Some(set) = set {
                *judged = judge(&mut self.executor, set, &dataset.normalization, stop)?;
                if judged.is_none() {
                    return Ok(None);
                }
            }
        }
        let [test, validation] = judged;
        let Position { epoch_tally: tally, epoch_seconds: seconds, .. } = self.position;
        Ok(Some(EpochRecord {
            epoch,
            train_loss: tally.loss(),
            train_error: tally.error(),
            test_loss: test.map(|test| test.first.loss()),
            test_error: test.map(|test| test.first.error()),
            test_top5_error: test.map(|test| test.top5_error()),
            validation_loss: validation.map(|validation| validation.first.loss()),
            validation_error: validation.map(|validation| validation.first.error()),
            seconds,
        }))
    }

    /// The steps of an epoch that are still to be taken, and whether they all were.
    fn steps(
        &mut self,
        epoch: usize,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, TrainError> {
        let Run { config, dataset, .. } = self.run;
        if self.position.epoch != epoch {
            let Position { step, .. } = self.position;
            self.position = Position { step, epoch, ..Position::default() };
        }
        let steps_per_epoch = self.run.steps_per_epoch();
        let (begun, before) = (Instant::now(), self.position.epoch_seconds);
        let mut batches = Batches::training(
            &dataset.train,
            &dataset.normalization,
            if config.augment { dataset.augmentation } else { Augmentation::None },
            config.batch_size,
            config.seed,
            epoch,
        )?;
        batches.skip_batches(self.position.epoch_steps);
        for batch in batches {
            let step = self.position.step + 1;
            let done = self.position.epoch_steps;
            let learning_rate = config.learning_rate.of_step(epoch, done, steps_per_epoch);
            let update = Update { learning_rate, clip_norm: config.clip_norm };
            let (images, targets, labels) = tensors(batch);
            let report = self.executor.train_step_with(images, targets, update);
            let report = report.map_err(|error| match error {
                ExecError::LossNotFinite { loss } => {
                    TrainError::Diverged { step, learning_rate, loss }
                }
                error => error.into(),
            })?;
            let wrong = Scores::read(report.output).wrong(&labels);
            self.position.step = step;
            self.position.epoch_steps += 1;
            self.position.epoch_seconds = before + begun.elapsed().as_secs_f64();
            self.position.epoch_tally.add(labels.len(), wrong, report.loss);
            self.times.add(report.duration, &report.subnetworks);
            let record = StepRecord {
                epoch,
                step,
                loss: report.loss,
                error: wrong as f64 / labels.len() as f64,
                learning_rate,
                gradient_norm: report.gradient_norm,
                images_per_second: labels.len() as f64 / report.duration.as_secs_f64().max(1e-9),
            };
            self.metrics.step(&record)?;
            self.events.step(&record)?;
            observer.on_step(&record);
            if stop() {
                return Ok(false);
            }
            let (saved_step, saved_at) = self.saved;
            if config.checkpoint_every.is_due(step - saved_step, saved_at.elapsed()) {
                self.save()?;
            }
        }
        Ok(true)
    }

    /// Saves a checkpoint, unless there is one of this step.
    fn save(&mut self) -> Result<(), TrainError> {
        if self.saved.0 != self.position.step {
            self.position.metrics_bytes = self.metrics.sync()?;
            let weights = self.executor.named_tensors()?;
            self.store.save(self.position, weights, self.executor.optimizer_state()?)?;
            self.saved = (self.position.step, Instant::now());
        }
        Ok(())
    }

    /// Remembers the checkpoint of this step if it is the best so far, and says whether it is.
    fn choose(&mut self, record: &EpochRecord) -> Result<bool, TrainError> {
        let (step, Some(error)) = (self.position.step, record.deciding_error()) else {
            return Ok(false);
        };
        let before = self.epochs.iter().filter_map(EpochRecord::deciding_error);
        let is_best = before.fold(f64::INFINITY, f64::min) > error;
        if is_best {
            self.store.set_best(Best { step, error })?;
        }
        Ok(is_best)
    }

    /// Whether the best epoch is as many epochs ago as the run has patience for.
    fn is_out_of_patience(&self) -> bool {
        let Some(patience) = self.run.config.patience else { return false };
        let errors: Vec<f64> = self.epochs.iter().filter_map(EpochRecord::deciding_error).collect();
        let lowest = errors.iter().copied().fold(f64::INFINITY, f64::min);
        let best = errors.iter().position(|&error| error == lowest);
        best.is_some_and(|best| errors.len() - 1 - best >= patience)
    }

    fn outcome(self, seconds: f64, interrupted: bool) -> Outcome {
        let last = self.epochs.last();
        Outcome {
            output: self.run.output.clone(),
            epochs: self.epochs.len(),
            steps: self.position.step,
            train_loss: last.map(|epoch| epoch.train_loss),
            train_error: last.map(|epoch| epoch.train_error),
            test_loss: last.and_then(|epoch| epoch.test_loss),
            test_error: last.and_then(|epoch| epoch.test_error),
            seconds,
            seconds_per_epoch: median(self.epochs.iter().map(|epoch| epoch.seconds).collect()),
            notes: self.run.skipped.clone(),
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
