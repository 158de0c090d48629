//! Runs: creation, resumption and training.

use std::ops::Range;
use std::path::{Path, PathBuf};

use parareal::net::StateDict;
use parareal_run::EndRecord;

use crate::checkpoint::{self, CheckManifest, Newest, Saved};
use crate::finished::Finished;
use crate::folder::{self, Lock, OutputFolder};
use crate::observer::Observer;
use crate::prepared::Prepared;
use crate::run_distillation::{RunDistillation, distill_run};
use crate::timeline::TimelineRecorder;
use crate::training::Training;
use crate::{
    ConfigRecord, Distillation, Outcome, ProcessGroup, RunConfig, StepTimeline, Task, TrainError,
    check_threads, resumed,
};

/// A run that is ready to train: everything is checked, the data is loaded, and the folder exists.
pub struct Run<T: Task> {
    prepared: Prepared<T>,
    /// The checkpoint to resume from.
    saved: Option<Saved>,
    /// The end of the run, if nothing is left to do.
    finished: Option<Finished>,
    /// Recorder of the timeline that this process writes.
    timeline: Option<TimelineRecorder>,
    notes: Vec<String>,
    /// Lock of the folder, held by the root process until the run ends.
    _lock: Option<Lock>,
}

/// Options for starting a run, besides its configuration and its task.
#[derive(Default)]
pub struct Start {
    /// Initial weights, instead of those given by the seed.
    pub initial: Option<InitialWeights>,
    /// Distillation of the initial weights before the first step.
    pub distillation: Option<Distillation>,
    /// Notes about the task. They precede the notes about the run.
    pub notes: Vec<String>,
    /// Request for the timeline of a step. All ranks must have the same request; rank 0 writes the file.
    pub timeline: Option<StepTimeline>,
}

/// Initial weights of a run.
#[derive(Clone)]
pub struct InitialWeights {
    /// Every parameter and buffer.
    pub weights: StateDict,
    /// Description of the origin of the weights.
    pub note: String,
}

impl InitialWeights {
    /// Returns the weights, and adds the note to `notes`.
    fn take(self, notes: &mut Vec<String>) -> StateDict {
        notes.push(self.note);
        self.weights
    }
}

/// Options for resuming a run, besides its configuration and its task.
pub struct Resume {
    /// The run's checkpoints ([`RunFolder::newest`]).
    pub newest: Newest,
    /// Configuration that the checkpoint was saved with. Without it, there are no notes on differences.
    pub before: Option<RunConfig>,
    /// True if `config.toml` has changed.
    pub is_changed: bool,
    /// Options for starting the run if it has no checkpoint.
    pub start: Start,
}

/// The folder of a run to be resumed. The root process holds its lock.
pub struct RunFolder {
    group: ProcessGroup,
    path: PathBuf,
    lock: Option<Lock>,
}

impl RunFolder {
    /// Takes the lock of a run, for all processes of a group.
    ///
    /// # Errors
    /// If another process holds the lock ([`TrainError::Busy`]).
    pub fn lock(group: &ProcessGroup, path: &Path) -> Result<Self, TrainError> {
        let lock = group.agree(group.is_root().then(|| Lock::take(path)).transpose())?;
        Ok(Self { group: group.clone(), path: path.to_path_buf(), lock })
    }

    /// Reads the newest valid checkpoint. Each process reads the subnetworks that it holds.
    ///
    /// # Errors
    /// If there are checkpoints but all are damaged. The error describes the newest one.
    pub fn newest(
        &self,
        held: &Range<usize>,
        check: CheckManifest<'_>,
    ) -> Result<Newest, TrainError> {
        checkpoint::newest(&self.group, &self.path, held, check)
    }
}

