//! Training runs for image classification.

use std::path::{Path, PathBuf};

use parareal::net::FeedForward;
use parareal_data::LoadProgress;
use parareal_models::{Architecture, Summary};
use parareal_train::folder::{self, OutputFolder};
use parareal_train::{
    ConfigRecord, Distillation, InitialWeights, Observer, Outcome, ProcessGroup, Resources, Resume,
    Run, RunConfig, RunFolder, Start, StepTimeline, check_threads,
};

use crate::image_record::{CHECK_MANIFEST, ImageRecord};
use crate::image_task::ImageTask;
use crate::initial_weights::initial_weights;
use crate::network::NetworkConfig;
use crate::recorded::check_unedited;
use crate::{Config, Preparation, Settings, VisionError};

/// Number of rows of patches below which a note is shown.
const MIN_PATCH_ROWS: usize = 4;

/// Parent folder of runs without an explicit output folder.
const RUNS: &str = "runs";

/// A training run for image classification.
pub struct ClassificationRun {
    run: Run<ImageTask>,
    config: Config,
    summary: Summary,
}

impl ClassificationRun {
    /// Checks that a new run can be written to a folder. [`Self::create`] makes the same check. A separate
    /// call reports the error before balanced cuts are measured.
    ///
    /// # Errors
    /// If the folder is not empty or its name is not valid. All processes of the group get the error.
    pub fn check_output(group: &ProcessGroup, output: Option<&Path>) -> Result<(), VisionError> {
        let own = output.filter(|_| group.is_root()).map_or(Ok(()), folder::check);
        Ok(group.agree(own)?)
    }

    /// Finds the devices, loads the images, and creates the folder of the run: `output`, or a new one in the
    /// folder `runs`. Collective: all processes of the group make this call. `timeline` requests the timeline of
    /// one step.
    ///
    /// # Errors
    /// If a device or an image file is missing, the output folder cannot be used, or the processes have
    /// different images. Nothing is written in that case.
    pub fn create(
        group: &ProcessGroup,
        config: Config,
        output: Option<PathBuf>,
        timeline: Option<StepTimeline>,
    ) -> Result<Self, VisionError> {
        Self::create_with(group, config, output, timeline, &())
    }

