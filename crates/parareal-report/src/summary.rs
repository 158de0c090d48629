//! Summary of the results of a run.

use std::collections::BTreeMap;

use serde::Serialize;

use parareal_run::EndRecord;

use crate::metrics::{EarlyEnd, Epoch};
use crate::settings::Objective;

/// One row of the table of results.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// True if the run has ended, or has completed all of its epochs.
    finished: bool,
    /// The early end, if the metrics record one.
    early_end: Option<EarlyEnd>,
    /// Number of complete epochs.
    epochs: usize,
    /// Configured number of epochs.
    planned: Option<usize>,
    /// Training error of the last epoch, like the following errors, losses and metrics.
    train_error: Option<f64>,
    test_error: Option<f64>,
    test_top5_error: Option<f64>,
    validation_error: Option<f64>,
    train_loss: Option<f64>,
    test_loss: Option<f64>,
    validation_loss: Option<f64>,
    /// Further metrics of the validation samples, by name.
    metrics: BTreeMap<String, Option<f64>>,
    best: Option<Best>,
    /// Mean training time of an epoch.
    seconds_per_epoch: Option<f64>,
    /// Duration of the whole run, or the training time of its epochs if no end is recorded.
    seconds: Option<f64>,
}

/// The best epoch.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Best {
    epoch: usize,
    by: By,
    test_error: Option<f64>,
    validation_error: Option<f64>,
    /// The value that decided, if it is not an error.
    value: Option<f64>,
    /// The name of `value`: `loss` or a metric.
    metric: Option<String>,
    /// True if the highest value is the best; `None` if this is not recorded.
    highest: Option<bool>,
}

/// Kinds of values that decide which epoch is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum By {
    /// The error of the validation samples.
    Validation,
    /// The error of the test samples.
    Test,
    /// A loss or metric of the validation samples.
    Metric,
}

/// Name of the loss as an objective.
const LOSS: &str = "loss";

impl Summary {
    pub(crate) fn new(
        epochs: &[Epoch],
        best: Option<Best>,
        planned: Option<usize>,
        end: Option<&EndRecord>,
        early_end: Option<EarlyEnd>,
    ) -> Self {
        let last = epochs.last().cloned().unwrap_or_default();
        let times: Vec<f64> = epochs.iter().filter_map(|epoch| epoch.seconds).collect();
        let training = (!times.is_empty()).then(|| times.iter().sum::<f64>());
        let last_epoch = epochs.last().map_or(0, |epoch| epoch.epoch);
        Self {
            finished: end.is_some() || planned.is_some_and(|planned| last_epoch >= planned),
            early_end,
            epochs: last_epoch,
            planned,
            train_error: last.train_error,
            test_error: last.test_error,
            test_top5_error: last.test_top5_error,
            validation_error: last.validation_error,
            train_loss: last.train_loss,
            test_loss: last.test_loss,
            validation_loss: last.validation_loss,
            metrics: last.metrics,
            best,
            seconds_per_epoch: training.map(|training| training / times.len() as f64),
            seconds: end.map(|end| end.seconds).or(training),
        }
    }
}

impl Best {
    /// Finds the best epoch. The first of these criteria that applies decides:
    ///
    /// 1. The objective that the settings of the run name.
    /// 2. The step in `best.json`, if it was recorded with a metric.
    /// 3. The error of the validation samples, or of the test samples if there are no validation errors.
    /// 4. The validation loss.
    pub(crate) fn of(
        epochs: &[Epoch],
        objective: Option<Objective<'_>>,
        recorded: Option<&parareal_run::Best>,
    ) -> Option<Self> {
        let lowest_loss = Objective { name: LOSS, highest: false };
        objective
            .and_then(|objective| Self::by_objective(epochs, objective))
            .or_else(|| Self::recorded(epochs, recorded?))
            .or_else(|| Self::by_error(epochs))
            .or_else(|| Self::by_objective(epochs, lowest_loss))
    }

    fn by_objective(epochs: &[Epoch], objective: Objective<'_>) -> Option<Self> {
        let Objective { name, highest } = objective;
        let value_of = |epoch: &Epoch| match name {
            LOSS => epoch.validation_loss,
            name => epoch.metrics.get(name).copied().flatten(),
        };
        let valued = epochs.iter().filter_map(|epoch| Some((value_of(epoch)?, epoch)));
        // Of several equally good epochs, the first is the best.
        let (value, epoch) = valued.reduce(|best, next| {
            let better = if highest { next.0 > best.0 } else { next.0 < best.0 };
            if better { next } else { best }
        })?;
        Some(Self::with_metric(epoch, name, value, Some(highest)))
    }

    fn recorded(epochs: &[Epoch], best: &parareal_run::Best) -> Option<Self> {
        let epoch = epochs.iter().find(|epoch| epoch.step == Some(best.step))?;
        Some(Self::with_metric(epoch, best.metric.as_deref()?, best.value, None))
    }

