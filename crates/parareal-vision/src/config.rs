//! The complete configuration of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parareal::exec::{Executor, Layout, ProgramOptions, SoftTargetCrossEntropy};
use parareal::net::{Cuts, FeedForward, StateDict};
use parareal::plan::{Link, PlanError, check_balance};
use parareal_data::{
    Dataset, DatasetName, ImageSet, LoadOptions, LoadProgress, Mixing, RandomErasing,
};
use parareal_models::{DEFAULT_IMAGE_SIZE, ImageNetwork};
use parareal_train::{
    Decay, DeviceName, Distillation, ExecutorKind, LearningRate, LinkDtype, Model, Objective,
    Placement, ProcessGroup, Resources, RunConfig, TrainError, WorkerRequest, check_threads,
    rank_layout,
};

use crate::network::NetworkConfig;
use crate::optimizer::OptimizerConfig;
use crate::placement::{self, PlacementTime};
use crate::plan::{CostSource, Machine};
use crate::settings::{Complete, SettingValue};
use crate::{CutsSetting, DecayKind, Recompute, Settings, UnitInit, VisionError, WorkerCount};

/// Complete, checked configuration of a run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data set.
    pub dataset: DatasetName,
    /// Location of the data set, and the number of images to use.
    pub load: LoadOptions,
    /// Fraction of the training images that is set aside for validation.
    pub validation: f64,
    /// True if training images are augmented at random, with the usual augmentation of the data set.
    pub augment: bool,
    /// True if a random operation is applied to each training image.
    pub trivial_augment: bool,
    /// Random erasing of training images, if any.
    pub random_erasing: Option<RandomErasing>,
    /// Mixing of training images with one another, if any.
    pub mixing: Option<Mixing>,
    /// The network and its cuts.
    pub network: NetworkConfig,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The loss.
    pub loss: SoftTargetCrossEntropy,
    /// The run that provides the initial weights.
    pub init_from: Option<PathBuf>,
    /// Source of the weights of additional units if the run `init_from` is shallower.
    pub init_units: UnitInit,
    /// Number of distillation steps before training; `None` for no distillation.
    pub distill: Option<usize>,
    /// Epochs after which a step schedule divides the learning rate by ten, in increasing order.
    pub milestones: Vec<usize>,
    /// Settings that do not depend on the network and the data.
    pub run: RunConfig,
    /// The times from which the numbers of workers and threads were chosen, if they were to be measured.
    pub placement_times: Vec<PlacementTime>,
    /// The complete settings from which this configuration was created.
    settings: Settings,
}

