//! A row of a table, and the arguments of `parareal train` that it stands for.

use parareal_data::DatasetName;
use parareal_models::resnet::PAPER_WIDTH;

use crate::network::Network;
use crate::paper::PaperCells;

/// Share of the training images that is held out where settings are chosen.
const HELD_OUT: f64 = 0.15;

/// The length of the training of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Epochs {
    /// A number of epochs.
    Fixed(usize),
    /// As long as another row takes for its epochs: by the measured times of both.
    AsLongAs {
        /// Identifier of the row that gives the time of an epoch.
        serial: String,
        /// Identifier of the row that gives the time of the whole training.
        cut: String,
    },
}

/// The run that a run of a row starts from. Both have the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) row: Box<Row>,
    /// Epochs of that run.
    pub(crate) epochs: usize,
    /// True if the units between those of a shallower network are interpolated, false if units are repeated.
    pub(crate) interpolates: bool,
    /// Steps of the distillation before the training, `None` without one.
    pub(crate) distillation: Option<usize>,
}

/// The beginning of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    /// A new run. The text stands for the folder of the run that it starts from, if it does.
    New(&'a str),
    /// A run that is resumed. Its folder has the recipe and the run that it started from.
    Resumed,
}

/// A row of a table: one network, trained with several seeds.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Identifier, used in names of files.
    pub(crate) id: String,
    /// Heading of the rows that it is compared with; the first of them is N = 1.
    pub(crate) group: String,
    pub(crate) title: String,
    pub(crate) dataset: DatasetName,
    pub(crate) network: Network,
    pub(crate) limit_train: Option<usize>,
    pub(crate) epochs: Epochs,
    pub(crate) seeds: Vec<u64>,
    /// True if errors are those of training images that are held out, and the test images are not used.
    pub(crate) held_out: bool,
    pub(crate) paper: PaperCells,
    /// Seconds of an epoch where nothing was measured.
    pub(crate) guessed_epoch: f64,
    /// `None` for runs that start from the weights of their seed.
    pub(crate) source: Option<Source>,
    /// Settings of the training.
    pub(crate) training: Training,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Training {
    /// Batches, a learning rate, and a step schedule that spans the run.
    Small { learning_rate: f64, batch_size: usize, limit_test: Option<usize> },
    /// The paper's recipe.
    Paper,
}

impl Row {
    /// Arguments of `parareal train` that determine the result to rounding. A name stands for the folder of the run
    /// that a run starts from.
    pub(crate) fn arguments(&self, seed: u64, epochs: usize) -> Vec<String> {
        let source = self.source.as_ref().map(|source| format!("RUN-OF-{}", source.row.id));
        self.arguments_for(seed, epochs, Start::New(&source.unwrap_or_default()))
    }

    /// The same of the run that a run starts from, `None` for one that starts from the weights of its seed.
    pub(crate) fn source_arguments(&self, seed: u64) -> Option<Vec<String>> {
        let source = self.source.as_ref()?;
        Some(source.row.arguments(seed, source.epochs))
    }

    /// Arguments of `parareal train` for a run on this machine.
    pub(crate) fn arguments_for(&self, seed: u64, epochs: usize, start: Start<'_>) -> Vec<String> {
        let mut list = vec!["--dataset".to_string(), self.dataset.to_string()];
        let mut add = |flag: &str, value: String| list.extend([flag.to_string(), value]);
        if self.training == Training::Paper && matches!(start, Start::New(_)) {
            add("--recipe", "paper".into());
        }
        add("--depth", self.network.depth.to_string());
        if self.network.width != PAPER_WIDTH {
            add("--width", self.network.width.to_string());
        }
        add("--subnetworks", self.network.subnetworks.to_string());
        if let Some(coarse) =
            self.network.coarse.map(|coarse| coarse.resolved(self.network.subnetworks))
        {
            add("--coarse-unit", coarse.kind.to_string());
            if let Some(units) = coarse.units {
                add("--coarse-units", units.to_string());
            }
        }
        if let Some(limit) = self.limit_train {
            add("--limit-train", limit.to_string());
        }
        add("--epochs", epochs.to_string());
        if let Training::Small { learning_rate, batch_size, limit_test } = self.training {
            if self.held_out {
                add("--validation", HELD_OUT.to_string());
            }
            if let Some(limit) = if self.held_out { Some(0) } else { limit_test } {
                add("--limit-test", limit.to_string());
            }
            add("--batch-size", batch_size.to_string());
            add("--learning-rate", learning_rate.to_string());
            add("--schedule", "step".into());
            let milestones = milestones(epochs);
            if !milestones.is_empty() {
                let milestones: Vec<_> = milestones.iter().map(usize::to_string).collect();
                add("--milestones", milestones.join(","));
            }
        }
        if let Some(source) = &self.source {
            if let Start::New(folder) = start {
                add("--init-from", folder.into());
            }
            if source.interpolates {
                add("--init-units", "interpolate".into());
            }
            if let Some(steps) = source.distillation {
                add("--distill", steps.to_string());
            }
        }
        add("--seed", seed.to_string());
        list
    }

