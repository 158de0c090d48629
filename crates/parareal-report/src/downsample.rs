//! Downsampling of long series of steps. Each point of the result is the mean over a fixed number of steps,
//! with the smallest and the largest value.

use parareal_run::StepRecord;
use serde::Serialize;

use crate::metrics::finite;

/// Largest number of points for each series of a run.
pub(crate) const MAX_POINTS: usize = 2000;

/// The steps of a run, column by column.
#[derive(Debug, Serialize)]
pub(crate) struct Steps {
    /// Number of steps.
    total: usize,
    /// Number of steps per point. The last point may have fewer.
    per_point: usize,
    /// The last step of each point.
    step: Vec<usize>,
    loss: Curve,
    error: Curve,
    gradient_norm: Option<Curve>,
    images_per_second: Curve,
    /// The learning rate of the last step of each point. It is not averaged, because it is a setting, not a
    /// measurement.
    learning_rate: Vec<Option<f64>>,
}

/// One series. `low` and `high` are left out if each point is a single step.
#[derive(Debug, Serialize)]
struct Curve {
    mean: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<Vec<Option<f64>>>,
}

/// Downsamples the steps to at most `most` points.
pub(crate) fn downsample(steps: &[StepRecord], most: usize) -> Steps {
    let per_point = steps.len().div_ceil(most).max(1);
    let last = |points: &[StepRecord]| points.last().map(|step| step.step);
    let gradients = steps.iter().any(|step| step.gradient_norm.is_some());
    Steps {
        total: steps.len(),
        per_point,
        step: steps.chunks(per_point).filter_map(last).collect(),
        loss: Curve::new(steps, per_point, mean, |step| finite(step.loss)),
        error: Curve::new(steps, per_point, mean, |step| step.error),
        gradient_norm: gradients
            .then(|| Curve::new(steps, per_point, mean, |step| step.gradient_norm)),
        images_per_second: Curve::new(steps, per_point, mean_rate, |step| {
            finite(step.samples_per_second)
        }),
        learning_rate: steps
            .chunks(per_point)
            .map(|points| points.last().and_then(|step| finite(step.learning_rate)).map(rounded))
            .collect(),
    }
}

impl Curve {
    fn new(
        steps: &[StepRecord],
        per_point: usize,
        mean: fn(&[f64]) -> Option<f64>,
        value: impl Fn(&StepRecord) -> Option<f64>,
    ) -> Self {
        let (mut means, mut low, mut high) = (Vec::new(), Vec::new(), Vec::new());
        let mut values = Vec::with_capacity(per_point);
        for points in steps.chunks(per_point) {
            values.clear();
            values.extend(points.iter().filter_map(&value));
            means.push(mean(&values).map(rounded));
            low.push(values.iter().copied().reduce(f64::min).map(rounded));
            high.push(values.iter().copied().reduce(f64::max).map(rounded));
        }
        let several = per_point > 1;
        Self { mean: means, low: several.then_some(low), high: several.then_some(high) }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    // Values are divided before they are added, so that the sum cannot overflow.
    let count = values.len() as f64;
    (!values.is_empty()).then(|| values.iter().map(|value| value / count).sum())
}

/// Returns the harmonic mean of rates: the total work divided by the total time, for equal amounts of work.
fn mean_rate(values: &[f64]) -> Option<f64> {
    let time = mean(&values.iter().map(|rate| 1.0 / rate).collect::<Vec<_>>())?;
    (time.is_finite() && time > 0.0).then(|| 1.0 / time)
}

/// Rounds to five significant digits, which is more precise than a plot can show.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(count: usize) -> Vec<StepRecord> {
        (1..=count)
            .map(|step| StepRecord {
                epoch: 1,
                step,
                loss: step as f64,
                error: Some(0.5),
                learning_rate: 1.0 / step as f64,
                gradient_norm: None,
                samples_per_second: if step % 2 == 0 { 100.0 } else { 300.0 },
            })
            .collect()
    }

    #[test]
    fn short_series_stay_as_they_are() {
        let sampled = downsample(&steps(10), 10);
        assert_eq!((sampled.total, sampled.per_point), (10, 1));
        assert_eq!(sampled.step, (1..=10).collect::<Vec<_>>());
        assert_eq!(sampled.loss.mean[6], Some(7.0));
        assert!(sampled.loss.low.is_none() && sampled.gradient_norm.is_none());
        assert!(downsample(&[], 10).step.is_empty());
    }

    #[test]
    fn long_series_keep_means_and_extremes() {
        let mut many = steps(100_003);
        many[51_234].loss = 1e6;
        many[51_235].loss = f64::NAN;
        let sampled = downsample(&many, MAX_POINTS);
        assert_eq!((sampled.total, sampled.per_point), (100_003, 51));
        assert!(sampled.step.len() <= MAX_POINTS);
        assert_eq!(sampled.step.last(), Some(&100_003));
        let (low, high) = (sampled.loss.low.unwrap(), sampled.loss.high.unwrap());
        assert_eq!((low[0], high[0]), (Some(1.0), Some(51.0)));
        assert_eq!(sampled.loss.mean[0], Some(26.0));
        assert_eq!(high.iter().flatten().copied().fold(0.0, f64::max), 1e6);
        assert_eq!(sampled.learning_rate[0], Some(0.019608));
    }

    #[test]
    fn a_rate_is_work_divided_by_time() {
        let sampled = downsample(&steps(2), 1);
        assert_eq!(sampled.images_per_second.mean, [Some(150.0)]);
        assert_eq!(mean_rate(&[0.0, 1.0]), None);
    }

    #[test]
    fn a_point_without_values_is_missing() {
        let mut both = steps(4);
        both[0].loss = f64::NAN;
        both[1].loss = f64::NAN;
        let sampled = downsample(&both, 2);
        assert_eq!(sampled.loss.mean, [None, Some(3.5)]);
        assert_eq!(sampled.loss.low.unwrap(), [None, Some(3.0)]);
    }

    #[test]
    fn five_digits_are_kept() {
        assert_eq!(rounded(0.123_456_789), 0.12346);
        assert_eq!(rounded(-123_456.0), -123_460.0);
        assert_eq!(rounded(0.0), 0.0);
    }
}