impl Config {
    /// Completes settings from their recipe and checks them. The same settings on the same machine give the
    /// same configuration: nothing is measured, and no file is read or written.
    ///
    /// If the number of workers is to be measured, it has its default until the run starts
    /// ([`ClassificationRun`](crate::ClassificationRun)). Balanced cuts are even until [`Self::balance`] computes
    /// them. Relative paths stay relative.
    ///
    /// # Errors
    /// If a setting has an invalid value. The first such setting is reported.
    pub fn resolve(settings: Settings, resources: &Resources) -> Result<Self, VisionError> {
        settings.check()?;
        let recipe = settings.chosen_recipe();
        let asked = settings.subnetworks;
        let mut s = settings.complete(recipe);
        let network = NetworkConfig::new(&s, asked)?;
        s.recipe = None;
        (s.subnetworks, s.cuts) = (network.cuts.subnetworks(), network.cuts_setting());
        // The kind is recorded by name, so that a later change of the recommendation does not affect this
        // run.
        (s.coarse_unit, s.coarse_units) =
            s.coarse_unit.resolved(network.net.recommended_unit(), s.coarse_units, s.subnetworks);
        s.data_dir = s.data_dir.or_else(|| Settings::default_data_dir(s.dataset));
        let asked = WorkerRequest {
            executor: s.executor,
            subnetworks: s.subnetworks,
            devices: &s.device,
            workers: s.workers.and_then(WorkerCount::count),
            threads: s.threads,
            replicas: s.replicas,
        };
        let (workers, threads) = asked.resolve(resources)?;
        if s.workers == Some(WorkerCount::Auto) {
            let is_cpu = matches!(&s.device[..], [device] if device.is_cpu());
            if s.executor != ExecutorKind::Threads || !is_cpu {
                let expected = "requires the threads executor on the device cpu; leave it unset, or set a number";
                return Err(VisionError::setting("workers", "auto", expected));
            }
            if s.cuts == CutsSetting::Balanced {
                let expected =
                    "balanced cuts depend on the number of workers; set a number, or other cuts";
                return Err(VisionError::setting("workers", "auto", expected));
            }
        } else {
            (s.workers, s.threads) = (Some(WorkerCount::Count(workers)), Some(threads));
        }
        if s.link_dtype != LinkDtype::F32 && s.executor != ExecutorKind::Mpi {
            let expected = "requires the mpi executor; leave it unset, or set it to f32";
            return Err(VisionError::setting("link-dtype", s.link_dtype, expected));
        }
        if s.sync_batch_norm && !s.device.iter().all(DeviceName::is_cpu) {
            let expected = "normalizations are synchronized on the device cpu only; leave it unset";
            return Err(VisionError::setting("sync-batch-norm", true, expected));
        }
        if s.accumulate > s.batch_size {
            let expected =
                format!("expected at most {}, the number of images of a batch", s.batch_size);
            return Err(VisionError::setting("accumulate", s.accumulate, expected));
        }
        if s.accumulate > 1 && s.replicas.saturating_mul(s.accumulate) > s.batch_size {
            let expected = format!(
                "expected at most {}, because each replica splits its part of the {} images of a batch into {} \
                 micro-batches",
                s.batch_size / s.accumulate,
                s.batch_size,
                s.accumulate
            );
            return Err(VisionError::setting("replicas", s.replicas, expected));
        }
        s.recompute = s.recompute.filter(|recompute| *recompute != Recompute::Off);
        if let (Some(recompute), ExecutorKind::Sequential) = (s.recompute, s.executor) {
            let expected = "the sequential executor keeps all states; leave it unset, or use the threads executor";
            let shown = match recompute {
                Recompute::Chosen => "true".into(),
                recompute => recompute.to_text(),
            };
            return Err(VisionError::setting("recompute", shown, expected));
        }
        check_launch_graphs(&s)?;
        OptimizerConfig::check(&s)?;
        if s.image_size != DEFAULT_IMAGE_SIZE && s.dataset != DatasetName::Folder {
            let expected = format!(
                "the images of {} have {DEFAULT_IMAGE_SIZE}x{DEFAULT_IMAGE_SIZE} pixels; leave it unset, or set `dataset` to folder",
                s.dataset
            );
            return Err(VisionError::setting("image-size", s.image_size, expected));
        }
        for (key, alpha) in [("mixup", s.mixup), ("cutmix", s.cutmix)] {
            if alpha > 0.0 && s.batch_size == 1 {
                let expected = "requires batches of at least 2 images; set `batch-size`";
                return Err(VisionError::setting(key, alpha, expected));
            }
        }
        if let Some(steps) = s.distill {
            if s.init_from.is_none() {
                let expected = "requires the weights of a serial run; set `init-from`";
                return Err(VisionError::setting("distill", steps, expected));
            }
            Distillation::new(steps).check(s.subnetworks)?;
        }
        if !(0.0..s.epochs as f64).contains(&s.warmup_epochs) {
            let expected =
                format!("expected a number in [0, {0}), as the run has {0} epochs", s.epochs);
            return Err(VisionError::setting("warmup-epochs", s.warmup_epochs, expected));
        }
        Ok(Self::new(network, workers, threads, s))
    }

