//! A row of a table, and its arguments of `parareal train`.

use parareal_data::DatasetName;
use parareal_models::{PAPER_WIDTH, Precision};

use crate::network::Network;
use crate::paper::PaperCells;

/// Share of the training images that is held out for choosing settings.
const HELD_OUT: f64 = 0.15;

/// Numbers of training and test images in a rehearsal.
pub(crate) const REHEARSED_IMAGES: [usize; 2] = [32, 20];

/// The length of the training of a row.
#[derive(Clone, Debug)]
pub(crate) enum Epochs {
    /// A number of epochs.
    Fixed(usize),
    /// The number of epochs that takes as long as the runs of another row, from measured times of both networks.
    AsLongAs(Box<Row>),
}

/// The run that provides the initial weights of a row's runs. Both runs have the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) row: Box<Row>,
    /// Number of epochs of the run.
    pub(crate) epochs: usize,
    /// True if additional units of a deeper network are interpolated, false if units are repeated.
    pub(crate) interpolates: bool,
    /// Number of distillation steps before the training; `None` for no distillation.
    pub(crate) distillation: Option<usize>,
}

/// The start of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    /// A new run. The text is the folder of the run that provides the initial weights, if there is one.
    New(&'a str),
    /// A resumed run. Its folder already records the recipe and the source of the initial weights.
    Resumed,
}

/// A row of a table: one network that is trained with several seeds.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Identifier, which is used in file names.
    pub(crate) id: String,
    /// Heading of the group of rows that are compared with each other.
    pub(crate) group: String,
    pub(crate) title: String,
    pub(crate) dataset: DatasetName,
    /// Numbers of training and test images that the data set must have; `None` in a rehearsal.
    pub(crate) images: Option<[usize; 2]>,
    pub(crate) network: Network,
    /// Precision of the states.
    pub(crate) precision: Precision,
    pub(crate) limit_train: Option<usize>,
    pub(crate) epochs: Epochs,
    pub(crate) seeds: Vec<u64>,
    /// True if errors are measured on held-out training images. The test images are then not used.
    pub(crate) held_out: bool,
    pub(crate) paper: PaperCells,
    /// Estimated duration of an epoch in seconds, if nothing has been measured.
    pub(crate) guessed_epoch: f64,
    /// Source of the initial weights; `None` for random weights.
    pub(crate) source: Option<Source>,
    pub(crate) training: Training,
}

/// The settings of a training.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Training {
    /// A batch size, a learning rate, and a step schedule that spans the run.
    Small { learning_rate: f64, batch_size: usize, limit_test: Option<usize> },
    /// The paper's recipe.
    Paper,
}

impl Row {
    /// Returns the arguments of `parareal train` that determine the result, up to rounding. A placeholder is
    /// used for the folder of the run that provides the initial weights.
    pub(crate) fn arguments(&self, seed: u64, epochs: usize) -> Vec<String> {
        let source = self.source.as_ref().map(|source| format!("RUN-OF-{}", source.row.id));
        self.arguments_for(seed, epochs, Start::New(&source.unwrap_or_default()))
    }

    /// Returns the arguments of the run that provides the initial weights, as [`Self::arguments`] does; `None` for random weights.
    pub(crate) fn source_arguments(&self, seed: u64) -> Option<Vec<String>> {
        let source = self.source.as_ref()?;
        Some(source.row.arguments(seed, source.epochs))
    }

    /// Returns the arguments of `parareal train` for a run on this machine.
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
        if self.precision != Precision::default() {
            add("--precision", self.precision.to_string());
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

    /// Returns the initial learning rate; `None` for the paper's recipe.
    pub(crate) fn learning_rate(&self) -> Option<f64> {
        match self.training {
            Training::Small { learning_rate, .. } => Some(learning_rate),
            Training::Paper => None,
        }
    }

    /// Returns the numbers of training and test images of the data set; in a rehearsal, of those that are used.
    pub(crate) fn used_images(&self) -> [usize; 2] {
        self.images.unwrap_or(REHEARSED_IMAGES)
    }

    /// Returns the number of training images of a run, held-out images included.
    pub(crate) fn train_images(&self) -> usize {
        let [train, _] = self.used_images();
        self.limit_train.map_or(train, |limit| limit.min(train))
    }

    /// Returns the number of held-out images among `train` training images, rounded as in `parareal train`.
    pub(crate) fn held_out_images(&self, train: usize) -> usize {
        if self.held_out { (HELD_OUT * train as f64).round() as usize } else { 0 }
    }

    /// Shortens the training for a rehearsal: two epochs with a few built-in images, two distillation steps,
    /// and at most two seeds.
    pub(crate) fn rehearsed(mut self) -> Self {
        self.dataset = DatasetName::Shapes;
        self.images = None;
        let [train, test] = REHEARSED_IMAGES;
        self.limit_train = Some(train);
        self.network.depth = self.network.depth.min(56);
        self.seeds.truncate(2);
        self.epochs = match self.epochs {
            Epochs::Fixed(_) => Epochs::Fixed(2),
            Epochs::AsLongAs(row) => Epochs::AsLongAs(Box::new(row.rehearsed())),
        };
        self.source = self.source.map(|source| Source {
            row: Box::new(source.row.rehearsed()),
            epochs: 2,
            distillation: source.distillation.map(|_| 2),
            ..source
        });
        self.guessed_epoch = 1.0;
        let (learning_rate, batch_size) = (self.learning_rate().unwrap_or(0.05), 16);
        self.training = Training::Small { learning_rate, batch_size, limit_test: Some(test) };
        self
    }
}

/// Returns the epochs after which the learning rate is divided by ten: 70 % and 90 % of all epochs, as in
/// `parareal train`.
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