impl<T: Task> Run<T> {
    /// Creates the folder of a new run and writes its configuration. Collective: all processes of the group must
    /// make this call.
    ///
    /// # Errors
    /// If the configuration cannot run here ([`RunConfig::check`]), the timeline cannot be written
    /// ([`StepTimeline::check`]) or is requested for a step that the run does not have, or the folder cannot be
    /// created. Everything else is checked before the folder is created.
    pub fn create(
        group: &ProcessGroup,
        mut config: RunConfig,
        configuration: ConfigRecord,
        task: T,
        output: &OutputFolder,
        start: Start,
    ) -> Result<Self, TrainError> {
        config.learning_rate = config.learning_rate.spanning(config.epochs);
        group.agree(config.check(group, task.samples()))?;
        group.agree(check_threads(config.threads, group.resources().cores))?;
        let Start { initial, distillation, mut notes, timeline } = start;
        group.agree(check_distillation(distillation.as_ref(), initial.as_ref(), &task))?;
        let timeline = recorder(timeline.as_ref(), group, &config, &task, 0)?;
        if group.size() > 1 {
            group.agree(folder::check_unicode(output))?;
        }
        let mut lock = None;
        let create = || {
            let folder = folder::create(output, &configuration)?;
            lock = Some(Lock::take(&folder)?);
            Ok::<_, TrainError>(folder)
        };
        let output: PathBuf = group.on_root(create)?;
        group.agree(folder::is_visible(&output))?;
        let initial = initial.map(|initial| initial.take(&mut notes));
        notes.extend(config.remarks(group, task.samples()));
        let (group, skipped) = (group.clone(), Vec::new());
        let prepared =
            Prepared { group, config, configuration, task, output, initial, distillation, skipped };
        Ok(Self { prepared, saved: None, finished: None, timeline, notes, _lock: lock })
    }

    /// Resumes the run in a folder from its newest valid checkpoint.
    ///
    /// # Errors
    /// If the configuration cannot run here ([`RunConfig::check`]), the run has already trained for more epochs
    /// than requested, the timeline cannot be written ([`StepTimeline::check`]) or is requested for a step that
    /// is not among the remaining ones, or a file cannot be read or written.
    pub fn resume(
        folder: RunFolder,
        mut config: RunConfig,
        configuration: ConfigRecord,
        task: T,
        resume: Resume,
    ) -> Result<Self, TrainError> {
        config.learning_rate = config.learning_rate.spanning(config.epochs);
        let RunFolder { group, path: output, lock } = folder;
        let Resume { newest, before, is_changed, start } = resume;
        let Newest { saved, damaged } = newest;
        group.agree(config.check(&group, task.samples()))?;
        if let Some(saved) = &saved
            && saved.position.epoch > config.epochs
        {
            let (done, epochs) = (saved.position.epoch, config.epochs);
            return group.agree(Err(TrainError::TooFewEpochs { epochs, done }));
        }
        let finished = match &saved {
            Some(saved) => Finished::find(&group, &config, &output, saved.position)?,
            None => None,
        };
        let Start { initial, distillation, mut notes, timeline } = start;
        let distillation = distillation.filter(|_| saved.is_none());
        group.agree(check_distillation(distillation.as_ref(), initial.as_ref(), &task))?;
        let (done, is_requested) =
            (saved.as_ref().map_or(0, |saved| saved.position.step), timeline.is_some());
        let timeline = recorder(timeline.as_ref(), &group, &config, &task, done)?
            .filter(|_| finished.is_none());
        let mut weights = None;
        match &saved {
            Some(saved) => {
                if let (None, Some(mut before)) = (&finished, before) {
                    before.learning_rate = before.learning_rate.spanning(before.epochs);
                    let steps_per_epoch = config.steps_per_epoch(task.samples());
                    notes.extend(resumed::notes(saved, &before, &config, steps_per_epoch));
                }
            }
            None => {
                group.on_root(|| checkpoint::check_begun(&output))?;
                notes.push("no checkpoint was saved yet: the run starts from the beginning".into());
                weights = initial.map(|initial| initial.take(&mut notes));
            }
        }
        let steps: Vec<usize> = damaged.iter().map(|(step, _)| *step).collect();
        let aside = group.on_root(|| checkpoint::set_aside(&output, &steps))?;
        let skipped = damaged.iter().zip(&aside).map(|((_, error), name)| {
            format!("skipped a checkpoint: {error}; it was renamed to {name}")
        });
        let skipped: Vec<String> = skipped.collect();
        notes.extend(skipped.clone());
        if finished.is_none() {
            notes.extend(config.remarks(&group, task.samples()));
            if is_changed {
                group.on_root(|| folder::write_config(&output, &configuration))?;
            }
        }
        if is_requested && timeline.is_none() && group.is_root() {
            notes.push("no timeline was written: the run has no steps left".into());
        }
        let prepared = Prepared {
            group,
            config,
            configuration,
            task,
            output,
            initial: weights,
            distillation,
            skipped,
        };
        Ok(Self { prepared, saved, finished, timeline, notes, _lock: lock })
    }

