//! The complete configuration of a run.

use std::path::PathBuf;

use burn::optim::ModuleOptimizer;
use parareal::exec::CrossEntropy;
use parareal::exec::Layout;
use parareal::net::{Cuts, FeedForward};
use parareal::plan::{Link, PlanError, check_balance};
use parareal_data::{Dataset, DatasetName, ImageSet, LoadOptions};
use parareal_kernels::Sgd;
use parareal_models::resnet::ResNet;

use crate::check::check_threads;
use crate::network::{Cutting, NetworkConfig};
use crate::plan::{CostSource, Machine};
use crate::resources::{Asked, rank_layout};
use crate::team::Place;
use crate::{
    CheckpointEvery, Decay, DeviceName, ExecutorKind, LearningRate, LinkType, Recipe, Settings,
    TrainError,
};

/// Everything that a run depends on, looked over and without gaps.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data set.
    pub dataset: DatasetName,
    /// Where it is, and how much of it is taken.
    pub load: LoadOptions,
    /// The share of the training images that is set aside to choose by.
    pub validation: f64,
    /// Whether training images are changed at random as is usual for the data set.
    pub augment: bool,
    /// The network and its cuts.
    pub network: NetworkConfig,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images of a step.
    pub batch_size: usize,
    /// The learning rate, and what becomes of it.
    pub learning_rate: LearningRate,
    /// Epochs after which it is divided by ten where it falls in steps, in order.
    pub milestones: Vec<usize>,
    /// The optimizer.
    pub sgd: Sgd,
    /// The loss.
    pub loss: CrossEntropy,
    /// The largest norm of the gradient of all parameters together.
    pub clip_norm: Option<f64>,
    /// The decay of the moving average of the weights that is judged, where there is to be one; in
    /// the first steps it is smaller ([`Self::ema_decay_of`]).
    pub ema_decay: Option<f64>,
    /// The run whose weights are the initial ones.
    pub init_from: Option<PathBuf>,
    /// Seed of the initial weights and of the order of the images.
    pub seed: u64,
    /// How a step is run.
    pub executor: ExecutorKind,
    /// Copies of the chain on different parts of each batch.
    pub replicas: usize,
    /// As what tensors are sent between ranks.
    pub link_type: LinkType,
    /// The devices, in order; ranks of a machine take them in turn.
    pub devices: Vec<DeviceName>,
    /// Workers that share the subnetworks of each copy, or those of a rank.
    pub workers: usize,
    /// Threads of each worker on the CPU.
    pub threads: usize,
    /// Units for each state that is kept for the backward pass, where the rest is computed again; 0
    /// for [`Self::kept_units`] to choose.
    pub recompute: Option<usize>,
    /// Epochs without a new best that a run goes on for.
    pub patience: Option<usize>,
    /// When checkpoints are saved besides the end of an epoch.
    pub checkpoint_every: CheckpointEvery,
    /// Checkpoints that are kept besides the best, at least one.
    pub keep_checkpoints: usize,
}

impl Config {
    /// Completes settings from their recipe and looks them over.
    ///
    /// # Errors
    /// [`TrainError`] for the first setting with a value that it cannot have.
    pub fn resolve(settings: Settings) -> Result<Self, TrainError> {
        Self::resolve_at(settings, &Place::alone())
    }

