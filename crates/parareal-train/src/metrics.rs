//! `metrics.jsonl`: one object a line, for each step, each epoch, and how the run ended.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Sent, TrainError, Usage};

const FILE: &str = "metrics.jsonl";
/// Longest last lines that are read: those of ten thousand subnetworks take a tenth of it.
const LONGEST_END: u64 = 16 << 20;

/// What a training step came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepRecord {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The step, from 1 through the whole run.
    pub step: usize,
    /// The loss of the batch before the update.
    pub loss: f64,
    /// The share of wrong answers for the batch before the update.
    pub error: f64,
    /// The learning rate of the update.
    pub learning_rate: f64,
    /// The norm of the gradient before it was clipped; left out where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// Images of the batch, divided by the time of the step.
    pub images_per_second: f64,
}

/// What an epoch came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The mean loss over the images, each before the update with its batch.
    pub train_loss: f64,
    /// The share of wrong answers, each before the update with its batch.
    pub train_error: f64,
    /// The mean loss over the test images behind the epoch; `None` where there are none.
    pub test_loss: Option<f64>,
    /// The share of wrong answers for the test images behind the epoch.
    pub test_error: Option<f64>,
    /// The share of test images whose class is not among the five most likely ones.
    pub test_top5_error: Option<f64>,
    /// As `test_loss`, for the images that were set aside to choose by; left out without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// As `test_error`, for these images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_error: Option<f64>,
    /// The time of the epoch's training, evaluation not counted.
    pub seconds: f64,
}

impl EpochRecord {
    /// The error by which epochs are compared: of the images set aside for that, otherwise of the
    /// test images.
    #[must_use]
    pub fn deciding_error(&self) -> Option<f64> {
        self.validation_error.or(self.test_error)
    }
}

/// The last line of a run that came to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EndRecord {
    /// The time of training, evaluations included.
    pub(crate) seconds: f64,
    #[serde(default)]
    pub(crate) waiting_for_images: f64,
    #[serde(flatten)]
    pub(crate) usage: Usage,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) traffic: Vec<Sent>,
}

/// The last line of a run that ended early.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum EarlyEnd {
    /// It was told to stop after this step.
    Interrupted { step: usize },
    /// Its loss, weights or evaluation were not finite in or after this step.
    Diverged { step: usize, message: String },
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    Step(&'a StepRecord),
    Epoch(&'a EpochRecord),
    End(&'a EndRecord),
    #[serde(untagged)]
    EarlyEnd(&'a EarlyEnd),
}

/// The file, which is complete up to the last line at any time.
pub(crate) struct Metrics {
    file: File,
    path: PathBuf,
    bytes: u64,
}

/// A line that is read back.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Old {
    Step(StepRecord),
    Epoch(EpochRecord),
    End(EndRecord),
}

/// Records of a run up to its checkpoint.
#[derive(Default)]
pub(crate) struct Past {
    pub(crate) epochs: Vec<EpochRecord>,
    pub(crate) last_step: Option<StepRecord>,
}

impl Metrics {
    pub(crate) fn create(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(FILE);
        let file = File::create(&path).map_err(TrainError::file("create", &path))?;
        Ok(Self { file, path, bytes: 0 })
    }

    /// Goes on behind the first `bytes` of the file; what was written behind them is taken back.
    pub(crate) fn resume(folder: &Path, bytes: u64) -> Result<Self, TrainError> {
        let path = folder.join(FILE);
        let opened = OpenOptions::new().append(true).open(&path);
        let file = opened.map_err(TrainError::file("open", &path))?;
        file.set_len(bytes).map_err(TrainError::file("write", &path))?;
        Ok(Self { file, path, bytes })
    }

    /// Reads the records in the first `bytes` of the file.
    pub(crate) fn past(folder: &Path, bytes: u64) -> Result<Past, TrainError> {
        let path = folder.join(FILE);
        let file = File::open(&path).map_err(TrainError::file("open", &path))?;
        let mut text = String::new();
        let read = file.take(bytes).read_to_string(&mut text);
        read.map_err(TrainError::file("read", &path))?;
        if text.len() as u64 != bytes {
            let found = text.len();
            let message = format!("it has {found} bytes, the checkpoint knows of {bytes}");
            return Err(TrainError::weights(&path, message));
        }
        let mut past = Past::default();
        for (number, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(Old::Step(record)) => past.last_step = Some(record),
                Ok(Old::Epoch(record)) => past.epochs.push(record),
                Ok(Old::End(_)) => {}
                Err(error) => {
                    let message = format!("line {} is not what was written: {error}", number + 1);
                    return Err(TrainError::weights(&path, message));
                }
            }
        }
        Ok(past)
    }

    /// The last epoch and the end of a run, where nothing else comes after the first `bytes`.
    pub(crate) fn end(folder: &Path, bytes: u64) -> Option<(EpochRecord, EndRecord)> {
        let mut file = File::open(folder.join(FILE)).ok()?;
        file.seek(SeekFrom::Start(bytes)).ok()?;
        let mut text = String::new();
        file.take(LONGEST_END).read_to_string(&mut text).ok()?;
        let lines = text.strip_suffix('\n')?.split('\n').map(serde_json::from_str);
        match lines.collect::<Result<Vec<_>, _>>().ok()?.as_slice() {
            [Old::Epoch(epoch), Old::End(end)] => Some((epoch.clone(), end.clone())),
            _ => None,
        }
    }

    /// Makes all lines last, and gives their bytes.
    pub(crate) fn sync(&mut self) -> Result<u64, TrainError> {
        self.file.sync_data().map_err(TrainError::file("write", &self.path))?;
        Ok(self.bytes)
    }

    pub(crate) fn step(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        self.write(&Line::Step(record))
    }

    pub(crate) fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        self.write(&Line::Epoch(record))
    }

    pub(crate) fn finish(&mut self, record: &EndRecord) -> Result<(), TrainError> {
        self.write(&Line::End(record))
    }

    pub(crate) fn end_early(&mut self, end: &EarlyEnd) -> Result<(), TrainError> {
        self.write(&Line::EarlyEnd(end))
    }

    fn write(&mut self, line: &Line<'_>) -> Result<(), TrainError> {
        let mut text = serde_json::to_vec(line).expect("numbers and names are JSON");
        text.push(b'\n');
        self.file.write_all(&text).map_err(TrainError::file("write", &self.path))?;
        self.bytes += text.len() as u64;
        Ok(())
    }
}