    /// Returns the task.
    #[must_use]
    pub fn task(&self) -> &T {
        &self.prepared.task
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.prepared.config
    }

    /// Returns the folder of the run.
    #[must_use]
    pub fn output(&self) -> &Path {
        &self.prepared.output
    }

    /// Returns the notes to show before the run starts.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the number of steps up to the checkpoint that the run is resumed from; 0 without a checkpoint.
    #[must_use]
    pub fn steps_done(&self) -> usize {
        self.saved.as_ref().map_or(0, |saved| saved.position.step)
    }

    /// Returns the number of epochs of a run that has ended; otherwise `None`.
    #[must_use]
    pub fn finished_epochs(&self) -> Option<usize> {
        self.finished.as_ref().map(Finished::epochs)
    }

    /// Returns the number of steps of an epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> usize {
        self.prepared.steps_per_epoch()
    }

    /// Trains until the run ends or `stop` returns true. When stopped, the run completes the current step and
    /// saves a checkpoint. A finished run returns immediately. A run that is stopped during its distillation has
    /// no checkpoint; the distillation starts again when the run is resumed.
    ///
    /// # Errors
    /// If the loss of a step is not finite ([`TrainError::Diverged`]), the weights are not finite
    /// ([`TrainError::WeightsDiverged`]), the outputs or the loss of an evaluation are not finite
    /// ([`TrainError::EvaluationDiverged`]), a worker fails, or a file cannot be written.
    pub fn train(
        mut self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, TrainError> {
        if let Some(finished) = self.finished.take() {
            return Ok(finished.outcome(&self.prepared.output, &self.prepared.config));
        }
        let mut past = (Vec::new(), 0.0);
        if let Some(distillation) = self.prepared.distillation.take() {
            let distilled = distill_run(&self.prepared, &distillation, observer, stop)?;
            let Some(RunDistillation { weights, records, seconds }) = distilled else {
                let Prepared { output, config, .. } = &self.prepared;
                let mut outcome = Outcome::new(output, config, &[], 0, EndRecord::default());
                outcome.interrupted = true;
                return Ok(outcome);
            };
            self.prepared.initial = Some(weights);
            past = (records, seconds);
        }
        let (saved, timeline) = (self.saved.take(), self.timeline.take());
        let trained = Training::new(&self.prepared, saved, timeline, past)
            .and_then(|training| training.run(observer, stop));
        // All processes have found the same error, so they end together.
        trained.map_err(|error| match error.diverged_at() {
            Some(_) => self.prepared.group.known_to_all(error),
            None => error,
        })
    }
}

/// Checks that the distillation, if any, is possible for the run.
fn check_distillation<T: Task>(
    distillation: Option<&Distillation>,
    initial: Option<&InitialWeights>,
    task: &T,
) -> Result<(), TrainError> {
    let Some(distillation) = distillation else { return Ok(()) };
    distillation.check(task.model().cuts.subnetworks())?;
    let expected = match initial {
        None => "requires initial weights of a trained network",
        Some(initial) if initial.weights.interface_tensors().next().is_some() => {
            "requires initial weights without interfaces; pass those of a serial network (`StateDict::units_only`)"
        }
        Some(_) => return Ok(()),
    };
    Err(TrainError::setting("distill", distillation.steps(), expected))
}

/// Checks the request for a timeline and returns the recorder on rank 0. Collective. Returns `None` on the other
/// ranks, without a request, and if the run has no steps left.
fn recorder<T: Task>(
    request: Option<&StepTimeline>,
    group: &ProcessGroup,
    config: &RunConfig,
    task: &T,
    done: usize,
) -> Result<Option<TimelineRecorder>, TrainError> {
    StepTimeline::check(request, group, config.executor)?;
    let Some(request) = request else { return Ok(None) };
    let steps = config.epochs.saturating_mul(config.steps_per_epoch(task.samples()));
    let target = group.agree(request.target(done, steps))?.filter(|_| group.is_root());
    let new = |target| TimelineRecorder::new(request, target, task, config, group);
    group.agree(target.map(new).transpose())
}
