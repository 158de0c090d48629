//! Settings that have to be the same: on all ranks of a run, and when it goes on.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{Config, ProcessGroup, Settings, TrainError};

/// What may be otherwise when a run goes on: where and how it is computed, and for how long.
const CHANGEABLE: &[&str] = &[
    "data-dir",
    "epochs",
    "milestones",
    "executor",
    "replicas",
    "link-dtype",
    "device",
    "workers",
    "threads",
    "recompute",
    "patience",
    "checkpoint-every",
    "keep-checkpoints",
];

/// What may differ between the ranks of a run.
const OF_A_MACHINE: &[&str] = &["data-dir", "device", "threads"];

impl Config {
    /// As [`Self::resolve`], for all of a group, which has to have the same settings but for those of
    /// a machine.
    ///
    /// # Errors
    /// As [`Self::resolve`], on all of them.
    pub fn resolve_with(group: &ProcessGroup, mut settings: Settings) -> Result<Self, TrainError> {
        group.compare(compared(&settings))?;
        if group.size() > 1 && settings.cuts.as_deref() == Some("balanced") {
            // Each would measure other costs.
            let balance = || {
                Ok::<_, TrainError>(
                    Self::resolve_at(settings.clone(), group.place())?.settings().cuts,
                )
            };
            settings.cuts = group.first(balance)?;
        }
        group.agree(Self::resolve_at(settings, group.place()))
    }

    /// The configuration with which the run in a folder goes on.
    ///
    /// # Errors
    /// As [`Self::resolve`], and where the changes would make it another run.
    pub(crate) fn resume(
        group: &ProcessGroup,
        before: Settings,
        mut changes: Settings,
        folder: &Path,
    ) -> Result<Self, TrainError> {
        let table = |settings: &Settings| {
            toml::Table::try_from(settings).expect("strings, numbers and lists of them are TOML")
        };
        group.agree(changes.recipe.as_ref().map_or(Ok(()), |recipe| {
            let expected = "a run that goes on has its own settings: leave it out";
            Err(TrainError::setting("recipe", recipe, expected))
        }))?;
        let found =
            before.cuts.as_deref().is_some_and(|cuts| cuts.contains(|c: char| c.is_numeric()));
        if found && changes.cuts.as_deref() == Some("balanced") {
            // It keeps the cuts that it was started with: measured anew they might be others.
            changes.cuts = None;
        }
        let mut kept = before.clone();
        let executor = |settings: &Settings| settings.executor.clone();
        let now = executor(&changes).or(executor(&before));
        if now != executor(&before) || now.as_deref() == Some("mpi") {
            // How work was shared by another executor, or among other ranks, says nothing here.
            (kept.workers, kept.threads) = (None, None);
        }
        let config = Self::resolve_with(group, changes.or(kept))?;
        let (now, then) = (table(&config.settings()), table(&Self::resolve(before)?.settings()));
        let shown = |value: Option<&toml::Value>| {
            value.map_or_else(|| "not set".to_string(), toml::Value::to_string)
        };
        let fixed = Settings::KEYS.iter().filter(|key| !CHANGEABLE.contains(key));
        for &key in fixed {
            let (now, then) = (now.get(key), then.get(key));
            if now != then {
                let then = shown(then);
                let expected = format!(
                    "it is {then} in {}: leave it out to go on with that run, or start a new one",
                    folder.display()
                );
                return group.agree(Err(TrainError::setting(key, shown(now), expected)));
            }
        }
        Ok(config)
    }
}

/// What has to be the same on all ranks, as it was given.
fn compared(settings: &Settings) -> BTreeMap<String, String> {
    // Names of files that are no text are no JSON; they are refused soon after.
    let settings = serde_json::to_value(settings).unwrap_or_default();
    let settings = settings.as_object().into_iter().flatten();
    let settings = settings.filter(|(key, _)| !OF_A_MACHINE.contains(&key.as_str()));
    let settings = settings.map(|(key, value)| (key.clone(), value.to_string()));
    let version = ("the version of parareal".into(), env!("CARGO_PKG_VERSION").into());
    settings.chain([version]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_with_what_makes_it_that_run() {
        let folder = Path::new("there");
        let before = Config::resolve(Settings::default()).unwrap().settings();
        let resume =
            |changes| Config::resume(&ProcessGroup::alone(), before.clone(), changes, folder);
        assert_eq!(resume(Settings::default()).unwrap().settings(), before);
        // Said again is not changed.
        assert_eq!(resume(before.clone()).unwrap().settings(), before);
        let longer = Settings { epochs: Some(9), workers: Some(1), ..Settings::default() };
        let longer = resume(longer).unwrap();
        assert_eq!((longer.run.epochs, longer.run.workers), (9, 1));
        assert_eq!(Some(longer.milestones), before.milestones);
        let none = Settings::default;
        for (changes, name) in [
            (Settings { seed: Some(2), ..none() }, "seed is 2: it is 1 in there"),
            (Settings { depth: Some(29), ..none() }, "depth is 29"),
            (Settings { dataset: Some("mnist".into()), ..none() }, "dataset is"),
            (Settings { limit_train: Some(9), ..none() }, "limit-train is 9: it is not set"),
            (Settings { batch_size: Some(9), ..none() }, "batch-size"),
            (Settings { recipe: Some("paper".into()), ..none() }, "recipe"),
        ] {
            let message = resume(changes).unwrap_err().to_string();
            assert!(message.contains(name), "{name}: {message}");
        }
    }
}
