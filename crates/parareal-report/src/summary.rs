//! What a run came to, in a few numbers.

use serde::Serialize;

use parareal_run::EndRecord;

use crate::metrics::{EarlyEnd, Epoch};

/// One line of the table of results.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// True if the run came to its end, or at least through all of its epochs.
    finished: bool,
    /// Early end, where the metrics record one.
    early_end: Option<EarlyEnd>,
    /// Epochs that were finished.
    epochs: usize,
    /// Epochs that were to be.
    planned: Option<usize>,
    /// Errors and loss behind the last epoch.
    train_error: Option<f64>,
    test_error: Option<f64>,
    test_top5_error: Option<f64>,
    validation_error: Option<f64>,
    test_loss: Option<f64>,
    best: Option<Best>,
    /// Mean time of training for an epoch.
    seconds_per_epoch: Option<f64>,
    /// The whole run; where its end is not told of, the training of its epochs.
    seconds: Option<f64>,
}

/// The best epoch: by the validation images where there are some, and else by the test images.
#[derive(Debug, PartialEq, Serialize)]
struct Best {
    epoch: usize,
    by: &'static str,
    test_error: Option<f64>,
    validation_error: Option<f64>,
}

impl Summary {
    pub(crate) fn new(
        epochs: &[Epoch],
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
            test_loss: last.test_loss,
            best: Best::of(epochs),
            seconds_per_epoch: training.map(|training| training / times.len() as f64),
            seconds: end.map(|end| end.seconds).or(training),
        }
    }
}

impl Best {
    fn of(epochs: &[Epoch]) -> Option<Self> {
        let validated = epochs.iter().any(|epoch| epoch.validation_error.is_some());
        let by = if validated { "validation" } else { "test" };
        let error_of = |epoch: &Epoch| match validated {
            true => epoch.validation_error,
            false => epoch.test_error,
        };
        // The first of several that are equally good.
        let best = epochs
            .iter()
            .filter_map(|epoch| error_of(epoch).map(|error| (error, epoch)))
            .min_by(|(a, _), (b, _)| a.total_cmp(b));
        best.map(|(_, epoch)| Self {
            epoch: epoch.epoch,
            by,
            test_error: epoch.test_error,
            validation_error: epoch.validation_error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let summary = Summary::new(&epochs, Some(5), None, None);
        let best = summary.best.unwrap();
        assert_eq!((best.epoch, best.by, best.test_error), (2, "test", Some(0.1)));
        assert_eq!(summary.test_error, Some(0.2));
        assert_eq!(summary.seconds_per_epoch, Some(11.5));
        assert_eq!((summary.seconds, summary.finished), (Some(46.0), false));
        assert!(Summary::new(&epochs, Some(4), None, None).finished);
    }

    #[test]
    fn validation_images_decide_where_there_are_some() {
        let mut epochs = epochs(&[Some(0.1), Some(0.2), None]);
        epochs[0].validation_error = Some(0.4);
        epochs[1].validation_error = Some(0.3);
        let best = Summary::new(&epochs, None, None, None).best.unwrap();
        assert_eq!((best.epoch, best.by, best.test_error), (2, "validation", Some(0.2)));
    }

    #[test]
    fn a_run_without_an_epoch_or_test_images_has_no_best() {
        let summary = Summary::new(&[], Some(8), None, None);
        assert!(summary.best.is_none() && summary.seconds_per_epoch.is_none());
        assert_eq!(summary.seconds, None);
        let end = EndRecord { seconds: 99.0, ..EndRecord::default() };
        let summary = Summary::new(&epochs(&[None]), None, Some(&end), None);
        assert!(summary.best.is_none());
        assert_eq!((summary.seconds, summary.finished), (Some(99.0), true));
    }
}
