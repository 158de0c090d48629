//! Reader of `metrics.jsonl`, which has one JSON object per line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use parareal_run::names::METRICS;
use parareal_run::{EndRecord, EpochRecord, Line, StepRecord};
use serde::Serialize;

use crate::ReportError;
use crate::error::json_message;

/// An epoch in the data of the page. Values that were not recorded or are not finite are null.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Epoch {
    pub(crate) epoch: usize,
    /// The last step of the epoch, if the file has steps.
    pub(crate) step: Option<usize>,
    pub(crate) train_loss: Option<f64>,
    pub(crate) train_error: Option<f64>,
    pub(crate) test_loss: Option<f64>,
    pub(crate) test_error: Option<f64>,
    pub(crate) test_top5_error: Option<f64>,
    pub(crate) validation_loss: Option<f64>,
    pub(crate) validation_error: Option<f64>,
    /// Further metrics of the validation samples, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metrics: BTreeMap<String, Option<f64>>,
    pub(crate) seconds: Option<f64>,
}

impl Epoch {
    fn new(record: EpochRecord, step: Option<usize>) -> Self {
        Self {
            epoch: record.epoch,
            step,
            train_loss: finite(record.train_loss),
            train_error: record.train_error,
            test_loss: record.test_loss,
            test_error: record.test_error,
            test_top5_error: record.test_top5_error,
            validation_loss: record.validation_loss,
            validation_error: record.validation_error,
            metrics: record
                .metrics
                .into_iter()
                .map(|(name, value)| (name, finite(value)))
                .collect(),
            seconds: finite(record.seconds),
        }
    }
}

/// Returns the value if it is finite. Other values are recorded as null and read as NaN.
pub(crate) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The early end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct EarlyEnd {
    pub(crate) how: How,
    pub(crate) step: usize,
}

/// Ways in which a run ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    Interrupted,
    Diverged,
}

/// The records of the file.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) end: Option<EndRecord>,
    pub(crate) early_end: Option<EarlyEnd>,
}

