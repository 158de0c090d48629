//! Files in the folder `evaluations`.

use serde::{Deserialize, Serialize};

/// Largest number of classes for which a confusion matrix is kept: its size is the square of this number.
pub const CONFUSION_CLASSES: usize = 1000;

/// Details of the evaluation of one checkpoint: the confusion matrix and the most confident
/// mistakes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Epoch of the checkpoint, from 1.
    pub epoch: usize,
    /// Step of the checkpoint, from 1.
    pub step: usize,
    /// Fraction of misclassified test images.
    pub test_error: Option<f64>,
    /// Number of test images; `None` in files of earlier versions.
    #[serde(default)]
    pub images: Option<usize>,
    /// Name of each class.
    pub class_names: Vec<String>,
    /// Confusion matrix: the number of images by class (row) and predicted class (column). Empty for more than
    /// [`CONFUSION_CLASSES`].
    pub confusion: Vec<Vec<usize>>,
    /// The most confident mistakes.
    #[serde(default)]
    pub worst: Vec<Mistake>,
}

/// A misclassified image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Position among the test images, from 0.
    pub index: usize,
    /// The true class.
    pub label: usize,
    /// The predicted class.
    pub answer: usize,
    /// Probability that the network assigns to the predicted class.
    pub probability: f64,
    /// The image as a PNG file in base64.
    pub png: String,
}
