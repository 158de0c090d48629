//! Trainer for any network.

mod evaluation;
mod metric;
mod rates;
mod settings;
mod task;

use std::fmt::Display;
use std::path::Path;

use parareal::exec::Loss;
use parareal::net::{Coarsen, FeedForward};

use crate::checkpoint::CheckManifest;
use crate::data::Source;
use crate::folder::OutputFolder;
use crate::{
    CheckpointEvery, ConfigRecord, DeviceName, Distillation, ExecutorKind, InitialWeights,
    LinkDtype, Model, Objective, Observer, Outcome, ProcessGroup, Resume, Run, RunConfig,
    RunFolder, Schedule, Start, StepTimeline, Task, TrainError,
};
use metric::Metric;
use settings::Settings;
use task::TrainerTask;

pub use evaluation::Evaluation;
pub use metric::accuracy;

/// Source of batches for a network and a loss.
type Data<N, L> = dyn Source<
        Input = <N as FeedForward>::Input,
        Target = <L as Loss<<N as FeedForward>::Output>>::Target,
    >;

/// The checkpoints of a trainer need no completion, because all versions record all fields.
const CHECK_MANIFEST: CheckManifest<'static> = &|_| Ok(());

/// Trainer for any network. It trains, saves, resumes and evaluates a [`Model`].
///
/// Each setting has a default. An invalid value is reported by [`Self::train`], [`Self::resume`] and
/// [`Self::evaluate`], not by the method that sets it.
///
/// | setting | default |
/// | --- | --- |
/// | [`epochs`](Self::epochs), [`batch_size`](Self::batch_size) | 10, 32 |
/// | [`learning_rate`](Self::learning_rate) | 0.001, constant |
/// | [`validation`](Self::validation), [`metric`](Self::metric) | none |
/// | [`best`](Self::best), [`patience`](Self::patience) | lowest validation loss, no limit |
/// | [`clip_norm`](Self::clip_norm), [`moving_average`](Self::moving_average) | none |
/// | [`seed`](Self::seed) | 0 |
/// | [`checkpoint_every`](Self::checkpoint_every), [`keep_checkpoints`](Self::keep_checkpoints) | epoch, 2 |
/// | [`executor`](Self::executor), [`devices`](Self::devices) | threads, the CPU |
/// | [`workers`](Self::workers), [`threads`](Self::threads) | one worker for each device or core, all cores |
/// | [`replicas`](Self::replicas), [`recompute`](Self::recompute) | 1, none |
/// | [`accumulate`](Self::accumulate) | 1 micro-batch |
/// | [`sync_batch_norm`](Self::sync_batch_norm) | each replica has statistics of its own |
/// | [`launch_graphs`](Self::launch_graphs) | each step submits its launches anew |
/// | [`link_dtype`](Self::link_dtype) | float32 |
/// | [`timeline`](Self::timeline) | none |
/// | [`initial_weights`](Self::initial_weights), [`distillation`](Self::distillation) | given by the seed, none |
///
/// See the [documentation of the crate](crate) for an example.
pub struct Trainer<N: Coarsen, L: Loss<N::Output>> {
    model: Model<N, L>,
    training: Box<Data<N, L>>,
    validation: Option<Box<Data<N, L>>>,
    metrics: Vec<Metric<N::Output, L::Target>>,
    settings: Settings,
    timeline: Option<StepTimeline>,
    initial: Option<InitialWeights>,
    distillation: Option<Distillation>,
    group: ProcessGroup,
}

impl<N: Coarsen, L: Loss<N::Output>> Trainer<N, L> {
    /// Creates a trainer for a model and training samples.
    pub fn new(
        model: Model<N, L>,
        training: impl Source<Input = N::Input, Target = L::Target> + 'static,
    ) -> Self {
        Self {
            model,
            training: Box::new(training),
            validation: None,
            metrics: Vec::new(),
            settings: Settings::default(),
            timeline: None,
            initial: None,
            distillation: None,
            group: ProcessGroup::alone(),
        }
    }

    /// Sets the samples that the network is evaluated on after each epoch.
    #[must_use]
    pub fn validation(
        mut self,
        validation: impl Source<Input = N::Input, Target = L::Target> + 'static,
    ) -> Self {
        self.validation = Some(Box::new(validation));
        self
    }

