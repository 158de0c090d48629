//! Objectives by which epochs are compared.

use std::fmt;

use parareal_run::{Best, EpochRecord};

/// Name of the loss of the validation samples.
const LOSS: &str = "loss";

/// Objective by which epochs are compared, for the best checkpoint and for patience: the lowest or highest
/// loss or metric of the validation samples.
///
/// A value that is infinite or NaN is never the best. Of several epochs with the same value, the first one is the
/// best.
///
/// ```
/// use parareal_train::Objective;
///
/// assert_eq!(Objective::highest("accuracy").to_string(), "highest accuracy");
/// assert_eq!(Objective::lowest("loss").to_string(), "lowest loss");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objective(Kind);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// The error of the validation samples, or of the test samples if there are no validation samples.
    #[default]
    Error,
    /// The loss or a metric of the validation samples. The best value is the highest one if `highest` is true,
    /// and the lowest one otherwise.
    Named { name: String, highest: bool },
}

impl Objective {
    /// Lowest error of the validation samples, or of the test samples if there are no validation samples. Only
    /// tasks that count wrong predictions have an error. This is the objective of the `parareal` command.
    #[must_use]
    pub fn error() -> Self {
        Self(Kind::Error)
    }

    /// Lowest value of `loss` or of a metric by its name.
    #[must_use]
    pub fn lowest(name: impl Into<String>) -> Self {
        Self(Kind::Named { name: name.into(), highest: false })
    }

    /// Highest value of `loss` or of a metric by its name.
    #[must_use]
    pub fn highest(name: impl Into<String>) -> Self {
        Self(Kind::Named { name: name.into(), highest: true })
    }

    /// Returns `loss` or the name of the metric; `None` for the error.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Named { name, .. } => Some(name),
            Kind::Error => None,
        }
    }

    /// Returns the value of an epoch, if it has one.
    fn value(&self, epoch: &EpochRecord) -> Option<f64> {
        match &self.0 {
            Kind::Error => epoch.deciding_error(),
            Kind::Named { name, .. } if name == LOSS => epoch.validation_loss,
            Kind::Named { name, .. } => epoch.metrics.get(name).copied(),
        }
    }

    fn is_better(&self, value: f64, than: f64) -> bool {
        match &self.0 {
            Kind::Named { highest: true, .. } => value > than,
            _ => value < than,
        }
    }

    /// Returns the position of the best value; `None` if no value is finite.
    fn best_of(&self, values: &[f64]) -> Option<usize> {
        let finite = values.iter().enumerate().filter(|(_, value)| value.is_finite());
        let best = finite.reduce(|best, next| match self.is_better(*next.1, *best.1) {
            true => next,
            false => best,
        });
        best.map(|(position, _)| position)
    }

    /// Returns the record of the last epoch, if that epoch is the best one.
    pub(crate) fn best(&self, epochs: &[EpochRecord], step: usize) -> Option<Best> {
        self.value(epochs.last()?)?;
        let values: Vec<f64> = epochs.iter().filter_map(|epoch| self.value(epoch)).collect();
        let last = values.len() - 1;
        let metric = match &self.0 {
            Kind::Error => None,
            Kind::Named { name, .. } => Some(name.clone()),
        };
        (self.best_of(&values)? == last).then(|| Best { step, value: values[last], metric })
    }

    /// Returns true if the last `patience` epochs brought no new best value, or if there are at least `patience`
    /// epochs and none has a finite value.
    pub(crate) fn is_out_of_patience(
        &self,
        epochs: &[EpochRecord],
        patience: Option<usize>,
    ) -> bool {
        let Some(patience) = patience else { return false };
        let values: Vec<f64> = epochs.iter().filter_map(|epoch| self.value(epoch)).collect();
        let since_best = match self.best_of(&values) {
            Some(best) => values.len() - 1 - best,
            None => values.len(),
        };
        !values.is_empty() && since_best >= patience
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Error => f.write_str("lowest error"),
            Kind::Named { name, highest: true } => write!(f, "highest {name}"),
            Kind::Named { name, highest: false } => write!(f, "lowest {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(values: &[f64]) -> Vec<EpochRecord> {
        let record = |&value: &f64| EpochRecord {
            validation_loss: Some(value),
            metrics: [("score".to_string(), -value)].into(),
            ..EpochRecord::default()
        };
        values.iter().map(record).collect()
    }

    #[test]
    fn the_first_of_the_best_epochs_stays_the_best() {
        for objective in [Objective::lowest("loss"), Objective::highest("score")] {
            let is_best = |values: &[f64]| objective.best(&epochs(values), 7).is_some();
            assert!(is_best(&[2.0]) && is_best(&[2.0, 1.0]));
            assert!(!is_best(&[2.0, 2.0]) && !is_best(&[1.0, 2.0]));
        }
        let best = Objective::highest("score").best(&epochs(&[2.0, 1.0]), 7).unwrap();
        assert_eq!(best, Best { step: 7, value: -1.0, metric: Some("score".into()) });
        assert!(Objective::highest("other").best(&epochs(&[2.0, 1.0]), 7).is_none());
        assert!(Objective::error().best(&epochs(&[2.0, 1.0]), 7).is_none());
    }

    #[test]
    fn a_value_that_is_not_finite_is_never_the_best() {
        for objective in [Objective::lowest("loss"), Objective::highest("score")] {
            for bad in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
                assert!(objective.best(&epochs(&[bad]), 1).is_none());
                assert!(objective.best(&epochs(&[1.0, bad]), 1).is_none());
                assert!(objective.best(&epochs(&[bad, 1.0]), 1).is_some());
                let is_over =
                    |values: &[f64]| objective.is_out_of_patience(&epochs(values), Some(2));
                assert!(!is_over(&[bad]) && is_over(&[bad, bad]));
                assert!(!is_over(&[bad, 1.0, bad]) && is_over(&[1.0, bad, bad]));
            }
        }
    }

    #[test]
    fn patience_counts_epochs_without_a_new_best() {
        let objective = Objective::lowest("loss");
        let is_over = |values: &[f64]| objective.is_out_of_patience(&epochs(values), Some(2));
        assert!(!is_over(&[]) && !is_over(&[1.0, 2.0]) && !is_over(&[1.0, 2.0, 0.5]));
        assert!(is_over(&[1.0, 2.0, 1.0]));
        assert!(!objective.is_out_of_patience(&epochs(&[1.0, 2.0, 3.0]), None));
        // Epochs without a value do not count.
        assert!(!Objective::error().is_out_of_patience(&epochs(&[1.0, 2.0, 3.0]), Some(1)));
    }
}
