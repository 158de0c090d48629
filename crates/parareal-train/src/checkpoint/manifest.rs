//! What a checkpoint says about itself.

use serde::{Deserialize, Serialize};

use super::image_record::ImageRecord;
use crate::Settings;
use crate::scores::Tally;
use crate::usage::Times;

pub(crate) const FORMAT_VERSION: u32 = 4;
/// The oldest format that is read. Format 4 tells the data set and the border of its images.
pub(crate) const OLDEST_FORMAT: u32 = 3;

/// More than these are a mistake: steps of a run, rows or columns of an image.
const MOST_STEPS: usize = u32::MAX as usize;
const MOST_SIDE: usize = 1024;

/// The file `manifest.json` of a checkpoint.
#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format_version: u32,
    #[serde(flatten)]
    pub(super) position: Position,
    #[serde(default)]
    pub(super) times: Times,
    pub(super) configuration: Settings,
    /// The vector instructions of the machine; `None` in checkpoints of format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) simd: Option<String>,
    pub(super) images: ImageRecord,
    pub(super) files: Vec<Entry>,
}

impl Manifest {
    /// Adds what older formats leave out.
    pub(super) fn complete(&mut self) {
        if self.format_version == 3 {
            self.images.complete_format_3(self.configuration.dataset);
        }
    }

    /// Says what is wrong where it tells of something that was never saved.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let Position { step, epoch, epoch_steps, epoch_tally, epoch_seconds, .. } = self.position;
        let counts = [step, epoch, epoch_steps];
        if counts.contains(&0) || counts.iter().any(|&count| count > step.min(MOST_STEPS)) {
            return Err("it tells of a step that no run takes");
        }
        if !epoch_tally.is_possible()
            || epoch_tally.images == 0
            || !(0.0..).contains(&epoch_seconds)
            || !self.times.is_possible()
        {
            return Err("it tells of an epoch that no run has");
        }
        let ImageRecord { channels, height, width, padding, class_names, mean, deviation, .. } =
            &self.images;
        let sides = [height, width].into_iter().all(|side| (1..=MOST_SIDE).contains(side));
        let inside = [height, width].into_iter().all(|side| *padding < side.div_ceil(2));
        if !matches!(channels, 1 | 3)
            || !sides
            || !inside
            || !(1..=256).contains(&class_names.len())
        {
            return Err("it tells of images that no data set has");
        }
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let lengths = [mean.len(), deviation.len()] == [*channels; 2];
        if !lengths || !finite(mean) || !finite(deviation) || deviation.iter().any(|&d| d <= 0.0) {
            return Err("its mean and deviation do not fit its images");
        }
        Ok(())
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
#[derive(Clone, Serialize, Deserialize)]
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
