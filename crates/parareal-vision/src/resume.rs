//! Settings of a resumed run.

use std::path::Path;

use parareal_train::{ExecutorKind, ProcessGroup, Resources, TrainError};

use crate::{Config, CutsSetting, Settings, VisionError, WorkerCount};

impl Config {
    /// Returns the configuration of a resumed run: the settings `before`, overridden by `changes`.
    ///
    /// # Errors
    /// If [`Self::resolve_with`] fails, or a change is not allowed for a resumed run.
    pub(crate) fn resume(
        group: &ProcessGroup,
        before: Settings,
        mut changes: Settings,
        folder: &Path,
    ) -> Result<Self, VisionError> {
        group.agree(changes.recipe.map_or(Ok(()), |recipe| {
            let expected = "a resumed run keeps its own settings; leave it unset";
            Err(VisionError::setting("recipe", recipe, expected))
        }))?;
        let found = matches!(before.cuts, Some(CutsSetting::Positions(_)));
        if found && changes.cuts == Some(CutsSetting::Balanced) {
            // The run keeps its cuts, because another measurement might result in other cuts.
            changes.cuts = None;
        }
        let mut kept = before.clone();
        let now = changes.executor.or(before.executor);
        if now != before.executor || now == Some(ExecutorKind::Mpi) {
            // The recorded numbers of workers and threads do not apply to another executor or other ranks.
            (kept.workers, kept.threads) = (None, None);
        }
        if changes.workers == Some(WorkerCount::Auto) {
            // Both numbers are measured again.
            kept.threads = None;
        }
        // Settings of the run may not fit another network, which is what must be reported.
        if let (Some(now), Some(then)) = (changes.network, before.network)
            && now != then
        {
            let [now, then] = [now, then].map(|network| format!("\"{network}\""));
            return group.agree(Err(other_run(folder, "network", then, now)));
        }
        let config = Self::resolve_with(group, changes.or(kept))?;
        let before = Self::resolve(before, &Resources::alone())?.with_absolute_paths();
        match first_fixed_difference(&config.settings(), &before.settings()) {
            Some((key, [now, then])) => group.agree(Err(other_run(folder, key, then, now))),
            None => Ok(config),
        }
    }
}

/// Returns the first setting that may not change when a run is resumed and differs, with both values as TOML.
pub(crate) fn first_fixed_difference(
    now: &Settings,
    then: &Settings,
) -> Option<(&'static str, [String; 2])> {
    let fixed = Settings::definitions().iter().filter(|definition| !definition.may_change);
    fixed.into_iter().find_map(|definition| {
        let [now, then] = [now, then].map(|settings| definition.toml(settings));
        let shown = |value: Option<toml::Value>| {
            value.map_or_else(|| "not set".to_string(), |value| value.to_string())
        };
        (now != then).then(|| (definition.key, [shown(now), shown(then)]))
    })
}

/// Creates the error of a setting that a resumed run cannot change.
fn other_run(folder: &Path, name: &str, before: String, now: String) -> VisionError {
    let (path, name) = (folder.to_path_buf(), name.into());
    VisionError::Train(TrainError::OtherRun { path, name, before, now })
}

#[cfg(test)]
mod tests {
    use parareal_data::DatasetName;
    use parareal_models::Architecture;

    use super::*;
    use crate::Recipe;

    #[test]
    fn the_settings_that_started_a_run_resume_it_unchanged() {
        let folder = Path::new("there");
        let (quick, paper) = (Some(Recipe::Quick), Some(Recipe::Paper));
        let none = Settings::default;
        let positions = |cuts: &[usize]| Some(CutsSetting::Positions(cuts.to_vec()));
        for given in [
            none(),
            Settings { recipe: quick, ..none() },
            Settings { recipe: paper, ..none() },
            Settings { recipe: quick, cuts: positions(&[2, 4]), ..none() },
            Settings { cuts: positions(&[2, 4]), subnetworks: Some(3), ..none() },
            Settings { recipe: quick, network: Some(Architecture::Vgg16), ..none() },
            Settings { recipe: quick, network: "vit-tiny-8".parse().ok(), ..none() },
            Settings { recipe: paper, depth: Some(29), epochs: Some(7), ..none() },
            Settings { recipe: quick, dataset: Some(DatasetName::Cifar10), ..none() },
            Settings { recipe: quick, workers: Some(WorkerCount::Count(1)), ..none() },
        ] {
            let started = Config::resolve(given.clone(), &Resources::alone()).unwrap();
            let started = started.with_absolute_paths().settings();
            let resume = |before: &Settings, given: &Settings| {
                let changes = given.clone().repeated();
                Config::resume(&ProcessGroup::alone(), before.clone(), changes, folder)
            };
            assert_eq!(resume(&started, &given).unwrap().settings(), started, "{given:?}");
            // Repeating the command does not take back what was changed since.
            if given.epochs.is_none() {
                let longer = Settings { epochs: Some(500), ..started.clone() };
                assert_eq!(resume(&longer, &given).unwrap().run.epochs, 500, "{given:?}");
            }
            let recipe = if given.recipe == paper { quick } else { paper };
            let other = Settings { recipe, ..given.clone() };
            assert!(resume(&started, &other).is_err(), "{given:?}");
        }
        let measured = Settings { workers: Some(WorkerCount::Auto), ..none() };
        assert_eq!(measured.repeated(), none());
    }

    #[test]
    fn a_resumed_run_keeps_the_settings_that_define_it() {
        let folder = Path::new("there");
        let before = Config::resolve(Settings::default(), &Resources::alone()).unwrap().settings();
        let resume =
            |changes| Config::resume(&ProcessGroup::alone(), before.clone(), changes, folder);
        assert_eq!(resume(Settings::default()).unwrap().settings(), before);
        let vgg = Settings { network: Some(Architecture::Vgg16), ..Settings::default() };
        let vgg = Config::resolve(vgg, &Resources::alone()).unwrap().settings();
        let network = "vit-tiny-8".parse().ok();
        let changes = Settings { network, ..Settings::default() };
        let error = Config::resume(&ProcessGroup::alone(), vgg, changes, folder).unwrap_err();
        assert!(error.to_string().contains("network is \"vit-tiny-8\", but \"vgg16\""), "{error}");
        // A setting repeated with the same value is not a change.
        assert_eq!(resume(before.clone()).unwrap().settings(), before);
        let longer = Settings {
            epochs: Some(9),
            workers: Some(WorkerCount::Count(1)),
            ..Settings::default()
        };
        let longer = resume(longer).unwrap();
        assert_eq!((longer.run.epochs, longer.run.workers), (9, 1));
        assert_eq!(Some(longer.milestones), before.milestones);
        let none = Settings::default;
        for (changes, name) in [
            (Settings { seed: Some(2), ..none() }, "seed is 2, but 1 in there"),
            (Settings { depth: Some(29), ..none() }, "depth is 29"),
            (Settings { width: Some(24), ..none() }, "width is 24, but 16 in there"),
            (Settings { dataset: Some(DatasetName::Mnist), ..none() }, "dataset is"),
            (Settings { limit_train: Some(9), ..none() }, "limit-train is 9, but not set in there"),
            (Settings { batch_size: Some(9), ..none() }, "batch-size"),
            (Settings { recipe: Some(Recipe::Paper), ..none() }, "recipe"),
        ] {
            let message = resume(changes).unwrap_err().to_string();
            assert!(message.contains(name), "{name}: {message}");
        }
    }
}