    pub(crate) fn resolve_at(settings: Settings, place: &Place) -> Result<Self, TrainError> {
        let recipe = Recipe::chosen(&settings)?;
        let network = NetworkConfig::resolve(&settings, recipe)?;
        let s = settings.clone().or(recipe.settings(settings.epochs));
        let dataset = given(s.dataset).parse()?;
        // A run is looked at from other folders than the one that it was started in.
        let absolute =
            |path: Option<PathBuf>| path.map(|path| std::path::absolute(&path).unwrap_or(path));
        let executor: ExecutorKind = given(s.executor).parse()?;
        let devices = given(s.device)
            .iter()
            .map(|name| name.parse())
            .collect::<Result<Vec<DeviceName>, _>>()?;
        if devices.is_empty() {
            return Err(TrainError::setting("device", "an empty list", "name one, such as cpu"));
        }
        let (subnetworks, replicas) = (network.cuts.subnetworks(), given(s.replicas));
        let (workers, threads) = (s.workers, s.threads);
        let asked = Asked { executor, subnetworks, devices: &devices, workers, threads, replicas };
        let (workers, threads) = asked.resolve(place)?;
        let link_type: LinkType = given(s.link_dtype).parse()?;
        if link_type != LinkType::F32 && executor != ExecutorKind::Mpi {
            let expected = "only the executor mpi sends tensors: leave it out, or set it to f32";
            return Err(TrainError::setting("link-dtype", link_type, expected));
        }
        if s.recompute.is_some() && executor == ExecutorKind::Sequential {
            let expected = "the sequential executor keeps everything: leave it out, or use threads";
            return Err(TrainError::setting("recompute", "set", expected));
        }
        let (epochs, milestones) = (given(s.epochs), given(s.milestones));
        let decay = match given(s.schedule).as_str() {
            "step" => Decay::Step(milestones.clone()),
            "cosine" => Decay::Cosine,
            other => {
                let found = format!("`{other}`");
                return Err(TrainError::setting("schedule", found, "it is step or cosine"));
            }
        };
        let mut config = Self {
            dataset,
            load: LoadOptions {
                data_dir: absolute(s.data_dir),
                limit_train: s.limit_train,
                limit_test: s.limit_test,
            },
            validation: given(s.validation),
            augment: given(s.augment),
            network,
            epochs,
            batch_size: given(s.batch_size),
            learning_rate: LearningRate {
                base: given(s.learning_rate),
                decay,
                warmup_epochs: given(s.warmup_epochs),
                epochs,
            },
            milestones,
            sgd: Sgd {
                momentum: given(s.momentum),
                weight_decay: given(s.weight_decay),
                nesterov: given(s.nesterov),
            },
            loss: CrossEntropy { label_smoothing: given(s.label_smoothing) },
            clip_norm: s.clip_norm,
            ema_decay: s.ema_decay,
            init_from: absolute(s.init_from),
            seed: given(s.seed),
            executor,
            replicas,
            link_type,
            devices,
            workers,
            threads,
            recompute: s.recompute,
            patience: s.patience,
            checkpoint_every: given(s.checkpoint_every).parse()?,
            keep_checkpoints: given(s.keep_checkpoints),
        };
        config.check()?;
        if config.network.cutting == Cutting::Balanced {
            config.balance(place)?;
        }
        Ok(config)
    }

    /// Cuts the network where the predicted step is shortest, by costs that are measured here.
    fn balance(&mut self, place: &Place) -> Result<(), TrainError> {
        let (subnetworks, workers) = (self.network.cuts.subnetworks(), self.workers);
        let (layout, busy) = match (self.executor, place.ranks) {
            (ExecutorKind::Mpi, Some(ranks)) => {
                let layout = rank_layout(subnetworks, ranks, workers, self.replicas)?;
                (layout, place.most_on_machine * workers)
            }
            _ => {
                let layout = Layout::threads(subnetworks, workers.min(subnetworks), self.replicas);
                (layout.map_err(PlanError::from)?, workers * self.replicas)
            }
        };
        check_threads(self.threads, place.cores)?;
        check_balance(self.network.net.units(), &layout)?;
        let (device, threads) = (self.devices[0].clone(), self.threads);
        let batch = self.batch_size.div_ceil(self.replicas);
        let machine = Machine { device, batch, threads, workers: busy };
        let costs = CostSource::Measured.load(&self.network.net, &machine, false)?;
        let costs = costs.of(&self.network.net, subnetworks)?;
        self.network.balance(&costs, &layout, Link::FREE, true)
    }

    /// Units for each state that is kept, where the rest is computed again: as many as there are
    /// states in the longest subnetwork if nothing else is said.
    #[must_use]
    pub fn kept_units(&self) -> Option<usize> {
        let cuts = &self.network.cuts;
        let longest = (0..cuts.subnetworks()).map(|j| cuts.units_of(j).len()).max();
        self.recompute.map(|units| match units {
            0 => longest.unwrap_or(1).isqrt(),
            units => units,
        })
    }

