//! What a checkpoint says about itself.

use parareal_data::Dataset;
use serde::{Deserialize, Serialize};

use crate::Settings;
use crate::scores::Tally;

pub(super) const FORMAT_VERSION: u32 = 2;

/// The file `manifest.json` of a checkpoint.
#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format_version: u32,
    #[serde(flatten)]
    pub(super) position: Position,
    pub(super) configuration: Settings,
    pub(super) images: ImageRecord,
    pub(super) files: Vec<Entry>,
}

/// The images that a run has seen, and what has to be done with others before it sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// SHA-256 over all images and labels.
    pub(crate) fingerprint: String,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) class_names: Vec<String>,
    /// Of each channel, of values from 0 to 1.
    pub(crate) mean: Vec<f32>,
    pub(crate) deviation: Vec<f32>,
}

impl ImageRecord {
    pub(crate) fn of(dataset: &Dataset) -> Self {
        let Dataset { train, normalization, class_names, .. } = dataset;
        Self {
            fingerprint: dataset.fingerprint(),
            channels: train.channels(),
            height: train.height(),
            width: train.width(),
            class_names: class_names.clone(),
            mean: normalization.mean.clone(),
            deviation: normalization.deviation.clone(),
        }
    }
}

/// How far a run has come. The order of the images and what becomes of each follow from seed and
/// epoch, the learning rate from the epoch: there is no other state of chance or schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The step that was the last, from 1 through the whole run.
    pub(crate) step: usize,
    /// Its epoch, from 1; 0 before the first step.
    pub(crate) epoch: usize,
    /// Steps of this epoch.
    pub(crate) epoch_steps: usize,
    /// What these came to.
    pub(crate) epoch_tally: Tally,
    /// The time that these have taken.
    pub(crate) epoch_seconds: f64,
    /// Bytes of `metrics.jsonl` behind the step.
    pub(crate) metrics_bytes: u64,
}

/// One file of a checkpoint.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) subnetwork: usize,
    pub(super) holds: Kind,
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) tensors: usize,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Weights,
    Optimizer,
    /// The moving average of the weights.
    Average,
}

impl Kind {
    pub(super) fn file_name(self, subnetwork: usize) -> String {
        let holds = match self {
            Self::Weights => "weights",
            Self::Optimizer => "optimizer",
            Self::Average => "average",
        };
        format!("subnetwork-{subnetwork:02}.{holds}.safetensors")
    }
}
