//! Runs that train a network to classify images.

use std::path::{Path, PathBuf};

use parareal_models::resnet::Summary;
use parareal_train::checkpoint::CheckpointChoice;
use parareal_train::folder::{self, OutputFolder};
use parareal_train::{
    ConfigRecord, Distillation, Exported, InitialWeights, Observer, Outcome, OutputFile,
    ProcessGroup, Resources, Resume, Run, RunFolder, Start, StepTimeline, export,
};

use crate::image_record::{CHECK_MANIFEST, ImageRecord};
use crate::image_task::ImageTask;
use crate::initial_weights::initial_weights;
use crate::{Config, Settings, VisionError};

/// Folder of runs for which no other folder is named.
const RUNS: &str = "runs";

/// A run that trains a network to classify images.
pub struct ClassificationRun {
    run: Run<ImageTask>,
    config: Config,
    summary: Summary,
}

impl ClassificationRun {
    /// Checks that a new run can be written to a folder. [`Self::create`] does so as well; here it is known
    /// before balanced cuts are measured.
    ///
    /// # Errors
    /// [`VisionError`] where the folder is not empty or has a name that no folder can have, in all processes
    /// of a group.
    pub fn check_output(group: &ProcessGroup, output: Option<&Path>) -> Result<(), VisionError> {
        let own = output.filter(|_| group.is_root()).map_or(Ok(()), folder::check);
        Ok(group.agree(own)?)
    }

    /// Looks for the devices, loads the images, and creates the folder of the run: `output`, or a new one in
    /// the folder `runs`. All processes of a group do so together. `timeline` is the step whose timeline is
    /// written.
    ///
    /// # Errors
    /// [`VisionError`] where something is missing or in the way, or the processes have different images.
    /// Nothing was written then.
    pub fn create(
        group: &ProcessGroup,
        config: Config,
        output: Option<PathBuf>,
        timeline: Option<StepTimeline>,
    ) -> Result<Self, VisionError> {
        Self::check_output(group, output.as_deref())?;
        StepTimeline::check(timeline.as_ref(), group, config.run.executor)?;
        let loaded = || {
            let (task, summary) = load(group, &config)?;
            let initial = initial_weights(&config, &task.record)?;
            Ok::<_, VisionError>((task, summary, initial))
        };
        let (task, summary, initial) = group.agree(loaded())?;
        compare(group, &task.record)?;
        let output = match output {
            Some(folder) => OutputFolder::Named(folder),
            None => OutputFolder::Numbered { parent: RUNS.into(), name: config.name_of_run() },
        };
        let start = start(&config, &task, initial, timeline);
        let configuration = configuration(&config);
        let run = Run::create(group, config.run.clone(), configuration, task, &output, start)?;
        Ok(Self { run, config, summary })
    }

    /// Resumes the run in a folder from its newest checkpoint that is whole. `changes` are settings that are
    /// to be otherwise from here on: devices, workers, the number of epochs. `timeline` is the step whose timeline
    /// is written.
    ///
    /// # Errors
    /// [`VisionError`] where there is no run, another process works on it, it was started with other
    /// settings or images, or all of its checkpoints are damaged.
    pub fn resume(
        group: &ProcessGroup,
        folder: &Path,
        changes: Settings,
        timeline: Option<StepTimeline>,
    ) -> Result<Self, VisionError> {
        let before = group.agree(Settings::of_run(folder))?;
        let config = Config::resume(group, before.clone(), changes, folder)?;
        StepTimeline::check(timeline.as_ref(), group, config.run.executor)?;
        let locked = RunFolder::lock(group, folder)?;
        let loaded = || {
            let held = config.run.held(group, config.network.cuts.subnetworks())?;
            Ok::<_, VisionError>((load(group, &config)?, held))
        };
        let ((task, summary), held) = group.agree(loaded())?;
        compare(group, &task.record)?;
        let newest = locked.newest(&held, CHECK_MANIFEST)?;
        let (mut before_run, mut initial) = (None, None);
        match &newest.saved {
            Some(saved) => {
                let saved_images = group.agree(ImageRecord::of_saved(folder, saved))?;
                group.agree(saved_images.check_same(folder, &task.record))?;
                // The ranks of then may have been others than those of now.
                let saved_config = Settings::of_table(&saved.configuration)
                    .and_then(|settings| Config::resolve(settings, &Resources::alone()));
                before_run = Some(group.agree(saved_config)?.run);
            }
            None => initial = group.agree(initial_weights(&config, &task.record))?,
        }
        let start = start(&config, &task, initial, timeline);
        let is_changed = config.settings() != before;
        let resume = Resume { newest, before: before_run, is_changed, start };
        let configuration = configuration(&config);
        let run = Run::resume(locked, config.run.clone(), configuration, task, resume)?;
        Ok(Self { run, config, summary })
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the components of the network.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Returns the number of training images, and of test images.
    #[must_use]
    pub fn images(&self) -> (usize, usize) {
        self.run.task().images()
    }

    /// Returns the run.
    #[must_use]
    pub fn run(&self) -> &Run<ImageTask> {
        &self.run
    }

    /// Trains until the run ends or `stop` returns true ([`Run::train`]).
    ///
    /// # Errors
    /// Those of [`Run::train`].
    pub fn train(
        self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, VisionError> {
        Ok(self.run.train(observer, stop)?)
    }
}

/// Writes the weights of a run that classifies images to a safetensors file ([`export`]).
///
/// # Errors
/// Those of [`export`].
pub fn export_run(
    run: &Path,
    choice: CheckpointChoice,
    output: &OutputFile,
) -> Result<Exported, VisionError> {
    Ok(export(run, choice, CHECK_MANIFEST, output)?)
}

/// The start of a run: what comes before its first step, and what is said then.
fn start(
    config: &Config,
    task: &ImageTask,
    initial: Option<InitialWeights>,
    timeline: Option<StepTimeline>,
) -> Start {
    let distillation = config.distill.map(Distillation::new);
    Start { initial, distillation, notes: task.dataset.notes.clone(), timeline }
}

fn configuration(config: &Config) -> ConfigRecord {
    ConfigRecord::new(&config.settings()).expect("strings, numbers and lists of them are TOML")
}

/// Loads the images of a process, and checks what it has of its own.
fn load(group: &ProcessGroup, config: &Config) -> Result<(ImageTask, Summary), VisionError> {
    config.check_balanced()?;
    config.run.check_group(group)?;
    config.run.check_devices(group)?;
    let task = ImageTask::load(config)?;
    let train = &task.dataset.train;
    let summary = config.network.summary(train.channels(), train.classes())?;
    Ok((task, summary))
}

/// Refuses images that other processes do not have.
fn compare(group: &ProcessGroup, images: &ImageRecord) -> Result<(), VisionError> {
    let name = "the fingerprint of the images".to_string();
    Ok(group.compare([(name, images.fingerprint.clone())].into())?)
}
