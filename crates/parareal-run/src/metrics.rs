//! Lines of `metrics.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Usage;

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Line {
    /// Losses of the distillation before the first training step.
    Distillation(DistillationRecord),
    /// A training step.
    Step(StepRecord),
    /// An epoch with its evaluation.
    Epoch(EpochRecord),
    /// The end of a run that is complete.
    End(EndRecord),
    /// The end of a run that was stopped after this step.
    Interrupted {
        /// The step, from 1.
        step: usize,
    },
    /// The end of a run whose loss, weights or evaluation were not finite in or after this step.
    Diverged {
        /// The step, from 1.
        step: usize,
        /// Description of what was not finite.
        #[serde(default)]
        message: String,
    },
    /// A line of an unknown kind, written by another version.
    #[serde(other)]
    Unknown,
}

/// Losses of the modules at the interfaces in the distillation, averaged over the steps since the previous
/// record. The first record contains only the first step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DistillationRecord {
    /// The step of the distillation, from 1.
    pub step: usize,
    /// Total number of steps of the distillation.
    pub steps: usize,
    /// Losses of each interface, in order.
    pub interfaces: Vec<InterfaceRecord>,
    /// Seconds since the distillation began.
    pub seconds: f64,
}

/// Losses of the modules at one interface: squared errors before the update, each divided by the squared norm of its
/// target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceRecord {
    /// Loss of `C_{j+1}`, which approximates the state of the serial network at the interface.
    pub preprocessing: f64,
    /// Loss of `F_j`, which approximates the effect of the error of that state on the output of the next subnetwork.
    pub coarse: f64,
}

/// Result of a training step. JSON has no infinities and no NaN: these are written as `null` and read
/// as NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The step, counted from 1 over the whole run.
    pub step: usize,
    /// Loss of the batch before the update.
    #[serde(deserialize_with = "nan_from_null")]
    pub loss: f64,
    /// Fraction of wrong predictions for the batch before the update; `None` if they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Learning rate of the update.
    #[serde(deserialize_with = "nan_from_null")]
    pub learning_rate: f64,
    /// Norm of the gradient before clipping; omitted without clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// Number of samples in the batch, divided by the duration of the step in seconds.
    #[serde(rename = "images_per_second", deserialize_with = "nan_from_null")]
    pub samples_per_second: f64,
}

/// Result of an epoch and its evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Mean loss over the training samples. The loss of each sample is computed before the update with its batch.
    #[serde(deserialize_with = "nan_from_null")]
    pub train_loss: f64,
    /// Fraction of wrong predictions for the training samples; `None` if they are not counted. The predictions
    /// for a sample are made before the update with its batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_error: Option<f64>,
    /// Mean loss over the test samples after the epoch; `None` without test samples.
    #[serde(default)]
    pub test_loss: Option<f64>,
    /// Fraction of wrong predictions for the test samples after the epoch.
    #[serde(default)]
    pub test_error: Option<f64>,
    /// Fraction of test samples whose class is not among the five most likely predictions.
    #[serde(default)]
    pub test_top5_error: Option<f64>,
    /// Mean loss over the validation samples; omitted if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Fraction of wrong predictions for the validation samples; omitted if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_error: Option<f64>,
    /// Further metrics of the validation samples by name; omitted if there are none. A value that is not finite
    /// is written as `null` and read as NaN.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "nan_from_null_values"
    )]
    pub metrics: BTreeMap<String, f64>,
    /// Duration of the epoch in seconds, without evaluation.
    #[serde(deserialize_with = "nan_from_null")]
    pub seconds: f64,
}

impl EpochRecord {
    /// Returns the error by which epochs are compared: the error of the validation samples or, if there are none,
    /// of the test samples.
    #[must_use]
    pub fn deciding_error(&self) -> Option<f64> {
        self.validation_error.or(self.test_error)
    }
}

/// Last line of a complete run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndRecord {
    /// Duration of the run in seconds, including evaluations and the time before interruptions.
    pub seconds: f64,
    /// Fraction of the training time spent waiting for the next batch.
    #[serde(default, rename = "waiting_for_images")]
    pub waiting_for_data: f64,
    /// Time of subnetworks and workers in the training steps.
    #[serde(flatten)]
    pub usage: Usage,
    /// Bytes that each rank has sent; omitted for a single process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
}