    /// Distributes checked settings over the fields of the configuration.
    fn new(network: NetworkConfig, workers: usize, threads: usize, s: Complete) -> Self {
        let decay = match s.schedule {
            DecayKind::Step => Decay::Step(s.milestones.clone()),
            DecayKind::Cosine => Decay::Cosine,
        };
        Self {
            dataset: s.dataset,
            load: LoadOptions {
                data_dir: s.data_dir.clone(),
                image_size: Some(s.image_size),
                limit_train: s.limit_train,
                limit_test: s.limit_test,
            },
            validation: s.validation,
            augment: s.augment,
            trivial_augment: s.trivial_augment,
            random_erasing: random_erasing(s.random_erasing),
            mixing: mixing(s.mixup, s.cutmix),
            network,
            optimizer: OptimizerConfig::new(&s),
            loss: SoftTargetCrossEntropy { label_smoothing: s.label_smoothing },
            init_from: s.init_from.clone(),
            init_units: s.init_units,
            distill: s.distill,
            milestones: s.milestones.clone(),
            run: RunConfig {
                epochs: s.epochs,
                batch_size: s.batch_size,
                learning_rate: LearningRate {
                    base: s.learning_rate,
                    decay,
                    warmup_epochs: s.warmup_epochs,
                    epochs: s.epochs,
                }
                .into(),
                clip_norm: s.clip_norm,
                ema_decay: s.ema_decay,
                seed: s.seed,
                executor: s.executor,
                replicas: s.replicas,
                accumulate: s.accumulate,
                sync_batch_norm: s.sync_batch_norm,
                launch_graphs: s.launch_graphs,
                link_dtype: s.link_dtype,
                devices: s.device.clone(),
                workers,
                threads,
                recompute: s.recompute.and_then(Recompute::units),
                objective: Objective::error(),
                patience: s.patience,
                checkpoint_every: s.checkpoint_every,
                keep_checkpoints: s.keep_checkpoints,
            },
            placement_times: Vec::new(),
            settings: s.into(),
        }
    }

    /// Completes the settings for all processes of a group, and makes paths absolute so that the run can be
    /// used from any folder. All processes must have the same settings, except for settings that depend on
    /// the machine.
    ///
    /// # Errors
    /// If [`Self::resolve`] fails on any process, or the settings of the processes differ. All processes of
    /// the group get the error.
    pub fn resolve_with(group: &ProcessGroup, settings: Settings) -> Result<Self, VisionError> {
        group.compare(compared(&settings))?;
        let config = group.agree(Self::resolve(settings, group.resources()))?;
        Ok(config.with_absolute_paths())
    }

    /// Joins relative paths to the current folder.
    pub(crate) fn with_absolute_paths(mut self) -> Self {
        for path in [&mut self.load.data_dir, &mut self.init_from] {
            *path = path.take().map(|path| std::path::absolute(&path).unwrap_or(path));
        }
        self.settings.data_dir = self.load.data_dir.clone();
        self.settings.init_from = self.init_from.clone();
        self
    }

    /// Returns true if the number of workers is to be measured and [`Self::place`] has not done so yet.
    pub(crate) fn needs_placement(&self) -> bool {
        self.settings.workers == Some(WorkerCount::Auto)
    }

    /// Times a few steps of the network with each number of workers, and sets the fastest. `before_timing` is
    /// called if there is more than one placement to time.
    ///
    /// # Errors
    /// If the threads cannot be started, or a step fails. All processes of the group get the error.
    pub(crate) fn place(
        mut self,
        group: &ProcessGroup,
        before_timing: &dyn Fn(),
    ) -> Result<Self, VisionError> {
        let given = self.settings.threads;
        let (placement, times) =
            group.agree(placement::fastest(&self, given, group, before_timing))?;
        self.placement_times = times;
        let Placement { workers, threads } = placement;
        (self.run.workers, self.run.threads) = (workers, threads);
        self.settings.workers = Some(WorkerCount::Count(workers));
        self.settings.threads = Some(threads);
        Ok(self)
    }

    /// Returns true if balanced cuts are requested and [`Self::balance`] has not computed them yet.
    #[must_use]
    pub fn needs_balance(&self) -> bool {
        self.settings.cuts == Some(CutsSetting::Balanced)
    }

    /// Computes the cuts with the shortest predicted step, from costs that rank 0 measures on its machine.
    /// Does nothing unless [`Self::needs_balance`] returns true.
    ///
    /// # Errors
    /// If a device is missing or the network cannot be cut for this number of workers. All processes of the
    /// group get the error.
    pub fn balance(mut self, group: &ProcessGroup) -> Result<Self, VisionError> {
        if !self.needs_balance() {
            return Ok(self);
        }
        let (positions, coarse_times) = group.on_root(|| {
            let network = self.measured_cuts(group.resources())?;
            Ok::<_, VisionError>((network.cuts.positions().to_vec(), network.coarse_times))
        })?;
        let network = &mut self.network;
        network.cuts = Cuts::new(network.net.units(), positions)?;
        network.coarse_times = coarse_times;
        self.settings.cuts = Some(network.cuts_setting());
        Ok(self)
    }

