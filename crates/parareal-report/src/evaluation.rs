//! `evaluation.json`: what a trained network takes for what.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ReportError;
use crate::error::json_message;

const FILE: &str = "evaluation.json";

/// The file, where it exists.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Evaluation {
    epoch: u64,
    step: u64,
    test_error: Option<f64>,
    class_names: Vec<String>,
    /// How many images of the class of the row were taken for the class of the column.
    confusion: Vec<Vec<u64>>,
    #[serde(default)]
    worst: Vec<Mistake>,
}

/// An image with a wrong answer.
#[derive(Debug, Deserialize, Serialize)]
struct Mistake {
    index: u64,
    label: usize,
    answer: usize,
    probability: f64,
    /// The image as a PNG file in base 64.
    png: String,
}

impl Evaluation {
    /// Reads the file in the folder of a run.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, ReportError> {
        let path = folder.join(FILE);
        match std::fs::read(&path) {
            Ok(text) => Self::parse(&path, &text).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ReportError::file(&path)(error)),
        }
    }

    pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Self, ReportError> {
        let evaluation: Self = serde_json::from_slice(text).map_err(|error| {
            let message = format!("{}; evaluate the run anew", json_message(&error));
            ReportError::malformed(path, Some(error.line()), message)
        })?;
        evaluation.check().map_err(|wrong| {
            ReportError::malformed(path, None, format!("{wrong}; evaluate the run anew"))
        })?;
        Ok(evaluation)
    }

    fn check(&self) -> Result<(), String> {
        let classes = self.class_names.len();
        let (rows, columns) = (self.confusion.len(), self.confusion.iter().map(Vec::len));
        if rows != classes || columns.clone().any(|columns| columns != classes) {
            let widest = columns.max().unwrap_or(0);
            return Err(format!(
                "expected {classes} rows and columns in `confusion`, one for each of \
                 `class_names`, found {rows} rows of up to {widest}"
            ));
        }
        for (number, mistake) in self.worst.iter().enumerate() {
            let number = number + 1;
            let class = mistake.label.max(mistake.answer);
            if class >= classes {
                return Err(format!(
                    "expected classes below {classes} in `worst`, found {class} in entry {number}"
                ));
            }
            if !is_base64(&mistake.png) {
                return Err(format!(
                    "expected base 64 as `png` in `worst`, found something else in entry {number}"
                ));
            }
        }
        Ok(())
    }
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
    fn what_was_written_is_read() {
        let evaluation = Evaluation::parse(Path::new("e"), GOOD.as_bytes()).unwrap();
        assert_eq!(evaluation.confusion, [[3, 1], [0, 4]]);
        assert_eq!(evaluation.worst[0].index, 7);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (from, to, expected) in [
            ("[0, 4]", "[0]", "expected 2 rows and columns in `confusion`"),
            ("[[3, 1], [0, 4]]", "[]", "found 0 rows of up to 0"),
            ("\"answer\": 1", "\"answer\": 2", "expected classes below 2 in `worst`, found 2"),
            ("iVBORw0K", "javascript:", "expected base 64"),
            ("\"epoch\": 4", "\"epoch\": -4", "evaluation.json, line 1: "),
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