    /// Creates a run as [`Self::create`] does, and reports what happens before the first step. To time the steps from which the
    /// number of workers is chosen takes as long as about a dozen steps.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_with(
        group: &ProcessGroup,
        config: Config,
        output: Option<PathBuf>,
        timeline: Option<StepTimeline>,
        preparation: &dyn Preparation,
    ) -> Result<Self, VisionError> {
        Self::check_output(group, output.as_deref())?;
        StepTimeline::check(timeline.as_ref(), group, config.run.executor)?;
        let loaded = || {
            let (task, summary) = load(group, &config, &|progress| preparation.on_load(progress))?;
            // A run of an earlier version may go on.
            check_smallest_batch(&config, task.images().0)?;
            let initial = initial_weights(&config, &task.record)?;
            Ok::<_, VisionError>((task, summary, initial))
        };
        let (task, summary, initial) = group.agree(loaded())?;
        compare(group, &task.record)?;
        let config = place(group, config, &task, &|| preparation.before_timing())?;
        let output = match output {
            Some(folder) => OutputFolder::Named(folder),
            None => OutputFolder::Numbered { parent: RUNS.into(), name: config.name_of_run() },
        };
        let start = start(&config, &task, initial, timeline);
        let configuration = configuration(&config);
        let run = Run::create(group, config.run.clone(), configuration, task, &output, start)?;
        Ok(Self { run, config, summary })
    }

    /// Returns true if a folder holds a run, which [`Self::resume`] continues even if it has no checkpoint yet. Collective.
    ///
    /// # Errors
    /// If the processes of the group cannot communicate.
    pub fn exists(group: &ProcessGroup, folder: &Path) -> Result<bool, VisionError> {
        group.on_root(|| Ok(folder::holds_run(folder)))
    }

    /// Resumes the run in a folder from its newest valid checkpoint. `changes` are settings to change, such
    /// as devices, workers or the number of epochs. `timeline` requests the timeline of one step.
    ///
    /// # Errors
    /// If the folder has no run, another process is using the run, the run was started with other settings or
    /// images, or all of its checkpoints are damaged.
    pub fn resume(
        group: &ProcessGroup,
        folder: &Path,
        changes: Settings,
        timeline: Option<StepTimeline>,
    ) -> Result<Self, VisionError> {
        Self::resume_with(group, folder, changes, timeline, &())
    }

    /// Resumes a run as [`Self::resume`] does. `preparation` is as in [`Self::create_with`].
    ///
    /// # Errors
    /// As [`Self::resume`].
    pub fn resume_with(
        group: &ProcessGroup,
        folder: &Path,
        changes: Settings,
        timeline: Option<StepTimeline>,
        preparation: &dyn Preparation,
    ) -> Result<Self, VisionError> {
        let before = group.agree(Settings::of_run(folder))?;
        let config = Config::resume(group, before.clone(), changes, folder)?;
        StepTimeline::check(timeline.as_ref(), group, config.run.executor)?;
        let locked = RunFolder::lock(group, folder)?;
        let loaded = || {
            let held = config.run.held(group, config.network.cuts.subnetworks())?;
            Ok::<_, VisionError>((
                load(group, &config, &|progress| preparation.on_load(progress))?,
                held,
            ))
        };
        let ((task, summary), held) = group.agree(loaded())?;
        compare(group, &task.record)?;
        let newest = locked.newest(&held, CHECK_MANIFEST)?;
        let (mut before_run, mut initial) = (None, None);
        match &newest.saved {
            Some(saved) => {
                group.agree(check_unedited(folder, before.clone(), saved))?;
                let saved_images = group.agree(ImageRecord::of_saved(folder, saved))?;
                group.agree(saved_images.check_same(folder, &task.record))?;
                // The saved settings are resolved without ranks, because the number of ranks may have changed
                // since.
                let saved_config = Settings::of_table(&saved.configuration)
                    .and_then(|settings| Config::resolve(settings, &Resources::alone()));
                before_run = Some(group.agree(saved_config)?.run);
            }
            None => initial = group.agree(initial_weights(&config, &task.record))?,
        }
        let config = place(group, config, &task, &|| preparation.before_timing())?;
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

    /// Returns the numbers of training images and of test images.
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
    /// If [`Run::train`] fails.
    pub fn train(
        self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, VisionError> {
        Ok(self.run.train(observer, stop)?)
    }
}

/// Returns a note if a vision transformer divides its images into a handful of patches.
fn few_patches(config: &Config) -> Option<String> {
    let net = &config.network.net;
    let Architecture::Vit { patch, .. } = net.architecture() else { return None };
    let (size, rows) = (net.image_size(), net.image_size() / patch);
    (rows < MIN_PATCH_ROWS).then(|| {
        format!(
            "{} divides an image of {size}x{size} pixels into only {rows}x{rows} patches; \
             a smaller patch, such as in vit-tiny-4, is usual for images of 32x32 pixels",
            net.architecture()
        )
    })
}

/// Returns the options with which a run starts.
fn start(
    config: &Config,
    task: &ImageTask,
    initial: Option<InitialWeights>,
    timeline: Option<StepTimeline>,
) -> Start {
    let distillation = config.distill.map(Distillation::new);
    let mut notes = task.dataset.notes.clone();
    if config.mixing.is_some() {
        notes.push(
            "training images are mixed: the training error counts the label with the larger share"
                .into(),
        );
    }
    notes.extend(few_patches(config));
    Start { initial, distillation, notes, timeline }
}

fn configuration(config: &Config) -> ConfigRecord {
    ConfigRecord::new(&config.settings()).expect("strings, numbers and lists of them are TOML")
}

/// Loads the images of this process, and checks its devices and its process group.
pub(crate) fn load(
    group: &ProcessGroup,
    config: &Config,
    progress: &dyn Fn(LoadProgress),
) -> Result<(ImageTask, Summary), VisionError> {
    config.check_balanced()?;
    config.run.check_group(group)?;
    config.run.check_states(group, config.network.net.state_dtype())?;
    let task = ImageTask::load(config, progress)?;
    let train = &task.dataset.train;
    let summary = config.network.summary(train.channels(), train.classes())?;
    Ok((task, summary))
}

/// Checks that no batch, or part of one that a replica receives, has a single value of a channel to normalize.
fn check_smallest_batch(config: &Config, images: usize) -> Result<(), VisionError> {
    let NetworkConfig { net, cuts, .. } = &config.network;
    let RunConfig { batch_size, accumulate, sync_batch_norm, .. } = config.run;
    let replicas = if sync_batch_norm { 1 } else { config.run.replicas };
    let smallest = match images.checked_rem(batch_size) {
        Some(0) | None => batch_size.min(images),
        Some(rest) => rest,
    };
    if smallest / replicas.saturating_mul(accumulate).max(1) != 1
        || net.smallest_normalized_size(cuts) != Some(1)
    {
        return Ok(());
    }
    let (whose, fewer) = match (replicas, accumulate) {
        (_, 2..) => (" for a micro-batch", "fewer micro-batches, "),
        (2.., _) => (" for a replica", "fewer replicas, or sync-batch-norm, "),
        _ => ("", ""),
    };
    let (name, size) = (net.architecture(), net.image_size());
    let expected = format!(
        "the smallest batch of the {images} training images has a single image{whose}, but {name} reduces images of \
         {size}x{size} pixels to one pixel, whose batch normalization needs at least two images; use {fewer}another \
         batch size or number of training images, or larger images"
    );
    Err(VisionError::setting("batch-size", batch_size, expected))
}

/// Measures the number of workers, if that is requested and the run could start.
fn place(
    group: &ProcessGroup,
    config: Config,
    task: &ImageTask,
    before_timing: &dyn Fn(),
) -> Result<Config, VisionError> {
    if !config.needs_placement() {
        return Ok(config);
    }
    group.agree(config.run.check(group, task.images().0))?;
    group.agree(check_threads(config.run.threads, group.resources().cores))?;
    config.place(group, before_timing)
}

/// Checks that all processes have the same images.
fn compare(group: &ProcessGroup, images: &ImageRecord) -> Result<(), VisionError> {
    let name = "the fingerprint of the images".to_string();
    Ok(group.compare([(name, images.fingerprint.clone())].into())?)
}