impl Metrics {
    /// Reads the file in the folder of a run.
    pub(crate) fn read(folder: &Path) -> Result<Self, ReportError> {
        let path = folder.join(METRICS);
        match File::open(&path) {
            Ok(file) => Self::parse(&path, file),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(ReportError::NoRun { path: folder.to_path_buf(), missing: METRICS })
            }
            Err(error) => Err(ReportError::file(&path)(error)),
        }
    }

    /// Parses all lines. A last line without a line break is ignored, because it may be incomplete.
    pub(crate) fn parse(path: &Path, source: impl Read) -> Result<Self, ReportError> {
        let (mut metrics, mut line) = (Self::default(), Vec::new());
        let mut reader = BufReader::new(source);
        for number in 1.. {
            line.clear();
            reader.read_until(b'\n', &mut line).map_err(ReportError::file(path))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(parsed) => metrics.add(parsed),
                Err(error) => {
                    let message = format!(
                        "expected one JSON object with an `event`: {}; restore the file, or \
                         remove this line",
                        json_message(&error)
                    );
                    return Err(ReportError::malformed(path, Some(number), message));
                }
            }
        }
        Ok(metrics)
    }

    /// Adds a line. If its step or epoch was already added, the line replaces it and all later ones.
    fn add(&mut self, line: Line) {
        match line {
            Line::Step(step) => {
                let earlier = self.steps.partition_point(|other| other.step < step.step);
                self.steps.truncate(earlier);
                self.steps.push(step);
                (self.end, self.early_end) = (None, None);
            }
            Line::Epoch(record) => {
                let earlier = self.epochs.partition_point(|other| other.epoch < record.epoch);
                self.epochs.truncate(earlier);
                let step = self.steps.last().map(|step| step.step);
                self.epochs.push(Epoch::new(record, step));
            }
            Line::End(end) => (self.end, self.early_end) = (Some(end), None),
            Line::Interrupted { step } => {
                self.early_end = Some(EarlyEnd { how: How::Interrupted, step });
            }
            Line::Diverged { step, .. } => {
                self.early_end = Some(EarlyEnd { how: How::Diverged, step });
            }
            Line::Distillation(_) | Line::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Metrics, ReportError> {
        Metrics::parse(Path::new("run/metrics.jsonl"), text.as_bytes())
    }

    fn step(number: usize) -> String {
        format!(
            "{{\"event\":\"step\",\"epoch\":1,\"step\":{number},\"loss\":2.5,\"error\":0.5,\
             \"learning_rate\":0.1,\"images_per_second\":100.0,\"later\":[1]}}\n"
        )
    }

    const EPOCH: &str = "{\"event\":\"epoch\",\"epoch\":1,\"train_loss\":1.0,\"train_error\":0.5,\
         \"test_loss\":null,\"test_error\":null,\"seconds\":3.5}\n";

    #[test]
    fn unknown_lines_are_ignored() {
        let text = step(1)
            + &step(2)
            + EPOCH
            + "{\"event\":\"weather\",\"rain\":true}\n\
               {\"event\":\"end\",\"seconds\":4.5,\"subnetworks\":\
               [{\"computing\":0.5,\"coarse\":0.25,\"waiting\":0.25}]}\n";
        let metrics = parse(&text).unwrap();
        assert_eq!(metrics.steps.len(), 2);
        assert_eq!(metrics.steps[1].loss, 2.5);
        assert_eq!(metrics.steps[1].gradient_norm, None);
        assert_eq!(metrics.epochs[0].step, Some(2));
        assert_eq!(metrics.epochs[0].test_error, None);
        let end = metrics.end.unwrap();
        assert_eq!((end.seconds, end.usage.subnetworks.len()), (4.5, 1));
        assert!(end.usage.workers.is_empty());
        assert!(end.usage.subnetworks[0].waiting_for_worker.is_none());
        assert!(parse("{\"event\":\"end\",\"seconds\":1}\n").unwrap().end.is_some());
    }

    #[test]
    fn metrics_are_kept_by_name() {
        let text = EPOCH
            .replace("\"seconds\"", "\"metrics\":{\"accuracy\":0.5,\"score\":null},\"seconds\"");
        let epochs = parse(&text).unwrap().epochs;
        let expected = [("accuracy".to_string(), Some(0.5)), ("score".to_string(), None)];
        assert_eq!(epochs[0].metrics, expected.into());
        let without = parse(EPOCH).unwrap().epochs;
        assert!(!serde_json::to_string(&without[0]).unwrap().contains("metrics"));
    }

    #[test]
    fn an_early_end_counts_until_the_run_is_resumed() {
        let interrupted = "{\"event\":\"interrupted\",\"step\":1}\n";
        let diverged = "{\"event\":\"diverged\",\"step\":3,\"message\":\"the loss is NaN\"}\n";
        let early_end = |text: String| parse(&text).unwrap().early_end;
        let found = early_end(step(1) + interrupted);
        assert_eq!(found, Some(EarlyEnd { how: How::Interrupted, step: 1 }));
        assert_eq!(early_end(step(1) + interrupted + &step(2)), None);
        let found = early_end(step(1) + interrupted + &step(2) + diverged);
        assert_eq!(found, Some(EarlyEnd { how: How::Diverged, step: 3 }));
    }

    #[test]
    fn a_last_line_without_a_line_break_is_ignored() {
        assert_eq!(parse(&(step(1) + "{\"event\":\"st")).unwrap().steps.len(), 1);
        assert_eq!(parse(&(step(1) + step(2).trim_end())).unwrap().steps.len(), 1);
        assert!(parse("").unwrap().steps.is_empty());
    }

    #[test]
    fn an_invalid_line_is_an_error() {
        for broken in [
            "{\"event\":\"st\n",
            "\n",
            "[]\n",
            "{\"loss\":1}\n",
            "{\"event\":\"step\",\"epoch\":1,\"step\":2}\n",
            "{\"event\":\"step\",\"epoch\":1,\"step\":-2,\"loss\":1,\"error\":0,\
             \"learning_rate\":1,\"images_per_second\":1}\n",
        ] {
            let error = parse(&(step(1) + broken + &step(3))).unwrap_err();
            let message = error.to_string();
            assert!(message.starts_with("run/metrics.jsonl: line 2: expected one"), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        let text = [step(1).as_bytes(), b"\xff\xfe\n"].concat();
        let error = Metrics::parse(Path::new("m"), text.as_slice()).unwrap_err();
        assert!(error.to_string().starts_with("m: line 2: "), "{error}");
    }

    #[test]
    fn null_is_read_as_nan() {
        let text = step(1).replace("2.5", "null");
        assert!(parse(&text).unwrap().steps[0].loss.is_nan());
    }

    #[test]
    fn a_repeated_step_replaces_the_earlier_lines() {
        let end = "{\"event\":\"end\",\"seconds\":4.5}\n";
        let text = step(1) + &step(2) + EPOCH + end + &step(2) + &step(3) + EPOCH;
        let metrics = parse(&text).unwrap();
        let steps: Vec<usize> = metrics.steps.iter().map(|step| step.step).collect();
        assert_eq!(steps, [1, 2, 3]);
        assert_eq!(metrics.epochs.len(), 1);
        assert_eq!(metrics.epochs[0].step, Some(3));
        assert!(metrics.end.is_none());
    }
}
