//! Evaluations of a run: confusion matrices and mistakes.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use parareal_run::names::{self, EVALUATIONS, OLD_EVALUATION};
use parareal_run::{CONFUSION_CLASSES, EvaluationRecord};
use serde::Serialize;

use crate::ReportError;
use crate::error::json_message;

/// The evaluation of one checkpoint. The fields have been checked.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Evaluation(EvaluationRecord);

impl Evaluation {
    /// Reads the evaluation of the step `epoch_end`, the last step of the last complete epoch. If there is
    /// none, reads the last evaluation up to `last_step`, the last step of the run. Returns `None` if there
    /// is no such evaluation.
    pub(crate) fn read(
        folder: &Path,
        epoch_end: Option<usize>,
        last_step: Option<usize>,
    ) -> Result<Option<Self>, ReportError> {
        let old = match fs::read(folder.join(OLD_EVALUATION)) {
            Ok(text) => Some(Self::parse(&folder.join(OLD_EVALUATION), &text)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(ReportError::file(&folder.join(OLD_EVALUATION))(error)),
        };
        let files = files(&folder.join(EVALUATIONS))?;
        let steps = files.iter().map(|(step, _)| *step).chain(old.as_ref().map(|old| old.0.step));
        // If a run was resumed from an earlier checkpoint, there may be evaluations of steps that it has not
        // reached again.
        let reached: Vec<usize> =
            steps.filter(|&step| last_step.is_none_or(|last| step <= last)).collect();
        let wanted = epoch_end.filter(|step| reached.contains(step));
        let Some(wanted) = wanted.or(reached.into_iter().max()) else { return Ok(None) };
        match files.iter().find(|(step, _)| *step == wanted) {
            Some((_, path)) => {
                let text = fs::read(path).map_err(ReportError::file(path))?;
                Self::parse(path, &text).map(Some)
            }
            None => Ok(old),
        }
    }

    /// Returns the number of test images.
    pub(crate) fn images(&self) -> usize {
        // The confusion matrix does not count images without a prediction.
        self.0.images.unwrap_or_else(|| self.0.confusion.iter().flatten().sum())
    }

    pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Self, ReportError> {
        let record: EvaluationRecord = serde_json::from_slice(text).map_err(|error| {
            let message = format!("{}; evaluate the run again", json_message(&error));
            ReportError::malformed(path, Some(error.line()), message)
        })?;
        let evaluation = Self(record);
        evaluation.check().map_err(|wrong| {
            ReportError::malformed(path, None, format!("{wrong}; evaluate the run again"))
        })?;
        Ok(evaluation)
    }

    fn check(&self) -> Result<(), String> {
        let EvaluationRecord { class_names, confusion, worst, .. } = &self.0;
        let classes = class_names.len();
        let (rows, columns) = (confusion.len(), confusion.iter().map(Vec::len));
        let is_left_out = rows == 0 && classes > CONFUSION_CLASSES;
        if !is_left_out && (rows != classes || columns.clone().any(|columns| columns != classes)) {
            let widest = columns.max().unwrap_or(0);
            return Err(format!(
                "expected {classes} rows and columns in `confusion`, one for each of \
                 `class_names`, got {rows} rows of up to {widest}"
            ));
        }
        for (number, mistake) in worst.iter().enumerate() {
            let number = number + 1;
            let class = mistake.label.max(mistake.answer);
            if class >= classes {
                return Err(format!(
                    "expected classes below {classes} in `worst`, got {class} in entry {number}"
                ));
            }
            if !is_base64(&mistake.png) {
                return Err(format!(
                    "expected base64 data as `png` in `worst`, got something else in entry {number}"
                ));
            }
        }
        Ok(())
    }
}

/// Lists the evaluations in a folder, with the steps in their names. The list is empty if the folder does not
/// exist.
fn files(folder: &Path) -> Result<Vec<(usize, PathBuf)>, ReportError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(ReportError::file(folder))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(ReportError::file(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let step = name.and_then(names::step_of_evaluation);
        files.extend(step.map(|step| (step, path)));
    }
    Ok(files)
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    !digits.is_empty() && text.len().is_multiple_of(4) && digits.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"epoch": 4, "step": 1500, "test_error": 0.25,
        "class_names": ["cat", "dog"], "confusion": [[3, 1], [0, 4]],
        "worst": [{"index": 7, "label": 0, "answer": 1, "probability": 0.98, "png": "iVBORw0K"}]}"#;

    fn message(text: &str) -> String {
        let error = Evaluation::parse(Path::new("evaluation.json"), text.as_bytes()).unwrap_err();
        assert!(error.is_bad_input());
        error.to_string()
    }

    #[test]
    fn an_evaluation_is_read_as_written() {
        let evaluation = Evaluation::parse(Path::new("e"), GOOD.as_bytes()).unwrap();
        assert_eq!(evaluation.0.confusion, [[3, 1], [0, 4]]);
        assert_eq!(evaluation.0.worst[0].index, 7);
        assert_eq!(evaluation.images(), 8);
    }

    #[test]
    fn a_matrix_of_many_classes_may_be_left_out() {
        let text = GOOD.replace("[[3, 1], [0, 4]]", "[], \"images\": 9");
        let names: Vec<String> = (0..=CONFUSION_CLASSES).map(|class| class.to_string()).collect();
        let names = serde_json::to_string(&names).unwrap();
        let many = text.replace(r#"["cat", "dog"]"#, &names);
        let evaluation = Evaluation::parse(Path::new("e"), many.as_bytes()).unwrap();
        assert_eq!(evaluation.images(), 9);
        assert!(message(&text).contains("got 0 rows of up to 0"));
    }

    #[test]
    fn the_evaluation_after_the_last_epoch_is_taken() {
        let run = tempfile::tempdir().unwrap();
        let read = |epoch_end, last_step| {
            let found = Evaluation::read(run.path(), epoch_end, last_step).unwrap();
            found.map(|evaluation| (evaluation.0.step, evaluation.images()))
        };
        assert_eq!(read(Some(20), Some(20)), None);
        let old = GOOD.replace("1500", "10");
        fs::write(run.path().join(OLD_EVALUATION), old).unwrap();
        assert_eq!(read(Some(20), Some(20)), Some((10, 8)));
        let folder = run.path().join(EVALUATIONS);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("notes.txt"), "").unwrap();
        for step in [15, 20, 22, 40] {
            let text = GOOD.replace("1500", &step.to_string());
            let text = text.replace("\"class_names\"", "\"images\": 9, \"class_names\"");
            fs::write(folder.join(format!("step-{step:08}.json")), text).unwrap();
        }
        assert_eq!(read(Some(20), Some(25)), Some((20, 9)));
        assert_eq!(read(Some(10), Some(12)), Some((10, 8)));
        assert_eq!(read(Some(30), Some(30)), Some((22, 9)));
        assert_eq!(read(None, None), Some((40, 9)));
    }

    #[test]
    fn inconsistent_content_is_an_error() {
        for (from, to, expected) in [
            ("[0, 4]", "[0]", "expected 2 rows and columns in `confusion`"),
            ("[[3, 1], [0, 4]]", "[]", "got 0 rows of up to 0"),
            ("\"answer\": 1", "\"answer\": 2", "expected classes below 2 in `worst`, got 2"),
            ("iVBORw0K", "javascript:", "expected base64"),
            ("\"epoch\": 4", "\"epoch\": -4", "evaluation.json: line 1: "),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            let message = message(&text);
            assert!(message.contains(expected), "{message}");
            assert!(message.starts_with("evaluation.json"), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}