/// Bytes that a rank has sent to others in training steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Number of steps.
    pub steps: u64,
    /// Bytes of tensors across interfaces.
    pub interfaces: u64,
    /// Bytes passed to all-reduces between replicas; on a ring of `R` replicas, each byte is sent `2 (R - 1) / R`
    /// times.
    pub reduced: u64,
}

/// Sums over the samples of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Number of samples.
    #[serde(rename = "images")]
    pub samples: usize,
    /// Number of wrong predictions; `None` if they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong: Option<usize>,
    /// Sum of the losses.
    pub loss: f64,
}

impl Tally {
    /// Adds a batch with this mean loss.
    pub fn add(&mut self, samples: usize, wrong: Option<usize>, mean_loss: f64) {
        let before = if self.samples == 0 { Some(0) } else { self.wrong };
        self.wrong = before.zip(wrong).map(|(before, wrong)| before + wrong);
        self.samples += samples;
        self.loss += mean_loss * samples as f64;
    }

    /// Returns true if the sums are possible. Sums read from a damaged file may be impossible.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.wrong.is_none_or(|wrong| wrong <= self.samples)
            && self.samples <= u32::MAX as usize
            && self.loss.is_finite()
    }

    /// Returns the mean loss; `None` without samples.
    #[must_use]
    pub fn mean_loss(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.loss / self.samples as f64)
    }

    /// Returns the fraction of wrong predictions; `None` without samples, or if they are not counted.
    #[must_use]
    pub fn error(&self) -> Option<f64> {
        let wrong = self.wrong.filter(|_| self.samples > 0)?;
        Some(wrong as f64 / self.samples as f64)
    }
}

fn nan_from_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(|value| value.unwrap_or(f64::NAN))
}

fn nan_from_null_values<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, f64>, D::Error> {
    let values = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_left_out_when_empty_and_may_be_nan() {
        let text = serde_json::to_string(&EpochRecord::default()).unwrap();
        assert!(!text.contains("metrics"), "{text}");
        assert!(serde_json::from_str::<EpochRecord>(&text).unwrap().metrics.is_empty());
        let metrics = BTreeMap::from([("a".to_string(), 0.1), ("b".to_string(), f64::NAN)]);
        let text = serde_json::to_string(&EpochRecord { metrics, ..Default::default() }).unwrap();
        assert!(text.contains(r#""metrics":{"a":0.1,"b":null}"#), "{text}");
        let read = serde_json::from_str::<EpochRecord>(&text).unwrap().metrics;
        assert_eq!(read["a"], 0.1);
        assert!(read["b"].is_nan());
    }

    #[test]
    fn a_loss_that_is_not_finite_is_null() {
        let record = StepRecord {
            epoch: 1,
            step: 2,
            loss: f64::INFINITY,
            error: Some(0.5),
            learning_rate: 0.1,
            gradient_norm: None,
            samples_per_second: 9.0,
        };
        let text = serde_json::to_string(&Line::Step(record)).unwrap();
        assert_eq!(
            text,
            r#"{"event":"step","epoch":1,"step":2,"loss":null,"error":0.5,"learning_rate":0.1,"images_per_second":9.0}"#
        );
        let Line::Step(read) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        assert!(read.loss.is_nan());
    }

    #[test]
    fn a_number_that_is_missing_is_an_error() {
        let text = r#"{"event":"step","epoch":1,"step":2}"#;
        assert!(serde_json::from_str::<Line>(text).is_err());
    }

    #[test]
    fn lines_of_other_versions_are_unknown() {
        let line = serde_json::from_str(r#"{"event":"weather","rain":true}"#).unwrap();
        assert_eq!(Line::Unknown, line);
    }

    #[test]
    fn a_tally_counts_wrong_answers_if_all_batches_do() {
        let mut tally = Tally::default();
        tally.add(4, Some(1), 0.5);
        tally.add(4, Some(3), 0.5);
        assert_eq!(tally.error(), Some(0.5));
        let mut uncounted = Tally { samples: 8, wrong: None, loss: 4.0 };
        uncounted.add(4, Some(1), 0.5);
        assert_eq!(uncounted.error(), None);
    }

    #[test]
    fn a_tally_without_samples_has_no_mean() {
        let tally = Tally::default();
        assert_eq!((tally.mean_loss(), tally.error()), (None, None));
    }
}
