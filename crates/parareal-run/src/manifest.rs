//! Files in the folder `checkpoints`.

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{Tally, Times};

/// Format version of the checkpoints that this version writes.
pub const FORMAT_VERSION: u32 = 5;
/// Oldest format version of checkpoints that can be read. Version 5 added the cuts and renamed `images` to
/// `data`; version 4 added the data set and the padding of its images.
pub const OLDEST_FORMAT: u32 = 3;

/// Largest valid number of steps. A larger number means that the file is damaged.
const MAX_STEPS: usize = u32::MAX as usize;

/// Description of a checkpoint, `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the checkpoint's format.
    pub format_version: u32,
    /// Progress of the run.
    #[serde(flatten)]
    pub position: Position,
    /// Times of the run up to the checkpoint.
    #[serde(default)]
    pub times: Times,
    /// The complete configuration of the run, as in `config.toml`.
    pub configuration: Table,
    /// Vector instructions of the machine; `None` in checkpoints of format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simd: Option<String>,
    /// Description of the training data. Its fields are defined by the code that loads the data.
    #[serde(alias = "images")]
    pub data: Table,
    /// Number of units of the network before it is cut; `None` before version 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<usize>,
    /// Cuts of the network: the number of units before each cut; `None` before version 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuts: Option<Vec<usize>>,
    /// All other files of the checkpoint.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// Checks that the position and the times are possible.
    ///
    /// # Errors
    /// If a value is impossible for any run. The error describes which.
    pub fn check(&self) -> Result<(), &'static str> {
        let Position { step, epoch, epoch_steps, epoch_tally, epoch_seconds, .. } = self.position;
        let counts = [step, epoch, epoch_steps];
        if counts.contains(&0) || counts.iter().any(|&count| count > step.min(MAX_STEPS)) {
            return Err("impossible step or epoch");
        }
        if !epoch_tally.is_possible()
            || epoch_tally.samples == 0
            || !(0.0..).contains(&epoch_seconds)
            || !self.times.is_possible()
        {
            return Err("impossible number of samples or times of the epoch");
        }
        Ok(())
    }
}

/// Progress of a run. The order of the samples and all random numbers follow from the seed, the epoch and the
/// step, and the learning rate from the epoch and the step, so no further state of random numbers or of the
/// schedule is saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The last step, counted from 1 over the whole run.
    pub step: usize,
    /// Epoch of the last step, from 1; 0 before the first step.
    pub epoch: usize,
    /// Number of steps in this epoch so far.
    pub epoch_steps: usize,
    /// Sums over the samples of the steps in this epoch.
    pub epoch_tally: Tally,
    /// Duration of the steps in this epoch, in seconds.
    pub epoch_seconds: f64,
    /// Length of `metrics.jsonl` after the step, in bytes.
    pub metrics_bytes: u64,
}

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The subnetwork, from 1.
    pub subnetwork: usize,
    /// Kind of the tensors in the file.
    pub holds: FileKind,
    /// Name of the file.
    pub name: String,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Number of tensors in the file.
    pub tensors: usize,
}

/// Kind of the tensors in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Parameters and buffers.
    Weights,
    /// State of the optimizer.
    Optimizer,
    /// Moving average of the weights.
    Average,
}

impl FileKind {
    /// Returns the name of the file of this kind for a subnetwork, counted from 1.
    #[must_use]
    pub fn file_name(self, subnetwork: usize) -> String {
        let holds = match self {
            Self::Weights => "weights",
            Self::Optimizer => "optimizer",
            Self::Average => "average",
        };
        format!("subnetwork-{subnetwork:02}.{holds}.safetensors")
    }
}

/// The best checkpoint so far, `best.json`.
///
/// In the file, the value of a metric has the key `value`, and an error has the key `error`. Files of earlier
/// versions, which have the value of a metric under `error`, can be read as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BestFile", into = "BestFile")]
pub struct Best {
    /// Step of the checkpoint.
    pub step: usize,
    /// Value by which the checkpoint was chosen. Without [`Self::metric`], this is the error of the validation
    /// samples or, if there are none, of the test samples.
    pub value: f64,
    /// Name of the value if it is not an error: `loss`, or a metric of the validation samples.
    pub metric: Option<String>,
}

/// Fields of `best.json`.
#[derive(Serialize, Deserialize)]
struct BestFile {
    step: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<String>,
}

impl From<Best> for BestFile {
    fn from(best: Best) -> Self {
        let (error, value) = match best.metric {
            Some(_) => (None, Some(best.value)),
            None => (Some(best.value), None),
        };
        Self { step: best.step, error, value, metric: best.metric }
    }
}

impl TryFrom<BestFile> for Best {
    type Error = &'static str;

    fn try_from(file: BestFile) -> Result<Self, Self::Error> {
        let value = file.value.or(file.error).ok_or("expected `error` or `value`")?;
        Ok(Self { step: file.step, value, metric: file.metric })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_value_is_an_error_only_without_a_metric() {
        let error = Best { step: 7, value: 0.25, metric: None };
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(text, r#"{"step":7,"error":0.25}"#);
        assert_eq!(serde_json::from_str::<Best>(&text).unwrap(), error);
        let loss = Best { metric: Some("loss".into()), ..error };
        let text = serde_json::to_string(&loss).unwrap();
        assert_eq!(text, r#"{"step":7,"value":0.25,"metric":"loss"}"#);
        assert_eq!(serde_json::from_str::<Best>(&text).unwrap(), loss);
        // Written by earlier versions.
        let before = r#"{"step":7,"error":0.25,"metric":"loss"}"#;
        assert_eq!(serde_json::from_str::<Best>(before).unwrap(), loss);
        for wrong in [r#"{"step":7}"#, r#"{"step":7,"metric":"loss"}"#, r#"{"error":0.25}"#] {
            assert!(serde_json::from_str::<Best>(wrong).is_err(), "{wrong}");
        }
    }
}
