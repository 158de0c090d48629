//! Sets of defaults.

use std::str::FromStr;

use parareal_data::DatasetName;

use crate::{CheckpointEvery, Settings, TrainError};

/// Where settings that are left open come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recipe {
    /// A small network that learns the built-in images in minutes.
    #[default]
    Quick,
    /// The paper's depth, epochs, batches and learning rates.
    Paper,
}

impl Recipe {
    /// The paper's for its data sets and its depth, otherwise the small one.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        use DatasetName::{Cifar10, Cifar100, Mnist, Svhn};
        let dataset = settings.dataset.as_deref().and_then(|name| name.parse().ok());
        match (dataset, settings.depth) {
            (Some(Mnist | Cifar10 | Cifar100 | Svhn), Some(1001)) => Self::Paper,
            _ => Self::default(),
        }
    }

    /// The recipe that a configuration names, otherwise the one that fits it.
    pub(crate) fn chosen(settings: &Settings) -> Result<Self, TrainError> {
        match &settings.recipe {
            Some(name) => name.parse(),
            None => Ok(Self::of(settings)),
        }
    }

    /// The settings of this recipe, for a run of `epochs` epochs where that is known.
    #[must_use]
    pub fn settings(self, epochs: Option<usize>) -> Settings {
        let common = Settings {
            dataset: Some("shapes".into()),
            validation: Some(0.0),
            augment: Some(true),
            cuts: Some("even".into()),
            coarse_unit: Some("auto".into()),
            momentum: Some(0.9),
            weight_decay: Some(5e-4),
            nesterov: Some(false),
            schedule: Some("step".into()),
            warmup_epochs: Some(0.0),
            label_smoothing: Some(0.0),
            seed: Some(1),
            executor: Some("threads".into()),
            replicas: Some(1),
            link_dtype: Some("f32".into()),
            device: Some(vec!["cpu".into()]),
            checkpoint_every: Some(CheckpointEvery::Minutes(10).to_string()),
            keep_checkpoints: Some(2),
            ..Settings::default()
        };
        match self {
            Self::Quick => {
                let epochs = epochs.unwrap_or(6);
                Settings {
                    depth: Some(20),
                    subnetworks: Some(2),
                    epochs: Some(epochs),
                    batch_size: Some(16),
                    learning_rate: Some(0.02),
                    milestones: Some(milestones(epochs)),
                    ..common
                }
            }
            Self::Paper => Settings {
                depth: Some(1001),
                subnetworks: Some(3),
                epochs: Some(200),
                batch_size: Some(128),
                learning_rate: Some(0.1),
                milestones: Some(vec![80, 120]),
                ..common
            },
        }
    }
}

/// 70 % and 90 % of the epochs, rounded, where these are two epochs with others behind them.
fn milestones(epochs: usize) -> Vec<usize> {
    let part = |percent: usize| epochs.saturating_mul(percent).saturating_add(50) / 100;
    let mut milestones = vec![part(70), part(90)];
    milestones.dedup();
    milestones.retain(|&epoch| epoch > 0 && epoch < epochs);
    milestones
}

impl FromStr for Recipe {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        match text {
            "quick" => Ok(Self::Quick),
            "paper" => Ok(Self::Paper),
            _ => Err(TrainError::setting("recipe", format!("`{text}`"), "it is quick or paper")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones_lie_within_the_run() {
        assert_eq!(milestones(4), [3]);
        assert_eq!(milestones(8), [6, 7]);
        assert_eq!(milestones(100), [70, 90]);
        assert_eq!(milestones(2), [1]);
        assert!(milestones(1).is_empty() && milestones(0).is_empty());
    }
}
