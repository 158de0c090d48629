//! Metrics of the validation samples.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Int, Tensor};
use parareal_text::panic_message;

use crate::TrainError;

/// Longest name of a metric, in characters.
const LONGEST_NAME: usize = 64;

/// A function of a batch's output and target.
type Function<O, T> = dyn Fn(O, T) -> f64 + Send + Sync;

/// A metric with its name.
pub(super) struct Metric<O, T> {
    pub(super) name: String,
    pub(super) of_batch: Box<Function<O, T>>,
}

impl<O, T> Metric<O, T> {
    /// Computes the metric of a batch.
    ///
    /// # Errors
    /// If the metric panics. The error contains the message of the panic.
    pub(super) fn apply(&self, output: O, target: T) -> Result<f64, String> {
        catch_unwind(AssertUnwindSafe(|| (self.of_batch)(output, target))).map_err(|panic| {
            format!("the metric `{}` panicked: {}", self.name, panic_message(&*panic))
        })
    }

    /// Checks the names of metrics.
    ///
    /// # Errors
    /// If a name is empty, too long, not printable, used twice, or `loss` ([`TrainError::Setting`]).
    pub(super) fn check_names(metrics: &[Self]) -> Result<(), TrainError> {
        let mut names = BTreeSet::from(["loss"]);
        for Self { name, .. } in metrics {
            let refuse =
                |expected: &str| TrainError::setting("metric", name.escape_debug(), expected);
            let count = name.chars().count();
            if !(1..=LONGEST_NAME).contains(&count) || name.chars().any(char::is_control) {
                let expected =
                    format!("expected a name of 1 to {LONGEST_NAME} printable characters");
                return Err(refuse(&expected));
            }
            if !names.insert(name) {
                return Err(refuse(match name.as_str() {
                    "loss" => "the loss has this name; choose another",
                    _ => "another metric has this name; choose another",
                }));
            }
        }
        Ok(())
    }
}

/// Returns the fraction of samples whose class has the highest score, from scores `[batch, classes]` and class
/// numbers `[batch]`.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use parareal_train::accuracy;
///
/// let device = Device::flex();
/// let scores = Tensor::<2>::from_data([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]], &device);
/// let classes = Tensor::<1, Int>::from_data([0, 1, 1, 0], &device);
/// assert_eq!(accuracy(scores, classes), 0.75);
/// ```
#[must_use]
pub fn accuracy(scores: Tensor<2>, classes: Tensor<1, Int>) -> f64 {
    let samples = scores.dims()[0].max(1);
    let chosen = scores.argmax(1).into_data();
    let classes = classes.into_data();
    let right = chosen.iter::<i64>().zip(classes.iter::<i64>()).filter(|(a, b)| a == b).count();
    right as f64 / samples as f64
}