    /// The decay of the moving average in a step (from 1): smaller where few steps are behind it,
    /// so that the initial weights do not stay in it, as TensorFlow's `num_updates` has it.
    #[must_use]
    pub fn ema_decay_of(&self, step: usize) -> Option<f64> {
        let step = step as f64;
        self.ema_decay.map(|decay| decay.min((1.0 + step) / (10.0 + step)))
    }

    /// The images, and those of the training images that are set aside to choose by.
    pub(crate) fn load_images(&self) -> Result<(Dataset, Option<ImageSet>), TrainError> {
        let mut dataset = Dataset::load(self.dataset, &self.load)?;
        if self.validation == 0.0 {
            return Ok((dataset, None));
        }
        let count = (self.validation * dataset.train.len() as f64).round() as usize;
        if count == 0 {
            let expected = format!(
                "that is none of the {} training images: set more aside, or nothing",
                dataset.train.len()
            );
            return Err(TrainError::setting("validation", self.validation, expected));
        }
        let (train, validation) = dataset.train.set_aside(count, self.seed);
        dataset.train = train;
        Ok((dataset, Some(validation)))
    }

    /// The network for images of these channels and classes, and its cuts.
    #[must_use]
    pub fn network_for(&self, channels: usize, classes: usize) -> (ResNet, &Cuts) {
        let net = self.network.net.clone().with_in_channels(channels).with_classes(classes);
        (net, &self.network.cuts)
    }

    pub(crate) fn optimizer(&self) -> ModuleOptimizer {
        self.sgd.into()
    }

    /// The settings that give this configuration again, whatever the recipes say by then.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            recipe: None,
            dataset: Some(self.dataset.to_string()),
            data_dir: self.load.data_dir.clone(),
            limit_train: self.load.limit_train,
            limit_test: self.load.limit_test,
            validation: Some(self.validation),
            augment: Some(self.augment),
            epochs: Some(self.epochs),
            batch_size: Some(self.batch_size),
            learning_rate: Some(self.learning_rate.base),
            momentum: Some(self.sgd.momentum),
            weight_decay: Some(self.sgd.weight_decay),
            nesterov: Some(self.sgd.nesterov),
            schedule: Some(match self.learning_rate.decay {
                Decay::Step(_) => "step".into(),
                Decay::Cosine => "cosine".into(),
            }),
            milestones: Some(self.milestones.clone()),
            warmup_epochs: Some(self.learning_rate.warmup_epochs),
            label_smoothing: Some(self.loss.label_smoothing),
            clip_norm: self.clip_norm,
            ema_decay: self.ema_decay,
            init_from: self.init_from.clone(),
            seed: Some(self.seed),
            executor: Some(self.executor.to_string()),
            replicas: Some(self.replicas),
            link_dtype: Some(self.link_type.to_string()),
            device: Some(self.devices.iter().map(ToString::to_string).collect()),
            workers: Some(self.workers),
            threads: Some(self.threads),
            recompute: self.recompute,
            patience: self.patience,
            checkpoint_every: Some(self.checkpoint_every.to_string()),
            keep_checkpoints: Some(self.keep_checkpoints),
            ..self.network.settings()
        }
    }
}