    /// The learning rate at the start; `None` for the paper's.
    pub(crate) fn learning_rate(&self) -> Option<f64> {
        match self.training {
            Training::Small { learning_rate, .. } => Some(learning_rate),
            Training::Paper => None,
        }
    }

    /// Returns the number of held-out images among `train` training images, rounded as by `parareal train`.
    pub(crate) fn held_out_images(&self, train: usize) -> usize {
        if self.held_out { (HELD_OUT * train as f64).round() as usize } else { 0 }
    }

    /// Makes the training short: two epochs of a few of the built-in images, two steps of a distillation, and at most
    /// two seeds.
    pub(crate) fn rehearsed(mut self) -> Self {
        self.dataset = DatasetName::Shapes;
        self.limit_train = Some(32);
        self.network.depth = self.network.depth.min(56);
        self.seeds.truncate(2);
        if let Epochs::Fixed(epochs) = &mut self.epochs {
            *epochs = 2;
        }
        self.source = self.source.map(|source| Source {
            row: Box::new(source.row.rehearsed()),
            epochs: 2,
            distillation: source.distillation.map(|_| 2),
            ..source
        });
        self.guessed_epoch = 1.0;
        let (learning_rate, batch_size) = (self.learning_rate().unwrap_or(0.05), 16);
        self.training = Training::Small { learning_rate, batch_size, limit_test: Some(20) };
        self
    }
}

/// The epochs after which the learning rate is divided by ten: 70 % and 90 % of them, as `parareal train` has
/// it.
fn milestones(epochs: usize) -> Vec<usize> {
    let mut found = [70, 90].map(|percent| (percent * epochs + 50) / 100).to_vec();
    found.dedup();
    found.retain(|&epoch| epoch > 0 && epoch < epochs);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::row;
    use crate::study;

    #[test]
    fn milestones_are_those_of_the_command() {
        assert_eq!(milestones(12), [8, 11]);
        assert_eq!(milestones(6), [4, 5]);
        assert_eq!(milestones(27), [19, 24]);
        assert_eq!(milestones(2), [1]);
        assert!(milestones(1).is_empty());
    }

    #[test]
    fn a_run_starts_from_a_folder_and_is_resumed_without_it() {
        let row = row("initialization-nested-distilled");
        let started = row.arguments_for(1, 6, Start::New("runs/1")).join(" ");
        assert!(started.contains(" --init-from runs/1 --distill 200 "), "{started}");
        let resumed = row.arguments_for(1, 6, Start::Resumed).join(" ");
        assert_eq!(resumed, started.replace(" --init-from runs/1", ""));
    }

    #[test]
    fn a_run_is_resumed_without_its_recipe() {
        let rows = study::full(&[DatasetName::Mnist], &[1], &[1], false).unwrap();
        let started = rows[0].arguments(1, 200).join(" ");
        let resumed = rows[0].arguments_for(1, 200, Start::Resumed).join(" ");
        assert_eq!(resumed, started.replace(" --recipe paper", ""));
        assert_ne!(resumed, started);
    }
}