    /// Measures costs, and returns the network with balanced cuts.
    fn measured_cuts(&self, resources: &Resources) -> Result<NetworkConfig, VisionError> {
        let (subnetworks, workers) = (self.network.cuts.subnetworks(), self.run.workers);
        let replicas = self.run.replicas;
        let (layout, busy) = match (self.run.executor, resources.ranks) {
            (ExecutorKind::Mpi, Some(ranks)) => {
                let layout = rank_layout(subnetworks, ranks, workers, replicas)?;
                (layout, resources.most_on_machine * workers)
            }
            _ => {
                let layout = Layout::threads(subnetworks, workers.min(subnetworks), replicas);
                (layout.map_err(PlanError::from)?, workers * replicas)
            }
        };
        check_threads(self.run.threads, resources.cores)?;
        check_balance(self.network.net.units(), &layout)?;
        let (device, threads) = (self.run.devices[0].clone(), self.run.threads);
        let batch = self.run.batch_size.div_ceil(replicas.saturating_mul(self.run.accumulate));
        let machine = Machine { device, batch, threads, workers: busy };
        let mut network = self.network.clone();
        let costs = CostSource::Measured.load(&network.net, &machine, false)?;
        let costs = costs.of(&network.net, subnetworks)?;
        let options =
            ProgramOptions { recompute: self.run.recompute.is_some(), ..machine.program() };
        network.balance(&costs, &layout, Link::FREE, options)?;
        Ok(network)
    }

    /// Loads the data set, and splits off validation images from its training images if [`Self::validation`]
    /// is positive. `progress` is as in [`Dataset::load_with`].
    pub(crate) fn load_images(
        &self,
        progress: &dyn Fn(LoadProgress),
    ) -> Result<(Dataset, Option<ImageSet>), VisionError> {
        let mut dataset = Dataset::load_with(self.dataset, &self.load, progress)?;
        if self.validation == 0.0 {
            return Ok((dataset, None));
        }
        let count = (self.validation * dataset.train.len() as f64).round() as usize;
        if count == 0 {
            let expected = format!(
                "expected at least one of the {} training images, or 0 for none",
                dataset.train.len()
            );
            return Err(VisionError::setting("validation", self.validation, expected));
        }
        let (train, validation) = dataset.train.random_split(count, self.run.seed);
        dataset.train = train;
        Ok((dataset, Some(validation)))
    }

    /// Returns the model for images with these numbers of channels and classes.
    #[must_use]
    pub fn model(
        &self,
        channels: usize,
        classes: usize,
    ) -> Model<ImageNetwork, SoftTargetCrossEntropy> {
        let network = self.network.net.clone().with_in_channels(channels).with_classes(classes);
        let (cuts, optimizer) = (self.network.cuts.clone(), self.optimizer.into());
        Model { network, cuts, loss: self.loss, optimizer }
    }

    /// Creates an executor that evaluates the weights of a run in this process.
    pub(crate) fn evaluator(
        &self,
        run: &Path,
        weights: &StateDict,
        channels: usize,
        classes: usize,
    ) -> Result<Box<dyn Executor<ImageNetwork, SoftTargetCrossEntropy>>, VisionError> {
        let model = self.model(channels, classes);
        let network = model.build(self.run.seed)?.load(weights).map_err(|error| {
            TrainError::weights(run, format!("the weights are for another network: {error}"))
        })?;
        Ok(self.run.evaluator(&model, network)?)
    }

    /// Returns the name of a run's folder without its number.
    pub(crate) fn name_of_run(&self) -> String {
        let NetworkConfig { net, cuts, .. } = &self.network;
        let network = net.name().replacen("resnet-", "resnet", 1);
        format!("{}-{network}-n{}", self.dataset, cuts.subnetworks())
    }

    /// Checks that balanced cuts have been computed.
    pub(crate) fn check_balanced(&self) -> Result<(), VisionError> {
        if self.needs_balance() {
            let expected = "the cuts are not determined yet; balance the configuration first";
            return Err(VisionError::setting("cuts", "balanced", expected));
        }
        Ok(())
    }

    /// Returns complete settings that reproduce this configuration, even if the recipes change.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }
}

