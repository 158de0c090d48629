//! Runs: what they are made of, how they start, and what they come to.

use std::path::{Path, PathBuf};

use parareal_data::{Dataset, ImageSet};
use parareal_models::resnet::Summary;
use serde::Serialize;

use crate::checkpoint::{self, ImageRecord, Saved};
use crate::folder::Lock;
use crate::initial::Initial;
use crate::sent::Sent;
use crate::training::Training;
use crate::usage::Usage;
use crate::{Config, DeviceName, EpochRecord, Settings, StepRecord, Team, TrainError, folder};

/// Is told how a run goes.
pub trait Observer {
    /// Behind every step.
    fn on_step(&mut self, record: &StepRecord);

    /// Behind every epoch and its evaluation.
    fn on_epoch(&mut self, record: &EpochRecord);
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
    /// The weights that it starts from, where these are another run's.
    pub(crate) initial: Option<Initial>,
    notes: Vec<String>,
    /// Of the notes, those about checkpoints that could not be used.
    pub(crate) skipped: Vec<String>,
    /// Held for as long as the run is under way, by the first of the team.
    _lock: Option<Lock>,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The folder of the run.
    #[serde(serialize_with = "folder::path_as_text")]
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
    /// The time of training, evaluations included, whatever number of processes were at it.
    pub seconds: f64,
    /// The median time of an epoch's training, evaluation not counted.
    pub seconds_per_epoch: Option<f64>,
    /// Checkpoints that could not be used when it went on, and why; details that are not saved.
    pub notes: Vec<String>,
    /// The share of the training's time in which the images of the next step were not ready.
    pub waiting_for_images: f64,
    /// How subnetworks and workers spent the training steps.
    #[serde(flatten)]
    pub usage: Usage,
    /// What each rank has sent in the steps of these processes; empty without ranks.
    pub traffic: Vec<Sent>,
    /// Whether the run ended because it had no patience left.
    pub out_of_patience: bool,
    /// Whether the run was told to stop before its end.
    #[serde(skip)]
    pub interrupted: bool,
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
        let (saved, skipped) = (None, Vec::new());
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
        let (saved, damaged) = checkpoint::newest(team, output, &held)?;
        if let Some(saved) = &saved
            && saved.images.fingerprint != images.fingerprint
        {
            let (path, dataset) = (output.to_path_buf(), config.dataset.to_string());
            return team.agree(Err(TrainError::OtherImages { path, dataset }));
        }
        if let Some(saved) = &saved
            && !saved.images.has_classes_of(&images)
        {
            let (theirs, ours) = (saved.images.class_names.clone(), images.class_names);
            let path = output.to_path_buf();
            return team.agree(Err(TrainError::OtherClasses { path, theirs, ours }));
        }
        if let Some(saved) = &saved
            && saved.position.epoch > config.epochs
        {
            let done = saved.position.epoch;
            let expected =
                format!("the run is in epoch {done} already: at least {done} is expected");
            return team.agree(Err(TrainError::setting("epochs", config.epochs, expected)));
        }
        let mut notes = dataset.notes.clone();
        let skipped = damaged.iter().map(|error| format!("skipped a checkpoint: {error}"));
        let skipped: Vec<String> = skipped.collect();
        notes.extend(skipped.clone());
        let mut initial = None;
        if saved.is_none() {
            notes.push("nothing was saved yet: the run starts from its beginning".into());
            initial = team.agree(Initial::of(&config, &images))?;
            notes.extend(initial.as_ref().map(|initial| initial.note.clone()));
        }
        if config.settings() != before {
            team.first(|| folder::write_config(output, &config))?;
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
        let trained = Training::new(&self, saved).and_then(|it| it.run(observer, stop));
        trained.map_err(|error| match error {
            // The loss is known to all: they end together.
            TrainError::Diverged { .. } if self.team.size() > 1 => {
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
