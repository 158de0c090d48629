//! Settings of a run, given by flags and configuration files.
//!
//! `definitions.rs` has one entry for each setting, from which everything else is generated.

mod definition;
mod definitions;
mod file;
mod recipe;
mod value;

use std::path::PathBuf;

use parareal_data::DatasetName;
use parareal_models::Architecture;

pub use definition::{Heading, Input};
pub(crate) use definitions::Complete;
pub use definitions::{DEFAULT_DATA_DIR, Settings};
pub use recipe::Recipe;
pub(crate) use value::SettingValue;
pub use value::{CutsSetting, DecayKind, OptimizerKind, Recompute, UnitInit, WorkerCount};

use crate::VisionError;

/// Definition of a setting, for flags, configuration files and messages.
pub type Definition = definition::Definition<Settings>;

impl Settings {
    /// Returns the definitions of all settings, in the order of a configuration file.
    #[must_use]
    pub fn definitions() -> &'static [Definition] {
        definitions::DEFINITIONS
    }

    /// Returns these settings; those that are not set are taken from `other`.
    ///
    /// The name of a network also stands for its depth and its published width, and a depth for the network of the paper.
    /// The depth and the width of another network are not taken.
    #[must_use]
    pub fn or(self, mut other: Self) -> Self {
        if self.network.is_some() && self.network != other.network {
            (other.depth, other.width) = (None, None);
        }
        if self.network.is_none() && self.depth.is_some() && self.depth != other.depth {
            other.network = None;
        }
        self.or_each(other)
    }

    /// Returns these settings, if they have started a run, as changes of it that [`ClassificationRun::resume`] accepts.
    ///
    /// A recipe is replaced by its values of the settings that a resumed run cannot change, so that another recipe is
    /// refused. What the run has chosen itself is kept: the coarse unit, the cuts and the number of workers.
    ///
    /// [`ClassificationRun::resume`]: crate::ClassificationRun::resume
    #[must_use]
    pub fn repeated(mut self) -> Self {
        if let Some(recipe) = self.recipe.take() {
            let given = self.clone();
            let complete = Self::from(given.clone().complete(recipe));
            let fixed = Self::definitions().iter().filter(|definition| !definition.may_change);
            for definition in fixed.filter(|definition| definition.toml(&given).is_none()) {
                if let Some(value) = definition.toml(&complete) {
                    let copied = (definition.access.set_toml)(&mut self, &value);
                    copied.expect("a setting accepts its own value");
                }
            }
            self.coarse_unit = given.coarse_unit;
            if matches!(given.cuts, Some(CutsSetting::Positions(_))) {
                // The number of subnetworks follows from the cuts.
                self.subnetworks = given.subnetworks;
            }
        }
        if self.workers == Some(WorkerCount::Auto) {
            self.workers = None;
        }
        self
    }

    /// Returns the default folder of a data set; `None` for the built-in images, which need no folder, and
    /// for the user's own images, which have no default folder.
    #[must_use]
    pub fn default_data_dir(dataset: DatasetName) -> Option<PathBuf> {
        dataset.is_published().then(|| DEFAULT_DATA_DIR.into())
    }

    /// Sets the setting with this key from a text.
    #[cfg(test)]
    pub(crate) fn set(&mut self, key: &str, text: &str) -> Result<(), VisionError> {
        let definition = Self::definitions().iter().find(|definition| definition.key == key);
        let definition = definition.unwrap_or_else(|| panic!("unknown setting `{key}`"));
        definition
            .set(self, &[text.into()])
            .map_err(|expected| VisionError::setting(definition.key, text, expected))
    }

    /// Returns the recipe if it is set, otherwise the default recipe for the data set and the depth.
    pub(crate) fn chosen_recipe(&self) -> Recipe {
        let named = match self.network {
            Some(Architecture::ResNet { depth }) => Some(depth),
            _ => None,
        };
        self.recipe.unwrap_or_else(|| Recipe::of(self.dataset, self.depth.or(named)))
    }

    /// Checks each setting on its own, and returns the error of the first invalid one.
    pub(crate) fn check(&self) -> Result<(), VisionError> {
        Self::definitions().iter().try_for_each(|definition| definition.check(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parareal_train::Resources;

    use crate::{Config, UnitKind};

    /// Sample texts of a setting.
    fn samples(key: &str) -> &'static [&'static str] {
        match key {
            "recipe" => &["quick", "paper"],
            "dataset" => &["shapes", "mnist", "cifar10", "cifar100", "svhn", "folder"],
            "data-dir" | "init-from" => &["data", "/a b/c"],
            "augment" | "trivial-augment" | "nesterov" | "decay-weights-only"
            | "sync-batch-norm" | "launch-graphs" => &["true", "false"],
            "network" => &["resnet-29", "wide-resnet-28-10"],
            "cuts" => &["even", "balanced", "2", "3,6"],
            "coarse-unit" => &["auto", "basic", "bottleneck", "depthwise", "coarsened"],
            "schedule" => &["step", "cosine"],
            "init-units" => &["repeat", "interpolate"],
            "milestones" => &["none", "3", "80,120"],
            "executor" => &["threads", "sequential", "mpi"],
            "link-dtype" | "precision" => &["f32", "bf16"],
            "device" => &["cpu", "cpu,wgpu:0"],
            "recompute" => &["0", "4", "false"],
            "workers" => &["auto", "2"],
            "checkpoint-every" => &["epoch", "500", "10m"],
            "validation" | "random-erasing" | "momentum" | "label-smoothing" | "ema-decay" => {
                &["0.25"]
            }
            "optimizer" => &["sgd", "adamw"],
            "beta2" => &["0.99"],
            "mixup" | "cutmix" => &["0", "0.2", "2"],
            "learning-rate" | "weight-decay" | "clip-norm" | "warmup-epochs" => &["2", "0.0005"],
            "image-size" => &["32", "224"],
            _ => &["1", "29"],
        }
    }

    #[test]
    fn every_setting_round_trips() {
        for definition in Settings::definitions() {
            for &text in samples(definition.key) {
                let mut settings = Settings::default();
                settings.set(definition.key, text).unwrap();
                definition.check(&settings).unwrap();
                assert_eq!(definition.text(&settings).as_deref(), Some(text), "{}", definition.key);
                let mut again = Settings::default();
                let value = definition.toml(&settings).unwrap();
                (definition.access.set_toml)(&mut again, &value).unwrap();
                assert_eq!(again, settings);
                assert!(settings.to_toml().starts_with(&format!("{} = ", definition.key)));
                assert_eq!(Settings::default().or(settings.clone()), settings);
            }
        }
    }

    #[test]
    fn a_network_replaces_the_depth_and_width_of_another_one() {
        let set = |pairs: &[(&str, &str)]| {
            let mut settings = Settings::default();
            pairs.iter().for_each(|(key, text)| settings.set(key, text).unwrap());
            settings
        };
        let recorded = set(&[("network", "vit-tiny-8"), ("depth", "12"), ("width", "192")]);
        let other = set(&[("network", "vgg16")]);
        assert_eq!(other.clone().or(recorded.clone()), other);
        assert_eq!(set(&[("network", "vit-tiny-8")]).or(recorded.clone()), recorded);
        let deeper = set(&[("depth", "29"), ("width", "192")]);
        assert_eq!(set(&[("depth", "29")]).or(recorded), deeper);
        let plain = set(&[("depth", "20"), ("width", "24")]);
        assert_eq!(set(&[("depth", "29")]).or(plain), set(&[("depth", "29"), ("width", "24")]));
    }

    #[test]
    fn the_defaults_that_are_shown_are_those_that_are_used() {
        for recipe in [Recipe::Quick, Recipe::Paper] {
            let given = Settings { recipe: Some(recipe), ..Settings::default() };
            let settings = Config::resolve(given, &Resources::alone()).unwrap().settings();
            for definition in Settings::definitions() {
                if let Some(default) = definition.default_of(recipe) {
                    let used = definition.text(&settings);
                    let recorded = match default.as_str() {
                        "auto" => UnitKind::RECOMMENDED.name(),
                        default => default,
                    };
                    assert_eq!(used.as_deref(), Some(recorded), "{}", definition.key);
                    let shown = definition.defaults().unwrap();
                    assert!(
                        definition.default_note.is_some() || shown.contains(&default),
                        "{shown}"
                    );
                }
            }
        }
        let mnist = Settings { dataset: Some(DatasetName::Mnist), ..Settings::default() };
        let mnist = Config::resolve(mnist, &Resources::alone()).unwrap().settings();
        assert_eq!(mnist.data_dir, Some(DEFAULT_DATA_DIR.into()));
    }

    #[test]
    fn every_setting_has_help_that_names_no_flag() {
        for definition in Settings::definitions() {
            assert!(definition.help.starts_with(|first: char| first.is_uppercase()));
            // One line of a list of flags; details are sentences.
            assert!(definition.help.len() <= 90, "{}", definition.help);
            assert!(!definition.help.ends_with('.'), "{}", definition.help);
            let details = definition.details;
            assert!(details.is_empty() || details.ends_with('.'), "{details}");
            for text in [definition.help, details] {
                assert!(!text.contains("--") && !text.contains("[default"), "{text}");
            }
        }
        assert_eq!(Settings::KEYS.len(), Settings::definitions().len());
    }

    #[test]
    fn wrong_texts_are_refused_with_what_is_expected() {
        for definition in Settings::definitions() {
            let key = definition.key;
            if matches!(key, "data-dir" | "init-from") {
                continue;
            }
            let message = Settings::default().set(key, "wrong:").unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("invalid value `wrong:` for {key}: expected ")),
                "{message}"
            );
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}