/// Checks that the launches of a step can be recorded.
fn check_launch_graphs(s: &Complete) -> Result<(), VisionError> {
    if !s.launch_graphs {
        return Ok(());
    }
    let conflicts = [
        (s.device.iter().any(DeviceName::is_cpu), "launches are recorded on GPUs only"),
        (s.executor == ExecutorKind::Sequential, "not with the sequential executor"),
        (s.recompute.is_some(), "not with recomputed states"),
        (s.replicas > 1, "not with several replicas"),
        (s.accumulate > 1, "not with several micro-batches"),
    ];
    match conflicts.into_iter().find(|(is_set, _)| *is_set) {
        Some((_, reason)) => {
            let expected = format!("{reason}; leave it unset");
            Err(VisionError::setting("launch-graphs", true, expected))
        }
        None => Ok(()),
    }
}

/// Returns the erasing with a probability that has been checked; `None` for 0.
fn random_erasing(probability: f64) -> Option<RandomErasing> {
    RandomErasing::new(probability).ok().filter(|_| probability > 0.0)
}

/// Returns the mixing with values of α that have been checked; `None` if both are 0.
fn mixing(mixup: f64, cutmix: f64) -> Option<Mixing> {
    Mixing::new(mixup, cutmix).ok().flatten()
}

/// Returns the given settings that must be the same on all ranks, and the version of the program.
fn compared(settings: &Settings) -> BTreeMap<String, String> {
    let same = Settings::definitions().iter().filter(|definition| !definition.may_differ);
    let given = same.filter_map(|definition| {
        Some((definition.key.to_string(), definition.toml(settings)?.to_string()))
    });
    let version = ("the version of parareal".into(), env!("CARGO_PKG_VERSION").into());
    given.chain([version]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recipe;

    fn resolve(settings: Settings) -> Result<Config, VisionError> {
        Config::resolve(settings, &Resources::alone())
    }

    /// Returns settings with these keys set to these texts.
    fn settings(texts: &[(&str, &str)]) -> Result<Settings, VisionError> {
        let mut settings = Settings::default();
        for (key, text) in texts {
            settings.set(key, text)?;
        }
        Ok(settings)
    }

    #[test]
    fn settings_of_a_configuration_resolve_to_it() {
        for recipe in [Recipe::Quick, Recipe::Paper] {
            let given = Settings { recipe: Some(recipe), ..Settings::default() };
            let settings = resolve(given.clone()).unwrap().settings();
            assert_eq!(resolve(given).unwrap().settings(), settings);
            assert_eq!(resolve(settings.clone()).unwrap().settings(), settings);
        }
    }

    #[test]
    fn data_sets_of_the_paper_at_its_depth_have_its_recipe() {
        let resolve = |dataset, depth| {
            let dataset = Some(dataset);
            resolve(Settings { dataset, depth, ..Settings::default() }).unwrap()
        };
        let (cifar, shapes) = (DatasetName::Cifar10, DatasetName::Shapes);
        let paper = resolve(cifar, Some(1001));
        assert_eq!((paper.run.epochs, paper.run.batch_size), (200, 128));
        let rate = paper.run.learning_rate.rule().unwrap().base;
        assert_eq!((rate, &paper.milestones[..]), (0.1, &[80, 120][..]));
        for (dataset, depth) in [(cifar, Some(20)), (cifar, None), (shapes, Some(1001))] {
            assert_eq!(resolve(dataset, depth).run.epochs, 3);
        }
    }

    #[test]
    fn a_network_is_given_by_its_name_or_its_depth() {
        let resolve = |texts: &[(&str, &str)]| resolve(settings(texts)?);
        let wide = resolve(&[("network", "wide-resnet-10-2"), ("subnetworks", "3")]).unwrap();
        assert_eq!(wide.network.net.name(), "wide-resnet-10-2");
        assert_eq!(wide.name_of_run(), "shapes-wide-resnet10-2-n3");
        let recorded = wide.settings();
        assert_eq!(recorded.depth, Some(10));
        assert_eq!(
            Config::resolve(recorded.clone(), &Resources::alone()).unwrap().settings(),
            recorded
        );
        let named = resolve(&[("network", "resnet-20"), ("depth", "20")]).unwrap();
        assert_eq!(named.network.net.name(), "resnet-20");
        assert_eq!(named.name_of_run(), "shapes-resnet20-n2");
        let paper = resolve(&[("network", "resnet-1001"), ("dataset", "cifar10")]).unwrap();
        assert_eq!(paper.run.epochs, 200);
        for (texts, setting) in [
            (&[("network", "wide-resnet-10-2"), ("depth", "20")][..], "depth"),
            (&[("network", "wide-resnet-11-2")], "network"),
            (&[("network", "wide-resnet-10-1")], "network"),
            (&[("network", "wide-resnet-10-1000")], "network"),
            (&[("network", "resnet-100")], "network"),
        ] {
            let error = resolve(texts).unwrap_err().to_string();
            assert!(error.contains(&format!("for {setting}")), "{error}");
        }
    }

    #[test]
    fn cuts_that_are_to_be_balanced_are_not_measured_when_settings_are_resolved() {
        let texts = [("cuts", "balanced"), ("subnetworks", "2")];
        let config = resolve(settings(&texts).unwrap()).unwrap();
        assert!(config.needs_balance() && config.check_balanced().is_err());
        assert_eq!(config.settings().cuts, Some(CutsSetting::Balanced));
        let given = resolve(settings(&[("cuts", "4")]).unwrap());
        assert!(!given.unwrap().needs_balance());
        let uncut = [("cuts", "balanced"), ("subnetworks", "1")];
        assert!(!resolve(settings(&uncut).unwrap()).unwrap().needs_balance());
    }

    #[test]
    fn the_number_of_workers_is_measured_on_the_cpu_only() {
        let auto = [("workers", "auto"), ("subnetworks", "2"), ("depth", "20")];
        let config = resolve(settings(&auto).unwrap()).unwrap();
        assert!(config.needs_placement());
        let placed = config.place(&ProcessGroup::alone(), &|| {}).unwrap();
        assert!(!placed.needs_placement());
        let fastest = placed.placement_times.iter().min_by_key(|time| time.step).unwrap();
        let Placement { workers, threads } = fastest.placement;
        assert_eq!((placed.run.workers, placed.run.threads), (workers, threads));
        let recorded = placed.settings();
        assert_eq!(recorded.workers, Some(WorkerCount::Count(workers)));
        assert_eq!(recorded.threads, Some(threads));

        let given = [("workers", "auto"), ("threads", "1"), ("subnetworks", "2"), ("depth", "20")];
        let placed = resolve(settings(&given).unwrap()).unwrap();
        let placed = placed.place(&ProcessGroup::alone(), &|| {}).unwrap();
        assert!(placed.placement_times.iter().all(|time| time.placement.threads == 1));

        // A single placement is not timed.
        let all_cores = std::thread::available_parallelism().unwrap().get().to_string();
        let one = [("threads", &all_cores[..]), ("workers", "auto"), ("depth", "20")];
        let placed = resolve(settings(&one).unwrap())
            .unwrap()
            .place(&ProcessGroup::alone(), &|| {})
            .unwrap();
        assert!(placed.placement_times.is_empty() && !placed.needs_placement());
        assert_eq!(placed.run.workers, 1);

        for (key, value) in [
            ("executor", "sequential"),
            ("executor", "mpi"),
            ("device", "wgpu:0"),
            ("device", "cpu,cpu"),
            ("cuts", "balanced"),
        ] {
            let error = settings(&[("workers", "auto"), (key, value)]).and_then(resolve);
            let message = error.unwrap_err().to_string();
            assert!(message.contains("invalid value `auto` for workers"), "{message}");
        }
    }

    #[test]
    fn published_data_sets_have_a_default_folder() {
        let data_dir = |name: &str| {
            let config = resolve(settings(&[("dataset", name)]).unwrap()).unwrap();
            assert_eq!(config.load.data_dir, config.settings().data_dir);
            config.load.data_dir
        };
        assert_eq!(data_dir("mnist"), Some("data".into()));
        assert_eq!([data_dir("shapes"), data_dir("folder")], [None, None]);
    }

    #[test]
    fn wrong_values_are_refused_in_one_line() {
        let (most, least) = (u64::MAX.to_string(), (u64::MAX - 1).to_string());
        for (texts, name) in [
            (&[("epochs", "0")][..], "epochs"),
            (&[("batch-size", "0")], "batch-size"),
            (&[("limit-train", "0")], "limit-train"),
            (&[("dataset", "folder"), ("image-size", "28")], "image-size"),
            (&[("dataset", "folder"), ("image-size", "66")], "image-size"),
            (&[("dataset", "folder"), ("image-size", "1028")], "image-size"),
            (&[("dataset", "mnist"), ("image-size", "64")], "leave it unset, or set `dataset`"),
            (&[("learning-rate", "NaN")], "learning-rate"),
            (&[("learning-rate", "0.0")], "learning-rate"),
            (&[("momentum", "1.0")], "momentum"),
            (&[("mixup", "-0.1")], "mixup"),
            (&[("mixup", "NaN")], "mixup"),
            (&[("cutmix", "inf")], "cutmix"),
            (&[("cutmix", "1.0"), ("batch-size", "1")], "cutmix"),
            (&[("weight-decay", "-1.0")], "weight-decay"),
            (&[("milestones", "3,3")], "milestones"),
            (&[("milestones", "0")], "milestones"),
            (&[("depth", "21")], "depth"),
            (&[("width", "0")], "width"),
            (&[("width", "1025")], "width"),
            (&[("width", &most)], "width"),
            (&[("cuts", "4,x")], "cuts"),
            (&[("cuts", "4,2")], "cuts"),
            (&[("cuts", "2,4"), ("subnetworks", "2")], "cuts"),
            (&[("coarse-units", "0")], "coarse-units"),
            (&[("coarse-unit", "x")], "coarse-unit"),
            (&[("recipe", "x")], "recipe"),
            (&[("dataset", "x")], "dataset"),
            (&[("executor", "x")], "executor"),
            (&[("workers", "4")], "workers"),
            (&[("workers", "0")], "workers"),
            (&[("threads", "0")], "threads"),
            (&[("replicas", "0")], "replicas"),
            (&[("replicas", &most)], "replicas"),
            (&[("link-dtype", "f16")], "link-dtype"),
            (&[("link-dtype", "bf16")], "link-dtype"),
            (&[("recompute", "2"), ("executor", "sequential")], "recompute"),
            (&[("device", "")], "device"),
            (&[("device", "gpu")], "device"),
            (&[("seed", &most)], "seed"),
            (&[("epochs", &most)], "epochs"),
            (&[("batch-size", &most)], "batch-size"),
            (&[("accumulate", "0")], "accumulate"),
            (&[("sync-batch-norm", "true"), ("device", "wgpu:0")], "sync-batch-norm"),
            (&[("launch-graphs", "true")], "launches are recorded on GPUs only"),
            (
                &[("launch-graphs", "true"), ("device", "wgpu:0"), ("replicas", "2")],
                "launch-graphs",
            ),
            (&[("accumulate", "17"), ("batch-size", "16")], "expected at most 16"),
            (&[("patience", &most)], "patience"),
            (&[("milestones", &format!("1,{least}"))], "milestones"),
            (&[("recompute", &most)], "recompute"),
            (&[("keep-checkpoints", &most)], "keep-checkpoints"),
            (&[("nesterov", "true"), ("momentum", "0.0")], "nesterov"),
            (&[("decay-weights-only", "true"), ("weight-decay", "0.0")], "decay-weights-only"),
            (&[("schedule", "linear")], "schedule"),
            (&[("warmup-epochs", "6.0")], "warmup-epochs"),
            (&[("label-smoothing", "1.0")], "label-smoothing"),
            (&[("clip-norm", "0.0")], "clip-norm"),
            (&[("ema-decay", "1.0")], "ema-decay"),
            (&[("patience", "0")], "patience"),
            (&[("validation", "0.9")], "validation"),
            (&[("keep-checkpoints", "0")], "keep-checkpoints"),
            (&[("init-units", "random")], "init-units"),
            (&[("distill", "5")], "set `init-from`"),
            (&[("distill", "0"), ("init-from", "runs/1")], "distill"),
            (&[("distill", "5"), ("init-from", "runs/1"), ("subnetworks", "1")], "interface"),
            (&[("checkpoint-every", "soon")], "checkpoint-every"),
        ] {
            let error = settings(texts).and_then(resolve).unwrap_err();
            let message = error.to_string();
            assert!(error.is_bad_input() && message.contains(name), "{name}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        let no_device = Settings { device: Some(Vec::new()), ..Settings::default() };
        let message = resolve(no_device).unwrap_err().to_string();
        assert!(message.starts_with("invalid value `` for device: "), "{message}");
    }
}
