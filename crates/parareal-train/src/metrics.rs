//! `metrics.jsonl`: one object a line, for each step and each epoch.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Sent, TrainError, Usage};

const FILE: &str = "metrics.jsonl";

/// What a training step came to.
#[derive(Clone, Debug, Serialize)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
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

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    Step(&'a StepRecord),
    Epoch(&'a EpochRecord),
    End {
        seconds: f64,
        waiting_for_images: f64,
        #[serde(flatten)]
        usage: &'a Usage,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        traffic: &'a [Sent],
    },
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
    Step {},
    Epoch(EpochRecord),
    End {},
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

    /// The epochs that the first `bytes` of the file tell of.
    pub(crate) fn epochs(folder: &Path, bytes: u64) -> Result<Vec<EpochRecord>, TrainError> {
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
        let mut epochs = Vec::new();
        for (number, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(Old::Epoch(record)) => epochs.push(record),
                Ok(Old::Step {} | Old::End {}) => {}
                Err(error) => {
                    let message = format!("line {} is not what was written: {error}", number + 1);
                    return Err(TrainError::weights(&path, message));
                }
            }
        }
        Ok(epochs)
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

    /// The last line of a run that came to its end.
    pub(crate) fn end(
        &mut self,
        seconds: f64,
        waiting_for_images: f64,
        usage: &Usage,
        traffic: &[Sent],
    ) -> Result<(), TrainError> {
        self.write(&Line::End { seconds, waiting_for_images, usage, traffic })
    }

    fn write(&mut self, line: &Line<'_>) -> Result<(), TrainError> {
        let mut text = serde_json::to_vec(line).expect("numbers and names are JSON");
        text.push(b'\n');
        self.file.write_all(&text).map_err(TrainError::file("write", &self.path))?;
        self.bytes += text.len() as u64;
        Ok(())
    }
}
