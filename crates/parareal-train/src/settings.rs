//! What a person sets: the flags of the command line, or the keys of a configuration file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use parareal_data::without_byte_order_mark;
use parareal_run::names::CONFIG;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::folder::config_file;

/// Longest configuration file that is read; one with all keys has a hundredth of it.
const LONGEST_FILE: u64 = 1 << 18;

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $key:literal $field:ident: $type:ty,)*) => {
        /// Settings that may be given or left open, not looked at yet.
        ///
        /// As TOML they have the names of the flags.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", default)]
        pub struct Settings {
            $($(#[doc = $doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }

        impl Settings {
            /// The keys of a configuration file.
            pub const KEYS: &[&str] = &[$($key),*];

            /// These settings, and `other`'s where these leave something open.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field),)* }
            }
        }
    };
}

settings! {
    /// The defaults: `quick` or `paper`.
    "recipe" recipe: String,
    /// The data set.
    "dataset" dataset: String,
    /// The folder with a folder for each data set.
    "data-dir" data_dir: PathBuf,
    /// Training images to take at most.
    "limit-train" limit_train: usize,
    /// Test images to take at most.
    "limit-test" limit_test: usize,
    /// The share of the training images that is set aside to choose by.
    "validation" validation: f64,
    /// Whether training images are changed at random as is usual for the data set.
    "augment" augment: bool,
    /// Layers of the network, 9n+2.
    "depth" depth: usize,
    /// Subnetworks, `N`.
    "subnetworks" subnetworks: usize,
    /// `even`, or the units before each cut: `3,6`.
    "cuts" cuts: String,
    /// Kind of the coarse units.
    "coarse-unit" coarse_unit: String,
    /// Units of each coarse network.
    "coarse-units" coarse_units: usize,
    /// Passes over the training images.
    "epochs" epochs: usize,
    /// Images of a step.
    "batch-size" batch_size: usize,
    /// Learning rate at the start.
    "learning-rate" learning_rate: f64,
    /// Momentum.
    "momentum" momentum: f64,
    /// Weight decay.
    "weight-decay" weight_decay: f64,
    /// Whether a step looks ahead along the momentum.
    "nesterov" nesterov: bool,
    /// What becomes of the learning rate: `step` or `cosine`.
    "schedule" schedule: String,
    /// Epochs after which the learning rate is divided by ten.
    "milestones" milestones: Vec<usize>,
    /// Epochs in which the learning rate rises from nothing.
    "warmup-epochs" warmup_epochs: f64,
    /// How much of a label is spread over all classes.
    "label-smoothing" label_smoothing: f64,
    /// The largest norm of the gradient.
    "clip-norm" clip_norm: f64,
    /// Share of a moving average of the weights that a step leaves as it is.
    "ema-decay" ema_decay: f64,
    /// The run whose weights are the initial ones.
    "init-from" init_from: PathBuf,
    /// Seed of the initial weights and of the order of the images.
    "seed" seed: u64,
    /// `threads`, `sequential` or `mpi`.
    "executor" executor: String,
    /// Copies of the chain on different parts of each batch.
    "replicas" replicas: usize,
    /// As what tensors are sent between ranks: `f32` or `bf16`.
    "link-dtype" link_dtype: String,
    /// Devices, in order.
    "device" device: Vec<String>,
    /// Workers that share the subnetworks.
    "workers" workers: usize,
    /// Threads of each worker on the CPU.
    "threads" threads: usize,
    /// Units for each state that is kept for the backward pass; 0 chooses.
    "recompute" recompute: usize,
    /// Epochs without a new best that a run goes on for.
    "patience" patience: usize,
    /// When checkpoints are saved besides the end of an epoch: `500` steps, `10m` minutes.
    "checkpoint-every" checkpoint_every: String,
    /// Checkpoints that are kept besides the best.
    "keep-checkpoints" keep_checkpoints: usize,
}

impl Settings {
    /// Reads the configuration of the run in a folder.
    ///
    /// # Errors
    /// Where there is no run, or its configuration cannot be understood.
    pub fn of_run(folder: &Path) -> Result<Self, TrainError> {
        Self::read(&config_file(folder)?)
    }

    /// Reads the configuration that a checkpoint records.
    ///
    /// # Errors
    /// Where it cannot be understood.
    pub(crate) fn of_table(table: &toml::Table) -> Result<Self, TrainError> {
        table.clone().try_into().map_err(|error: toml::de::Error| TrainError::ConfigFile {
            path: CONFIG.into(),
            message: error.message().lines().collect::<Vec<_>>().join(", "),
        })
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// Where the file cannot be read, is no TOML, or has a key or a type that is not expected.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) => Self::parse(path, &bytes),
            Err(error) => {
                let message = format!("cannot be read: {error}");
                Err(TrainError::ConfigFile { path: path.to_path_buf(), message })
            }
        }
    }

    /// As [`read`](Self::read), from what the file holds.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, TrainError> {
        let wrong = |message: String| TrainError::ConfigFile { path: path.to_path_buf(), message };
        if bytes.len() as u64 > LONGEST_FILE {
            let message = format!("it has more than {LONGEST_FILE} bytes: it is no configuration");
            return Err(wrong(message));
        }
        let text = str::from_utf8(without_byte_order_mark(bytes)).map_err(|error| {
            wrong(format!("it is no text in UTF-8 from byte {} on", error.valid_up_to() + 1))
        })?;
        let one_line = |error: &toml::de::Error| {
            let place = error.span().map(|span| {
                let before = text.get(..span.start).unwrap_or("");
                format!("line {}: ", before.matches('\n').count() + 1)
            });
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            wrong(place.unwrap_or_default() + &message)
        };
        let table: toml::Table = toml::from_str(text).map_err(|error| one_line(&error))?;
        if let Some(key) = table.keys().find(|key| !Self::KEYS.contains(&key.as_str())) {
            let (path, key) = (path.to_path_buf(), key.clone());
            return Err(TrainError::UnknownKey { nearest: nearest(&key, Self::KEYS), path, key });
        }
        toml::from_str(text).map_err(|error| one_line(&error))
    }

    /// The settings as a configuration file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("strings, numbers and lists of them are TOML")
    }
}