    /// Adds a metric of the validation samples: a function of the output and the target of a batch that returns a
    /// mean over the samples of the batch, such as [`accuracy`]. The mean over all samples is weighted by the
    /// sizes of the batches. A metric may be NaN; it is then recorded as NaN, and the run continues.
    #[must_use]
    pub fn metric(
        mut self,
        name: impl Into<String>,
        of_batch: impl Fn(N::Output, L::Target) -> f64 + Send + Sync + 'static,
    ) -> Self {
        self.metrics.push(Metric { name: name.into(), of_batch: Box::new(of_batch) });
        self
    }

    /// Sets the objective by which epochs are compared, for the best checkpoint and for [`Self::patience`]: the highest
    /// or lowest validation `loss` or [`metric`](Self::metric).
    #[must_use]
    pub fn best(mut self, objective: Objective) -> Self {
        self.settings.best = objective;
        self
    }

    /// Sets the number of passes over the training samples.
    #[must_use]
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.settings.epochs = epochs;
        self
    }

    /// Sets the number of samples of a step, over all replicas. The last batch of an epoch may be smaller.
    #[must_use]
    pub fn batch_size(mut self, samples: usize) -> Self {
        self.settings.batch_size = samples;
        self
    }

    /// Sets the learning rate of each step: a number, or a [`Schedule`].
    #[must_use]
    pub fn learning_rate(mut self, schedule: impl Into<Schedule>) -> Self {
        self.settings.learning_rate = schedule.into();
        self
    }

    /// Ends the run early after this many epochs without a new best ([`Self::best`]).
    #[must_use]
    pub fn patience(mut self, epochs: usize) -> Self {
        self.settings.patience = Some(epochs);
        self
    }

    /// Sets the largest norm of the gradient of all parameters together; gradients with a larger norm are scaled
    /// down to it.
    #[must_use]
    pub fn clip_norm(mut self, norm: f64) -> Self {
        self.settings.clip_norm = Some(norm);
        self
    }

    /// Keeps a moving average of the weights with this decay. Evaluations use the average, and [`Self::load`]
    /// returns it. The decay is smaller in the first steps ([`RunConfig::ema_decay_of`]).
    #[must_use]
    pub fn moving_average(mut self, decay: f64) -> Self {
        self.settings.moving_average = Some(decay);
        self
    }

    /// Sets the seed of the initial weights, of the order of the samples, and of random layers (dropout masks).
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Sets the interval of the checkpoints that are saved in addition to those after each epoch.
    #[must_use]
    pub fn checkpoint_every(mut self, every: CheckpointEvery) -> Self {
        self.settings.checkpoint_every = every;
        self
    }

    /// Sets the number of checkpoints that are kept in addition to the best one, at least one.
    #[must_use]
    pub fn keep_checkpoints(mut self, count: usize) -> Self {
        self.settings.keep_checkpoints = count;
        self
    }

    /// Sets the executor of the steps.
    #[must_use]
    pub fn executor(mut self, executor: ExecutorKind) -> Self {
        self.settings.executor = executor;
        self
    }

    /// Sets the number of workers that share the subnetworks of a replica or, with MPI, of a rank. The executor
    /// [`Sequential`](ExecutorKind::Sequential) has one worker and does not accept more.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.settings.workers = Some(workers);
        self
    }

    /// Sets the number of threads of each worker on the CPU. Results depend on it only by rounding errors.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.settings.threads = Some(threads);
        self
    }

    /// Sets the number of replicas of the network. Each replica takes a part of every batch.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.settings.replicas = replicas;
        self
    }

    /// Saves memory: the part of each replica of a batch is split into this many micro-batches, which are computed one
    /// after another, and their gradients are added
    /// ([`ExecutorBuilder::accumulate`](parareal::exec::ExecutorBuilder::accumulate)). The loss must be a mean over
    /// samples.
    #[must_use]
    pub fn accumulate(mut self, micro_batches: usize) -> Self {
        self.settings.accumulate = micro_batches;
        self
    }

    /// Normalizes with the statistics of all replicas, on the CPU
    /// ([`ExecutorBuilder::sync_batch_norm`](parareal::exec::ExecutorBuilder::sync_batch_norm)).
    #[must_use]
    pub fn sync_batch_norm(mut self) -> Self {
        self.settings.sync_batch_norm = true;
        self
    }

    /// Records the launches of workers on GPUs once and replays them
    /// ([`ExecutorBuilder::launch_graphs`](parareal::exec::ExecutorBuilder::launch_graphs)).
    #[must_use]
    pub fn launch_graphs(mut self) -> Self {
        self.settings.launch_graphs = true;
        self
    }

    /// Sets the devices of the workers, in order.
    #[must_use]
    pub fn devices(mut self, devices: impl IntoIterator<Item = DeviceName>) -> Self {
        self.settings.devices = devices.into_iter().collect();
        self
    }

    /// Saves memory: one state is kept for every `units` units, and the others are recomputed in the backward
    /// pass. A value of 0 selects the square root of the number of units in the longest subnetwork. Not accepted
    /// by the executor [`Sequential`](ExecutorKind::Sequential), which keeps all states.
    #[must_use]
    pub fn recompute(mut self, units: usize) -> Self {
        self.settings.recompute = Some(units);
        self
    }

    /// Sets the element type of the tensors that ranks send each other, [`LinkDtype::F32`] by default. Only
    /// accepted by the executor [`Mpi`](ExecutorKind::Mpi).
    #[must_use]
    pub fn link_dtype(mut self, dtype: LinkDtype) -> Self {
        self.settings.link_dtype = Some(dtype);
        self
    }

    /// Writes the timeline of one step to a file, in each call that trains or resumes. `config.toml` does not
    /// record this request. Not accepted by the executor [`Sequential`](ExecutorKind::Sequential), which has no
    /// timeline.
    #[must_use]
    pub fn timeline(mut self, timeline: StepTimeline) -> Self {
        self.timeline = Some(timeline);
        self
    }

    /// Sets initial weights to use instead of those given by the seed, such as the weights of a serial network
    /// ([`StateDict::units_only`](parareal::net::StateDict::units_only)) or of a shallower network
    /// ([`spread_units`](crate::spread_units)). A resumed run needs the initial weights only if it has no
    /// checkpoint. `config.toml` does not record them; use [`Self::setting`] to record their origin.
    #[must_use]
    pub fn initial_weights(mut self, initial: InitialWeights) -> Self {
        self.initial = Some(initial);
        self
    }

    /// Distills the [initial weights](Self::initial_weights) before the first step. They must have no interfaces
    /// ([`StateDict::units_only`](parareal::net::StateDict::units_only)). Workers, threads and devices are
    /// those of the trainer. If the run is stopped during the distillation, the distillation starts again when the run
    /// is resumed.
    #[must_use]
    pub fn distillation(mut self, distillation: Distillation) -> Self {
        self.distillation = Some(distillation);
        self
    }

    /// Sets the processes of the run: the ranks of an MPI program ([`ProcessGroup::join`]), for the executor
    /// [`ExecutorKind::Mpi`].
    ///
    /// The methods that train, resume and evaluate are collective: all ranks must call them in the same order and
    /// with the same arguments. [`Self::load`] is not collective.
    #[must_use]
    pub fn group(mut self, group: ProcessGroup) -> Self {
        self.group = group;
        self
    }

    /// Adds an entry to the table `settings` of `config.toml`. The entry must be the same when the run is
    /// resumed. Use it to record settings that the trainer cannot inspect, such as those of the optimizer.
    /// Messages name the entry `settings.KEY`.
    #[must_use]
    pub fn setting(mut self, key: impl Into<String>, value: impl Display) -> Self {
        self.settings.own.insert(key.into(), value.to_string());
        self
    }

    /// Trains in a new or empty folder until the run ends.
    ///
    /// # Errors
    /// In the same cases as [`Self::train_with`].
    pub fn train(&self, folder: impl AsRef<Path>) -> Result<Outcome, TrainError> {
        self.train_with(folder, &mut (), &|| false)
    }

    /// Trains in a new or empty folder until the run ends or `stop` returns true. `stop` is called after each
    /// step and before each batch of an evaluation. When stopped, the run saves a checkpoint of its last step and
    /// sets [`Outcome::interrupted`]. `observer` receives the progress.
    ///
    /// Before anything is written, the network and the loss are tried in evaluation mode on a few samples of the first
    /// batches.
    ///
    /// # Errors
    /// - If a setting is invalid, or does not fit the data or this machine.
    /// - If the network cannot be built.
    /// - If the folder is not empty, a file cannot be written, or the file of the [`timeline`](Self::timeline) exists.
    /// - If the source of batches fails ([`TrainError::Source`]).
    /// - If the network or the loss does not accept a batch ([`TrainError::Batch`]).
    /// - If ranks have different samples ([`TrainError::RanksData`]).
    /// - If the loss, the weights or an evaluation are not finite ([`TrainError::Diverged`] and similar variants).
    /// - If a worker fails.
    pub fn train_with(
        &self,
        folder: impl AsRef<Path>,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, TrainError> {
        let folder = folder.as_ref();
        self.group.agree(check_name(folder))?;
        let (config, record, task) = self.prepare()?;
        let output = OutputFolder::Named(folder.to_path_buf());
        let run = Run::create(&self.group, config, record, task, &output, self.start())?;
        run_to_end(run, observer, stop)
    }

    /// Resumes the run in a folder from its newest checkpoint until it ends, as if it had not been interrupted
    /// ([`Self::resume_with`] describes when the result is bit-identical). A run that has ended is not changed,
    /// unless the number of epochs has been raised.
    ///
    /// # Errors
    /// In the same cases as [`Self::resume_with`].
    pub fn resume(&self, folder: impl AsRef<Path>) -> Result<Outcome, TrainError> {
        self.resume_with(folder, &mut (), &|| false)
    }

    /// Resumes a run like [`Self::resume`], with an observer and a function that stops it, as in [`Self::train_with`].
    ///
    /// On the CPU, the result is bit-identical to that of an uninterrupted run if the executor, workers, threads,
    /// devices, replicas, recomputation, link type and the vector instructions of the machine are the same. If
    /// one of them has changed, the result is the same up to rounding errors, and a note says so. A different
    /// number of replicas also changes the parts of a batch over which batch normalization computes its
    /// statistics, unless these are [those of all replicas](Self::sync_batch_norm).
    ///
    /// | setting | when a run is resumed |
    /// | --- | --- |
    /// | seed, batch size, micro-batches, synchronization of batch normalization, cuts, clipping, moving average, objective, entries of [`Self::setting`] | must be the same |
    /// | learning rate | must give the same rates for all steps so far |
    /// | training and validation samples | must be the same; [`Source`] lists the checks |
    /// | epochs | may increase; a [`Schedule::cosine`] then spans all epochs |
    /// | patience, checkpoint interval, number of checkpoints kept | may change |
    /// | executor, workers, threads, devices, launch graphs, replicas, recomputation, link type | may change |
    ///
    /// Optimizers are compared only by the fields of their state. Resuming AdamW with Adam, or with a different
    /// weight decay, is not detected. Record such settings with [`Self::setting`].
    ///
    /// # Errors
    /// In the same cases as [`Self::train_with`], and:
    ///
    /// - If there is no run in the folder ([`TrainError::NoRun`]).
    /// - If a setting or the samples differ from those of the run ([`TrainError::OtherRun`],
    ///   [`TrainError::OtherData`]).
    /// - If parameters have other names or shapes than in the checkpoint, or all checkpoints are damaged
    ///   ([`TrainError::Damaged`]).
    /// - If the run has already trained for more epochs ([`TrainError::TooFewEpochs`]).
    /// - If another process is training in the folder ([`TrainError::Busy`]).
    pub fn resume_with(
        &self,
        folder: impl AsRef<Path>,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, TrainError> {
        let (group, folder) = (&self.group, folder.as_ref());
        group.agree(check_name(folder))?;
        let (text, before) = group.agree(settings::read(folder))?;
        let (config, record, task) = self.prepare()?;
        group.agree(settings::check_same(folder, &before, record.table()))?;
        let locked = RunFolder::lock(group, folder)?;
        let held = group.agree(config.held(group, self.model.cuts.subnetworks()))?;
        let newest = locked.newest(&held, CHECK_MANIFEST)?;
        let mut before = None;
        if let Some(saved) = &newest.saved {
            group.agree(task.check_data(folder, saved))?;
            if !self.settings.learning_rate.spans_run() {
                let steps_per_epoch = config.steps_per_epoch(task.samples());
                let (schedule, position) = (&config.learning_rate, saved.position);
                group.on_root(|| rates::check(folder, position, schedule, steps_per_epoch))?;
            }
            let schedule = self.settings.learning_rate.clone();
            before = Some(settings::configuration_of(&saved.configuration, &config, schedule));
        }
        let is_changed = record.text() != text;
        let resume = Resume { newest, before, is_changed, start: self.start() };
        run_to_end(Run::resume(locked, config, record, task, resume)?, observer, stop)
    }

    /// Returns the options for starting a run.
    fn start(&self) -> Start {
        Start {
            initial: self.initial.clone(),
            distillation: self.distillation.clone(),
            timeline: self.timeline.clone(),
            ..Start::default()
        }
    }

    /// Returns the complete configuration after checking everything that does not depend on the data.
    fn config(&self) -> Result<RunConfig, TrainError> {
        let config = self.settings.resolve(&self.group, self.model.cuts.subnetworks())?;
        config.check(&self.group, self.training.samples())?;
        config.check_states(&self.group, self.model.network.state_dtype())?;
        Metric::check_names(&self.metrics)?;
        let refuse =
            |name, found: String, expected| Err(TrainError::setting(name, found, expected));
        let (objective, validation) = (&config.objective, &self.validation);
        match objective.name() {
            Some("loss") => {}
            Some(name) if self.metrics.iter().any(|metric| metric.name == name) => {}
            _ => {
                let names = self.metrics.iter().map(|metric| metric.name.as_str());
                let names: Vec<&str> = std::iter::once("loss").chain(names).collect();
                let expected = format!("expected one of {}", names.join(", "));
                return refuse("best", objective.to_string(), expected);
            }
        }
        match validation {
            Some(validation) if validation.samples() == 0 => {
                Err(TrainError::NoSamples { samples: "validation" })
            }
            Some(_) => Ok(config),
            None => {
                let expected = "requires validation samples".to_string();
                if let Some(metric) = self.metrics.first() {
                    return refuse("metric", metric.name.clone(), expected);
                }
                if let Some(patience) = config.patience {
                    return refuse("patience", patience.to_string(), expected);
                }
                if *objective != Settings::default().best {
                    return refuse("best", objective.to_string(), expected);
                }
                Ok(config)
            }
        }
    }

    /// Prepares a run. Collective.
    fn prepare(&self) -> Result<(RunConfig, ConfigRecord, TrainerTask<'_, N, L>), TrainError> {
        let cuts = &self.model.cuts;
        let prepared = self.config().and_then(|config| {
            let task = TrainerTask::new(self, &config)?;
            let record = self.settings.record(&config, cuts.units(), cuts.positions());
            Ok((config, record, task))
        });
        let (config, record, task) = self.group.agree(prepared)?;
        self.group.compare(settings::shared_entries(record.table()))?;
        self.group.compare_data(task.fingerprints())?;
        Ok((config, record, task))
    }
}

/// Rejects an empty path, which would mean the current folder.
fn check_name(folder: &Path) -> Result<(), TrainError> {
    match folder.as_os_str().is_empty() {
        true => {
            let expected = "expected the path of a folder";
            Err(TrainError::setting("folder", "", expected))
        }
        false => Ok(()),
    }
}

/// Trains a run until it ends, and inserts the notes from its start before the notes of its outcome.
fn run_to_end<T: Task>(
    run: Run<T>,
    observer: &mut dyn Observer,
    stop: &dyn Fn() -> bool,
) -> Result<Outcome, TrainError> {
    let mut notes = run.notes().to_vec();
    notes.iter().for_each(|note| observer.on_note(note));
    let mut outcome = run.train(observer, stop)?;
    outcome.notes.retain(|note| !notes.contains(note));
    notes.append(&mut outcome.notes);
    outcome.notes = notes;
    Ok(outcome)
}
