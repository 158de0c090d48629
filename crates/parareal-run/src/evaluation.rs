//! Files in the folder `evaluations`.

use serde::{Deserialize, Serialize};

/// Details of the evaluation of one checkpoint: which classes were taken for which, and the most
/// confident mistakes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Epoch of the checkpoint, from 1.
    pub epoch: usize,
    /// Step of the checkpoint, from 1.
    pub step: usize,
    /// Share of wrong answers.
    pub test_error: Option<f64>,
    /// Number of test images; `None` in files of earlier versions.
    #[serde(default)]
    pub images: Option<usize>,
    /// Name of each class.
    pub class_names: Vec<String>,
    /// For each class (row) the number of its images that were taken for each class (column).
    pub confusion: Vec<Vec<usize>>,
    /// The most confident mistakes.
    #[serde(default)]
    pub worst: Vec<Mistake>,
}

/// An image with a wrong answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Position among the test images, from 0.
    pub index: usize,
    /// Its class.
    pub label: usize,
    /// The class it was taken for.
    pub answer: usize,
    /// Probability of the answer, according to the network.
    pub probability: f64,
    /// The image as a PNG file in base 64.
    pub png: String,
}
