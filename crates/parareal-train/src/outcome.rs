//! Outcome of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parareal_run::{EndRecord, EpochRecord, Traffic, Usage};
use serde::Serialize;

use crate::{RunConfig, folder};

/// Outcome of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The folder of the run.
    #[serde(serialize_with = "folder::path_as_text")]
    pub output: PathBuf,
    /// Number of complete epochs.
    pub epochs: usize,
    /// Number of steps.
    pub steps: usize,
    /// The training loss of the last complete epoch.
    pub train_loss: Option<f64>,
    /// The training error of the last complete epoch.
    pub train_error: Option<f64>,
    /// The test loss after the last complete epoch.
    pub test_loss: Option<f64>,
    /// The test error after the last complete epoch.
    pub test_error: Option<f64>,
    /// The validation loss after the last complete epoch; omitted without validation samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// The metrics of the validation samples after the last complete epoch; omitted if there are
    /// none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Duration of the run in seconds, including evaluations and the time before interruptions.
    pub seconds: f64,
    /// Median duration of an epoch in seconds, without evaluation.
    pub seconds_per_epoch: Option<f64>,
    /// Notes of the run, such as skipped checkpoints or files that were not written.
    pub notes: Vec<String>,
    /// Fraction of the training time spent waiting for the next batch.
    #[serde(rename = "waiting_for_images")]
    pub waiting_for_data: f64,
    /// Time of subnetworks and workers in the training steps.
    #[serde(flatten)]
    pub usage: Usage,
    /// Bytes that each rank has sent in the steps of this process; empty without ranks.
    pub traffic: Vec<Traffic>,
    /// True if the run ended early because its patience was exhausted.
    pub out_of_patience: bool,
    /// True if the run was stopped before its end.
    #[serde(skip)]
    pub interrupted: bool,
}

impl Outcome {
    /// Creates the outcome of a run after these epochs and steps.
    pub(crate) fn new(
        output: &Path,
        config: &RunConfig,
        epochs: &[EpochRecord],
        steps: usize,
        end: EndRecord,
    ) -> Self {
        let last = epochs.last();
        Self {
            output: output.to_path_buf(),
            epochs: epochs.len(),
            steps,
            train_loss: last.map(|epoch| epoch.train_loss),
            train_error: last.and_then(|epoch| epoch.train_error),
            test_loss: last.and_then(|epoch| epoch.test_loss),
            test_error: last.and_then(|epoch| epoch.test_error),
            validation_loss: last.and_then(|epoch| epoch.validation_loss),
            metrics: last.map(|epoch| epoch.metrics.clone()).unwrap_or_default(),
            seconds: end.seconds,
            seconds_per_epoch: median(epochs.iter().map(|epoch| epoch.seconds).collect()),
            notes: Vec::new(),
            waiting_for_data: end.waiting_for_data,
            usage: end.usage,
            traffic: end.traffic,
            out_of_patience: config.objective.is_out_of_patience(epochs, config.patience),
            interrupted: false,
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
