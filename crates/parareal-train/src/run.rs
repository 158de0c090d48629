//! Runs: what they are made of, how they start, and what they come to.

use std::path::{Path, PathBuf};

use parareal_data::{Dataset, ImageSet};
use parareal_models::resnet::Summary;

use crate::checkpoint::{self, ImageRecord, Newest, Saved};
use crate::feasibility::check_threads;
use crate::finished::Finished;
use crate::folder::Lock;
use crate::initial::Initial;
use crate::training::Training;
use crate::{
    Config, DeviceName, EpochRecord, Outcome, Settings, StepRecord, Team, TrainError, continued,
    folder,
};

/// Is told how a run goes.
pub trait Observer {
    /// Behind every step.
    fn on_step(&mut self, record: &StepRecord);

    /// Behind every epoch and its evaluation.
    fn on_epoch(&mut self, record: &EpochRecord);

    /// Called with what a person should know although the run goes on, when it happens.
    fn on_note(&mut self, note: &str) {
        let _ = note;
    }
}

/// A run that is ready to start: everything was looked over, the images are in memory.
pub struct Run {
    /// Who works on it.
    pub(crate) team: Team,
    pub(crate) config: Config,
    pub(crate) dataset: Dataset,
    /// Images set aside to choose by.
    pub(crate) validation: Option<ImageSet>,
    summary: Summary,
    pub(crate) output: PathBuf,
    pub(crate) images: ImageRecord,
    /// Where it goes on from.
    saved: Option<Saved>,
    /// The outcome, where nothing is left to do.
    finished: Option<Finished>,
    /// The weights that it starts from, where these are another run's.
    pub(crate) initial: Option<Initial>,
    notes: Vec<String>,
    /// Of the notes, those about checkpoints that could not be used.
    pub(crate) skipped: Vec<String>,
    /// Held for as long as the run is under way, by the first of the team.
    _lock: Option<Lock>,
}

impl Run {
    /// Refuses a folder that no new run can be written to. [`Self::prepare`] does so as well; here it
    /// is known before balanced cuts are measured for.
    ///
    /// # Errors
    /// [`TrainError`] where the folder holds something or has a name that cannot be, on all of a team.
    pub fn check_output(team: &Team, output: Option<&Path>) -> Result<(), TrainError> {
        team.agree(output.filter(|_| team.leads()).map_or(Ok(()), folder::check))
    }

