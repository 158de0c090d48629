//! `metrics.jsonl`: one object a line, for each step and each epoch.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::TrainError;

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
    /// Images of the batch, divided by the time of the step.
    pub images_per_second: f64,
}

/// What an epoch came to.
#[derive(Clone, Debug, Serialize)]
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
    /// The time of the epoch's training, evaluation not counted.
    pub seconds: f64,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    Step(&'a StepRecord),
    Epoch(&'a EpochRecord),
}

/// The file, which is complete up to the last line at any time.
pub(crate) struct Metrics {
    file: File,
    path: PathBuf,
}

impl Metrics {
    pub(crate) fn create(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join("metrics.jsonl");
        let file = File::create(&path).map_err(TrainError::file("create", &path))?;
        Ok(Self { file, path })
    }

    pub(crate) fn step(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        self.write(&Line::Step(record))
    }

    pub(crate) fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        self.write(&Line::Epoch(record))
    }

    fn write(&mut self, line: &Line<'_>) -> Result<(), TrainError> {
        let mut text = serde_json::to_vec(line).expect("numbers and names are JSON");
        text.push(b'\n');
        self.file.write_all(&text).map_err(TrainError::file("write", &self.path))
    }
}