/// A setting that every recipe has.
pub(crate) fn given<T>(setting: Option<T>) -> T {
    setting.expect("a recipe has it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_configuration_give_it_again() {
        for recipe in ["quick", "paper"] {
            let given = Settings { recipe: Some(recipe.into()), ..Settings::default() };
            let settings = Config::resolve(given).unwrap().settings();
            assert_eq!(Config::resolve(settings.clone()).unwrap().settings(), settings);
        }
    }

    #[test]
    fn the_paper_s_data_sets_at_its_depth_have_its_recipe() {
        let resolve = |dataset: &str, depth| {
            let dataset = Some(dataset.to_string());
            Config::resolve(Settings { dataset, depth, ..Settings::default() }).unwrap()
        };
        let paper = resolve("cifar10", Some(1001));
        assert_eq!((paper.epochs, paper.batch_size), (200, 128));
        assert_eq!((paper.learning_rate.base, &paper.milestones[..]), (0.1, &[80, 120][..]));
        for (dataset, depth) in [("cifar10", Some(20)), ("cifar10", None), ("shapes", Some(1001))] {
            assert_eq!(resolve(dataset, depth).epochs, 6);
        }
    }

    #[test]
    fn wrong_values_are_refused_in_one_line() {
        let none = Settings::default;
        for (settings, name) in [
            (Settings { epochs: Some(0), ..none() }, "epochs"),
            (Settings { batch_size: Some(0), ..none() }, "batch-size"),
            (Settings { limit_train: Some(0), ..none() }, "limit-train"),
            (Settings { learning_rate: Some(f64::NAN), ..none() }, "learning-rate"),
            (Settings { learning_rate: Some(0.0), ..none() }, "learning-rate"),
            (Settings { momentum: Some(1.0), ..none() }, "momentum"),
            (Settings { weight_decay: Some(-1.0), ..none() }, "weight-decay"),
            (Settings { milestones: Some(vec![3, 3]), ..none() }, "milestones"),
            (Settings { milestones: Some(vec![0]), ..none() }, "milestones"),
            (Settings { depth: Some(21), ..none() }, "depth"),
            (Settings { cuts: Some("4,x".into()), ..none() }, "cuts"),
            (Settings { cuts: Some("4,2".into()), ..none() }, "cuts"),
            (Settings { coarse_units: Some(0), ..none() }, "coarse-units"),
            (Settings { coarse_unit: Some("x".into()), ..none() }, "coarse-unit"),
            (Settings { recipe: Some("x".into()), ..none() }, "recipe"),
            (Settings { dataset: Some("x".into()), ..none() }, "data set"),
            (Settings { executor: Some("x".into()), ..none() }, "executor"),
            (Settings { workers: Some(4), ..none() }, "workers"),
            (Settings { workers: Some(0), ..none() }, "workers"),
            (Settings { threads: Some(0), ..none() }, "threads"),
            (Settings { replicas: Some(0), ..none() }, "replicas"),
            (Settings { replicas: Some(usize::MAX), ..none() }, "replicas"),
            (Settings { link_dtype: Some("f16".into()), ..none() }, "link-dtype"),
            (Settings { link_dtype: Some("bf16".into()), ..none() }, "link-dtype"),
            (
                Settings { recompute: Some(2), executor: Some("sequential".into()), ..none() },
                "recompute",
            ),
            (Settings { device: Some(vec![]), ..none() }, "device"),
            (Settings { device: Some(vec!["gpu".into()]), ..none() }, "device"),
            (Settings { seed: Some(u64::MAX), ..none() }, "seed"),
            (Settings { epochs: Some(usize::MAX), ..none() }, "epochs"),
            (Settings { batch_size: Some(usize::MAX), ..none() }, "batch-size"),
            (Settings { patience: Some(usize::MAX), ..none() }, "patience"),
            (Settings { milestones: Some(vec![1, usize::MAX]), ..none() }, "milestones"),
            (Settings { recompute: Some(usize::MAX), ..none() }, "recompute"),
            (Settings { keep_checkpoints: Some(usize::MAX), ..none() }, "keep-checkpoints"),
            (Settings { nesterov: Some(true), momentum: Some(0.0), ..none() }, "nesterov"),
            (Settings { schedule: Some("linear".into()), ..none() }, "schedule"),
            (Settings { warmup_epochs: Some(6.0), ..none() }, "warmup-epochs"),
            (Settings { label_smoothing: Some(1.0), ..none() }, "label-smoothing"),
            (Settings { clip_norm: Some(0.0), ..none() }, "clip-norm"),
            (Settings { ema_decay: Some(1.0), ..none() }, "ema-decay"),
            (Settings { patience: Some(0), ..none() }, "patience"),
            (Settings { validation: Some(0.9), ..none() }, "validation"),
            (Settings { keep_checkpoints: Some(0), ..none() }, "keep-checkpoints"),
            (Settings { checkpoint_every: Some("soon".into()), ..none() }, "checkpoint-every"),
        ] {
            let error = Config::resolve(settings).unwrap_err();
            let message = error.to_string();
            assert!(error.is_bad_input() && message.contains(name), "{name}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}