    /// Looks for the devices, loads the images, and makes the folder of the run: `output`, or a
    /// new one below `runs`. All of a team do so together.
    ///
    /// # Errors
    /// [`TrainError`] where something is missing or in the way, or a team has not the same images.
    /// Nothing was written then.
    pub fn prepare(
        team: &Team,
        config: Config,
        output: Option<PathBuf>,
    ) -> Result<Self, TrainError> {
        Self::check_output(team, output.as_deref())?;
        team.agree(check_threads(config.run.threads, team.place().cores))?;
        let loaded = || {
            let loaded = Loaded::of(team, &config)?;
            let initial = Initial::of(&config, &loaded.images)?;
            Ok((loaded, initial))
        };
        let (loaded, initial) = team.agree(loaded())?;
        loaded.compare(team)?;
        let mut lock = None;
        let create = || {
            let folder = folder::create(output, &config)?;
            lock = Some(Lock::take(&folder)?);
            Ok(folder)
        };
        let output: PathBuf = team.first(create)?;
        team.agree(folder::is_seen(&output))?;
        let mut notes = loaded.dataset.notes.clone();
        notes.extend(initial.as_ref().map(|initial| initial.note.clone()));
        notes.extend(config.remarks(team, loaded.dataset.train.len()));
        let (saved, finished, skipped) = (None, None, Vec::new());
        let Loaded { dataset, validation, summary, images } = loaded;
        Ok(Self {
            team: team.clone(),
            config,
            dataset,
            validation,
            summary,
            output,
            images,
            saved,
            finished,
            initial,
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
    pub fn resume(team: &Team, output: &Path, changes: Settings) -> Result<Self, TrainError> {
        let before = team.agree(folder::read_config(output))?;
        let config = Config::resume(team, before.clone(), changes, output)?;
        let loaded = || {
            let lock = team.leads().then(|| Lock::take(output)).transpose()?;
            Ok((Loaded::of(team, &config)?, config.held(team)?.0, lock))
        };
        let (loaded, held, lock) = team.agree(loaded())?;
        loaded.compare(team)?;
        let Loaded { dataset, validation, summary, images } = loaded;
        let Newest { saved, damaged } = checkpoint::newest(team, output, &held)?;
        if let Some(saved) = &saved
            && saved.images.fingerprint != images.fingerprint
        {
            let (path, dataset) = (output.to_path_buf(), config.dataset.to_string());
            return team.agree(Err(TrainError::OtherImages { path, dataset }));
        }
        if let Some(saved) = &saved
            && !saved.images.has_classes_of(&images.dataset, &images.class_names)
        {
            let (theirs, ours) = (saved.images.class_names.clone(), images.class_names);
            let path = output.to_path_buf();
            return team.agree(Err(TrainError::OtherClasses { path, theirs, ours }));
        }
        if let Some(saved) = &saved
            && saved.position.epoch > config.run.epochs
        {
            let done = saved.position.epoch;
            let expected =
                format!("the run is in epoch {done} already: at least {done} is expected");
            return team.agree(Err(TrainError::setting("epochs", config.run.epochs, expected)));
        }
        let finished = match &saved {
            Some(saved) => Finished::find(team, &config, output, saved.position)?,
            None => None,
        };
        let mut notes = dataset.notes.clone();
        let mut initial = None;
        match &saved {
            Some(_) if finished.is_some() => {}
            Some(saved) => {
                let steps_per_epoch = dataset.train.len().div_ceil(config.run.batch_size);
                notes.extend(team.agree(continued::notes(saved, &config, steps_per_epoch))?);
            }
            None => {
                team.first(|| checkpoint::check_begun(output))?;
                notes.push("nothing was saved yet: the run starts from its beginning".into());
                initial = team.agree(Initial::of(&config, &images))?;
                notes.extend(initial.as_ref().map(|initial| initial.note.clone()));
            }
        }
        let steps: Vec<usize> = damaged.iter().map(|(step, _)| *step).collect();
        let aside = team.first(|| checkpoint::set_aside(output, &steps))?;
        let skipped = damaged.iter().zip(&aside).map(|((_, error), name)| {
            format!("skipped a checkpoint: {error}; it is set aside as {name}")
        });
        let skipped: Vec<String> = skipped.collect();
        notes.extend(skipped.clone());
        if finished.is_none() {
            notes.extend(config.remarks(team, dataset.train.len()));
            if config.settings() != before {
                team.first(|| folder::write_config(output, &config))?;
            }
        }
        let output = output.to_path_buf();
        Ok(Self {
            team: team.clone(),
            config,
            dataset,
            validation,
            summary,
            output,
            images,
            saved,
            finished,
            initial,
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

    /// The epochs of a run that had come to its end before, so that nothing is left to do; otherwise
    /// `None`.
    #[must_use]
    pub fn finished_epochs(&self) -> Option<usize> {
        self.finished.as_ref().map(Finished::epochs)
    }

    /// The number of training images, and of test images.
    #[must_use]
    pub fn images(&self) -> (usize, usize) {
        (self.dataset.train.len(), self.dataset.test.as_ref().map_or(0, |test| test.len()))
    }

    /// Steps of an epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> usize {
        self.dataset.train.len().div_ceil(self.config.run.batch_size)
    }

    /// Trains until the run ends or `stop` returns true. When stopped, it finishes the step and saves a
    /// checkpoint. A finished run returns at once.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] where the loss is not finite,
    /// [`WeightsDiverged`](TrainError::WeightsDiverged) and
    /// [`EvaluationDiverged`](TrainError::EvaluationDiverged) where weights or what comes of them are
    /// not, a worker's failure, or a file that cannot be written.
    pub fn train(
        mut self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, TrainError> {
        if let Some(finished) = self.finished.take() {
            return Ok(finished.outcome(&self.output, &self.config));
        }
        let saved = self.saved.take();
        let trained = Training::new(&self, saved).and_then(|it| it.run(observer, stop));
        trained.map_err(|error| match error {
            // What is not finite is known to all: they end together.
            error if error.diverged_at().is_some() && self.team.size() > 1 => {
                let (message, bad_input) = (error.to_string(), false);
                match self.team.leads() {
                    true => TrainError::Agreed { message, bad_input },
                    false => TrainError::Elsewhere { message, bad_input },
                }
            }
            error => error,
        })
    }
}

/// What each of a team has for itself before a run can start.
struct Loaded {
    dataset: Dataset,
    validation: Option<ImageSet>,
    summary: Summary,
    images: ImageRecord,
}

impl Loaded {
    fn of(team: &Team, config: &Config) -> Result<Self, TrainError> {
        config.check_team(team)?;
        config
            .own_devices(team)
            .iter()
            .try_for_each(|device| DeviceName::find(device).map(drop))?;
        let (dataset, validation) = config.load_images()?;
        let train = &dataset.train;
        let summary = config.network.summary(train.channels(), train.classes())?;
        config.check_replicas(train.len())?;
        let images = ImageRecord::of(&dataset);
        Ok(Self { dataset, validation, summary, images })
    }

    /// Refuses images that others do not have.
    fn compare(&self, team: &Team) -> Result<(), TrainError> {
        let fingerprint = ("the fingerprint of the images", &self.images.fingerprint);
        let compared = [fingerprint].map(|(name, value)| (name.to_string(), value.clone()));
        team.compare(compared.into())
    }
}
