//! The complete configuration of a run.

use burn::optim::ModuleOptimizer;
use parareal::net::Cuts;
use parareal_data::{DatasetName, LoadOptions};
use parareal_kernels::Sgd;
use parareal_models::resnet::ResNet;

use crate::network::{NetworkConfig, cuts_text};
use crate::{DeviceName, ExecutorKind, Recipe, Settings, TrainError};

/// Everything that a run depends on, looked over and without gaps.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data set.
    pub dataset: DatasetName,
    /// Where it is, and how much of it is taken.
    pub load: LoadOptions,
    /// The network and its cuts.
    pub network: NetworkConfig,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images of a step.
    pub batch_size: usize,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Epochs after which the learning rate is divided by ten, in order.
    pub milestones: Vec<usize>,
    /// Seed of the initial weights and of the order of the images.
    pub seed: u64,
    /// How a step is run.
    pub executor: ExecutorKind,
    /// The devices, in order.
    pub devices: Vec<DeviceName>,
    /// Workers that share the subnetworks.
    pub workers: usize,
    /// Threads of each worker on the CPU.
    pub threads: usize,
    /// Units for each state that is kept for the backward pass, where the rest is computed again; 0
    /// for [`Self::kept_units`] to choose.
    pub recompute: Option<usize>,
}

impl Config {
    /// Completes settings from their recipe and looks them over.
    ///
    /// # Errors
    /// [`TrainError`] for the first setting with a value that it cannot have.
    pub fn resolve(settings: Settings) -> Result<Self, TrainError> {
        let recipe = match &settings.recipe {
            Some(name) => name.parse()?,
            None => Recipe::default(),
        };
        let network = NetworkConfig::resolve(&settings, recipe)?;
        let s = settings.clone().or(recipe.settings(settings.epochs));
        let dataset = given(s.dataset).parse()?;
        let executor: ExecutorKind = given(s.executor).parse()?;
        let devices = given(s.device)
            .iter()
            .map(|name| name.parse())
            .collect::<Result<Vec<DeviceName>, _>>()?;
        if devices.is_empty() {
            return Err(TrainError::setting("device", "an empty list", "name one, such as cpu"));
        }
        let (workers, threads) =
            executor.shares(network.cuts.subnetworks(), &devices, s.workers, s.threads)?;
        if s.recompute.is_some() && executor == ExecutorKind::Sequential {
            let expected = "the sequential executor keeps everything: leave it out, or use threads";
            return Err(TrainError::setting("recompute", "set", expected));
        }
        let config = Self {
            dataset,
            load: LoadOptions {
                data_dir: s.data_dir,
                limit_train: s.limit_train,
                limit_test: s.limit_test,
            },
            network,
            epochs: given(s.epochs),
            batch_size: given(s.batch_size),
            learning_rate: given(s.learning_rate),
            momentum: given(s.momentum),
            weight_decay: given(s.weight_decay),
            milestones: given(s.milestones),
            seed: given(s.seed),
            executor,
            devices,
            workers,
            threads,
            recompute: s.recompute,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), TrainError> {
        let count = "a whole number of at least 1 is expected";
        if self.epochs == 0 {
            return Err(TrainError::setting("epochs", "0", count));
        }
        if self.batch_size == 0 {
            return Err(TrainError::setting("batch-size", "0", count));
        }
        if self.load.limit_train == Some(0) {
            return Err(TrainError::setting("limit-train", "0", count));
        }
        let rate = self.learning_rate;
        if !rate.is_finite() || rate <= 0.0 {
            return Err(TrainError::setting(
                "learning-rate",
                rate,
                "a positive number is expected, say 0.1",
            ));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            let expected = "a number from 0 to below 1 is expected, say 0.9";
            return Err(TrainError::setting("momentum", self.momentum, expected));
        }
        if !self.weight_decay.is_finite() || self.weight_decay < 0.0 {
            let expected = "a number of at least 0 is expected, say 0.0005";
            return Err(TrainError::setting("weight-decay", self.weight_decay, expected));
        }
        if self.seed > i64::MAX as u64 {
            return Err(TrainError::setting(
                "seed",
                self.seed,
                format!("it is at most {}", i64::MAX),
            ));
        }
        let rising = self.milestones.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || self.milestones.first() == Some(&0) {
            let expected = "epochs in rising order are expected, from 1, say 80,120";
            return Err(TrainError::setting("milestones", cuts_text(&self.milestones), expected));
        }
        Ok(())
    }

    /// The learning rate in an epoch, counted from 1.
    #[must_use]
    pub fn learning_rate_in(&self, epoch: usize) -> f64 {
        let passed = self.milestones.iter().filter(|&&milestone| milestone < epoch).count();
        passed_rate(self.learning_rate, passed)
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

    /// The network for images of these channels and classes, and its cuts.
    #[must_use]
    pub fn network_for(&self, channels: usize, classes: usize) -> (ResNet, &Cuts) {
        let net = self.network.net.clone().with_in_channels(channels).with_classes(classes);
        (net, &self.network.cuts)
    }

    pub(crate) fn optimizer(&self) -> ModuleOptimizer {
        Sgd { momentum: self.momentum, weight_decay: self.weight_decay }.into()
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
            epochs: Some(self.epochs),
            batch_size: Some(self.batch_size),
            learning_rate: Some(self.learning_rate),
            momentum: Some(self.momentum),
            weight_decay: Some(self.weight_decay),
            milestones: Some(self.milestones.clone()),
            seed: Some(self.seed),
            executor: Some(self.executor.to_string()),
            device: Some(self.devices.iter().map(ToString::to_string).collect()),
            workers: Some(self.workers),
            threads: Some(self.threads),
            recompute: self.recompute,
            ..self.network.settings()
        }
    }
}

fn passed_rate(rate: f64, milestones: usize) -> f64 {
    rate / 10f64.powi(i32::try_from(milestones).unwrap_or(i32::MAX))
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
    fn the_rate_falls_after_each_milestone() {
        let given = Settings { recipe: Some("paper".into()), ..Settings::default() };
        let config = Config::resolve(given).unwrap();
        let rates = [1, 80, 81, 120, 121, 200].map(|epoch| config.learning_rate_in(epoch));
        assert_eq!(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]);
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
            (
                Settings { recompute: Some(2), executor: Some("sequential".into()), ..none() },
                "recompute",
            ),
            (Settings { device: Some(vec![]), ..none() }, "device"),
            (Settings { device: Some(vec!["gpu".into()]), ..none() }, "device"),
            (Settings { seed: Some(u64::MAX), ..none() }, "seed"),
        ] {
            let error = Config::resolve(settings).unwrap_err();
            let message = error.to_string();
            assert!(error.is_bad_input() && message.contains(name), "{name}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}