    fn with_metric(epoch: &Epoch, metric: &str, value: f64, highest: Option<bool>) -> Self {
        Self {
            epoch: epoch.epoch,
            by: By::Metric,
            test_error: epoch.test_error,
            validation_error: epoch.validation_error,
            value: Some(value),
            metric: Some(metric.to_owned()),
            highest,
        }
    }

    fn by_error(epochs: &[Epoch]) -> Option<Self> {
        let validated = epochs.iter().any(|epoch| epoch.validation_error.is_some());
        let by = if validated { By::Validation } else { By::Test };
        let error_of = |epoch: &Epoch| match validated {
            true => epoch.validation_error,
            false => epoch.test_error,
        };
        // Of several equally good epochs, the first is the best.
        let best = epochs
            .iter()
            .filter_map(|epoch| error_of(epoch).map(|error| (error, epoch)))
            .min_by(|(a, _), (b, _)| a.total_cmp(b));
        best.map(|(_, epoch)| Self {
            epoch: epoch.epoch,
            by,
            test_error: epoch.test_error,
            validation_error: epoch.validation_error,
            value: None,
            metric: None,
            highest: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summarized(epochs: &[Epoch], planned: Option<usize>, end: Option<&EndRecord>) -> Summary {
        Summary::new(epochs, Best::of(epochs, None, None), planned, end, None)
    }

    fn epochs(test_errors: &[Option<f64>]) -> Vec<Epoch> {
        let epoch = |(index, &test_error): (usize, &Option<f64>)| Epoch {
            epoch: index + 1,
            test_error,
            seconds: Some(10.0 + index as f64),
            ..Epoch::default()
        };
        test_errors.iter().enumerate().map(epoch).collect()
    }

    #[test]
    fn the_first_of_the_best_epochs_is_named() {
        let epochs = epochs(&[Some(0.5), Some(0.1), Some(0.1), Some(0.2)]);
        let summary = summarized(&epochs, Some(5), None);
        let best = summary.best.unwrap();
        assert_eq!((best.epoch, best.by, best.test_error), (2, By::Test, Some(0.1)));
        assert_eq!(summary.test_error, Some(0.2));
        assert_eq!(summary.seconds_per_epoch, Some(11.5));
        assert_eq!((summary.seconds, summary.finished), (Some(46.0), false));
        assert!(summarized(&epochs, Some(4), None).finished);
    }

    #[test]
    fn validation_images_decide_if_there_are_any() {
        let mut epochs = epochs(&[Some(0.1), Some(0.2), None]);
        epochs[0].validation_error = Some(0.4);
        epochs[1].validation_error = Some(0.3);
        let best = summarized(&epochs, None, None).best.unwrap();
        assert_eq!((best.epoch, best.by, best.test_error), (2, By::Validation, Some(0.2)));
    }

    #[test]
    fn a_run_without_an_epoch_or_test_images_has_no_best() {
        let summary = summarized(&[], Some(8), None);
        assert!(summary.best.is_none() && summary.seconds_per_epoch.is_none());
        assert_eq!(summary.seconds, None);
        let end = EndRecord { seconds: 99.0, ..EndRecord::default() };
        let summary = summarized(&epochs(&[None]), None, Some(&end));
        assert!(summary.best.is_none());
        assert_eq!((summary.seconds, summary.finished), (Some(99.0), true));
    }

    #[test]
    fn the_objective_of_the_run_decides() {
        let epoch = |(index, &(loss, score)): (usize, &(f64, Option<f64>))| Epoch {
            epoch: index + 1,
            step: Some(5 * (index + 1)),
            validation_loss: Some(loss),
            metrics: [("score".to_owned(), score)].into(),
            ..Epoch::default()
        };
        let values = [(0.9, Some(0.5)), (0.4, Some(0.7)), (0.4, None), (0.6, Some(0.7))];
        let epochs: Vec<Epoch> = values.iter().enumerate().map(epoch).collect();
        let found = |objective, recorded| {
            let best = Best::of(&epochs, objective, recorded).unwrap();
            assert_eq!(best.by, By::Metric);
            (best.epoch, best.metric.unwrap(), best.value.unwrap(), best.highest)
        };
        let of = |name, highest| Some(Objective { name, highest });
        let by_score = (2, "score".to_owned(), 0.7, Some(true));
        assert_eq!(found(of("score", true), None), by_score);
        let by_loss = (2, "loss".to_owned(), 0.4, Some(false));
        assert_eq!(found(of("loss", false), None), by_loss);
        // Without an objective, as recorded; without a record, by the loss.
        let recorded = parareal_run::Best { step: 20, value: 0.7, metric: Some("score".into()) };
        let as_recorded = (4, "score".to_owned(), 0.7, None);
        assert_eq!(found(None, Some(&recorded)), as_recorded);
        assert_eq!(found(None, None), by_loss);
        assert_eq!(found(of("other", true), None), by_loss);
    }
}