/// The candidate that takes the fewest letters to change into `word`.
fn nearest(word: &str, candidates: &[&'static str]) -> &'static str {
    let distance = |candidate: &&&str| edits(&word.replace('_', "-"), candidate);
    candidates.iter().min_by_key(distance).copied().unwrap_or_default()
}

/// Letters to insert, remove or replace between two words.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_by_letters() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(nearest("batch_sizes", Settings::KEYS), "batch-size");
        assert_eq!(nearest("learningrate", Settings::KEYS), "learning-rate");
    }

    #[test]
    fn keys_are_those_that_are_written() {
        let text = Settings::KEYS.iter().map(|key| match *key {
            "recipe" | "dataset" | "data-dir" | "init-from" | "cuts" | "coarse-unit"
            | "executor" | "link-dtype" | "schedule" | "checkpoint-every" => {
                format!("{key} = \"x\"\n")
            }
            "augment" | "nesterov" => format!("{key} = true\n"),
            "milestones" => format!("{key} = [1]\n"),
            "device" => format!("{key} = [\"cpu\"]\n"),
            "learning-rate" | "momentum" | "weight-decay" | "validation" | "warmup-epochs"
            | "label-smoothing" | "clip-norm" | "ema-decay" => format!("{key} = 0.5\n"),
            _ => format!("{key} = 3\n"),
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.toml");
        std::fs::write(&path, text.collect::<String>()).unwrap();
        let settings = Settings::read(&path).unwrap();
        let written: toml::Table = toml::from_str(&settings.to_toml()).unwrap();
        assert_eq!(written.len(), Settings::KEYS.len());
        assert!(written.keys().all(|key| Settings::KEYS.contains(&key.as_str())));
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("marked.toml");
        std::fs::write(&path, "\u{feff}depth = 20\n").unwrap();
        assert_eq!(Settings::read(&path).unwrap().depth, Some(20));
    }

    #[test]
    fn mistakes_in_a_file_are_one_line_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrong.toml");
        for (text, expected) in [
            ("depth = 20\nepoch = 3\n", "unknown key `epoch`; the nearest known one is `epochs`"),
            ("depth = 20\nepochs = \"many\"\n", "line 2"),
            ("depth = = 20\n", "line 1"),
            ("seed = 1\nbatch-size = -3\n", "line 2"),
            ("\"a\\nb\" = 1\n", "unknown key `a\\nb`"),
            (&format!("seed = {}\n", "1".repeat(300_000)), "more than 262144 bytes"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Settings::read(&path).unwrap_err();
            assert!(error.is_bad_input());
            let message = error.to_string();
            assert!(message.contains(expected), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        std::fs::write(&path, b"seed = 1\n# \xff\n").unwrap();
        let message = Settings::read(&path).unwrap_err().to_string();
        assert!(message.ends_with("it is no text in UTF-8 from byte 12 on"), "{message}");
        std::fs::write(&path, "\u{feff}seed = 7\n").unwrap();
        assert_eq!(Settings::read(&path).unwrap().seed, Some(7));
        assert!(Settings::read(&folder.path().join("none.toml")).unwrap_err().is_bad_input());
    }
}
