//! Learning-rate range test.

use parareal::exec::{ExecError, Update};
use parareal::net::StateDict;
use serde::Serialize;

use crate::feasibility::check_threads;
use crate::prefetch::prefetch;
use crate::{ExecutorKind, ProcessGroup, RunConfig, Task, TrainError};

/// The test ends once the mean loss of recent steps exceeds its minimum by this factor.
const DIVERGED: f64 = 4.0;
/// Weight of the past in the mean loss of recent steps.
const MEMORY: f64 = 0.9;
/// Fewest steps from which a learning rate is suggested.
const FEWEST_STEPS: usize = 20;
/// Number of steps for one neighbor on each side in the smoothed loss.
const STEPS_PER_NEIGHBOR: usize = 20;

/// A learning-rate range test (Smith, "Cyclical Learning Rates for Training Neural Networks", 2017).
///
/// A network is trained for a few steps while the learning rate grows by the same factor from each step to the next.
/// The loss first falls slowly, then quickly, and finally rises. Learning rates for training are in the range in which
/// it falls. Nothing is saved.
///
/// ```
/// use parareal_train::RangeTest;
///
/// let test = RangeTest { lowest: 1e-3, highest: 1.0, steps: 4 };
/// let rates: Vec<String> = (0..4).map(|step| format!("{:.3}", test.learning_rate(step))).collect();
/// assert_eq!(rates, ["0.001", "0.010", "0.100", "1.000"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeTest {
    /// Learning rate of the first step.
    pub lowest: f64,
    /// Learning rate of the last step.
    pub highest: f64,
    /// Number of steps.
    pub steps: usize,
}

impl Default for RangeTest {
    /// 100 steps from 1e-4 to 10.
    fn default() -> Self {
        Self { lowest: 1e-4, highest: 10.0, steps: 100 }
    }
}

/// One step of a [`RangeTest`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RangeTestStep {
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Loss of the step's batch, before the update.
    pub loss: f64,
}

/// The reason why a [`RangeTest`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeTestEnd {
    /// All steps have been trained.
    Complete,
    /// The loss became four times as large as its minimum, or infinite or NaN.
    Diverged,
    /// The test was stopped.
    Interrupted,
}

/// The result of a [`RangeTest`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RangeTestResult {
    /// All steps with a finite loss, in order.
    pub steps: Vec<RangeTestStep>,
    /// The reason why the test ended.
    pub end: RangeTestEnd,
}

impl RangeTest {
    /// Returns the learning rate of a step, counted from 0.
    #[must_use]
    pub fn learning_rate(&self, step: usize) -> f64 {
        let part = step as f64 / (self.steps.max(2) - 1) as f64;
        self.lowest * (self.highest / self.lowest).powf(part)
    }

    /// Checks that the learning rates are positive and grow, and that there are enough steps.
    ///
    /// # Errors
    /// [`TrainError::Setting`] with the names `lowest`, `highest` or `steps`.
    pub fn check(&self) -> Result<(), TrainError> {
        let Self { lowest, highest, steps } = *self;
        if !(lowest.is_finite() && lowest > 0.0) {
            return Err(TrainError::setting("lowest", lowest, "expected a number above 0"));
        }
        if !(highest.is_finite() && highest > lowest) {
            let expected = format!("expected a number above the lowest learning rate, {lowest}");
            return Err(TrainError::setting("highest", highest, expected));
        }
        if steps < FEWEST_STEPS {
            let expected = format!("expected at least {FEWEST_STEPS}");
            return Err(TrainError::setting("steps", steps, expected));
        }
        Ok(())
    }

    /// Trains a new network, from the weights `initial` if given, until the last step, divergence, or until `stop`
    /// returns true. The batches are those of a run with this configuration; its learning rate and its moving average
    /// are not used. `on_step` receives each step.
    ///
    /// # Errors
    /// If a learning rate or the number of steps is not valid ([`Self::check`]), the executor is
    /// [`ExecutorKind::Mpi`], the configuration cannot run here ([`RunConfig::check`]), the batches cannot be
    /// prepared, or a worker fails.
    pub fn run<T: Task>(
        &self,
        config: &RunConfig,
        task: &T,
        initial: Option<&StateDict>,
        on_step: &mut dyn FnMut(&RangeTestStep),
        stop: &dyn Fn() -> bool,
    ) -> Result<RangeTestResult, TrainError> {
        self.check()?;
        if config.executor == ExecutorKind::Mpi {
            let expected = "the range test runs in one process; use the threads executor";
            return Err(TrainError::setting("executor", config.executor, expected));
        }
        let group = ProcessGroup::alone();
        config.check(&group, task.samples())?;
        check_threads(config.threads, group.resources().cores)?;
        let mut executor = config.start(&group, task.model(), initial)?;
        let (mut steps, mut recent) = (Vec::new(), Recent::default());
        for epoch in 1.. {
            let batches = task.batches(config.batch_size, config.seed, epoch, 0)?;
            let end = prefetch(batches, |batches| {
                for batch in batches {
                    if stop() {
                        return Ok(Some(RangeTestEnd::Interrupted));
                    }
                    let batch = batch?;
                    let learning_rate = self.learning_rate(steps.len());
                    let clip_norm = config.clip_norm;
                    let update = Update { learning_rate, clip_norm, average_decay: None };
                    let loss = match executor.train_step_with(batch.input, batch.target, update) {
                        Ok(report) => report.loss,
                        Err(ExecError::LossNotFinite { .. }) => {
                            return Ok(Some(RangeTestEnd::Diverged));
                        }
                        Err(error) => return Err(TrainError::from(error)),
                    };
                    let step = RangeTestStep { learning_rate, loss };
                    steps.push(step);
                    on_step(&step);
                    if recent.diverges_with(loss) {
                        return Ok(Some(RangeTestEnd::Diverged));
                    }
                    if steps.len() == self.steps {
                        return Ok(Some(RangeTestEnd::Complete));
                    }
                }
                Ok(None)
            })??;
            if let Some(end) = end {
                return Ok(RangeTestResult { steps, end });
            }
        }
        unreachable!("the number of epochs is not limited")
    }
}

/// The mean loss of recent steps, and its minimum.
#[derive(Default)]
struct Recent {
    sum: f64,
    weight: f64,
    lowest: Option<f64>,
}

impl Recent {
    /// Adds the loss of a step. Returns true if the mean is far above its minimum.
    fn diverges_with(&mut self, loss: f64) -> bool {
        self.sum = MEMORY * self.sum + (1.0 - MEMORY) * loss;
        self.weight = MEMORY * self.weight + (1.0 - MEMORY);
        let mean = self.sum / self.weight;
        let lowest = self.lowest.map_or(mean, |lowest| lowest.min(mean));
        self.lowest = Some(lowest);
        mean > DIVERGED * lowest
    }
}

impl RangeTestResult {
    /// Returns the smoothed loss of each step: the mean over the step and its neighbors, one on each side for every 20
    /// steps of the test, or as many as there are at the ends.
    #[must_use]
    pub fn smoothed(&self) -> Vec<f64> {
        let neighbors = self.steps.len().div_ceil(STEPS_PER_NEIGHBOR);
        let mean = |step: usize| {
            let reach = neighbors.min(step).min(self.steps.len() - 1 - step);
            let window = &self.steps[step - reach..=step + reach];
            window.iter().map(|step| step.loss).sum::<f64>() / window.len() as f64
        };
        (0..self.steps.len()).map(mean).collect()
    }

    /// Returns the learning rate at which the smoothed loss falls fastest on the way to its minimum, relative to the
    /// logarithm of the learning rate. Returns `None` if it never falls, or after fewer than 20 steps.
    #[must_use]
    pub fn steepest(&self) -> Option<f64> {
        if self.steps.len() < FEWEST_STEPS {
            return None;
        }
        let smoothed = self.smoothed();
        // Beyond the minimum the loss can jump, and fall again.
        let falling = &smoothed[..=self.lowest_step()?];
        let slopes = falling.windows(3).map(|around| around[2] - around[0]);
        let (step, slope) = (1..).zip(slopes).min_by(|a, b| a.1.total_cmp(&b.1))?;
        (slope < 0.0).then(|| self.steps[step].learning_rate)
    }

    /// Returns the learning rate with the lowest smoothed loss; `None` if there are no steps.
    #[must_use]
    pub fn lowest_loss(&self) -> Option<f64> {
        Some(self.steps[self.lowest_step()?].learning_rate)
    }

    fn lowest_step(&self) -> Option<usize> {
        let losses = self.smoothed().into_iter().enumerate();
        losses.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(step, _)| step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A result whose loss is a function of the base-10 logarithm of the learning rate.
    fn result(loss: impl Fn(f64) -> f64) -> RangeTestResult {
        let test = RangeTest::default();
        let steps = (0..test.steps).map(|step| {
            let learning_rate = test.learning_rate(step);
            RangeTestStep { learning_rate, loss: loss(learning_rate.log10()) }
        });
        RangeTestResult { steps: steps.collect(), end: RangeTestEnd::Complete }
    }

    #[test]
    fn learning_rates_grow_by_the_same_factor() {
        let test = RangeTest::default();
        let rates: Vec<f64> = (0..test.steps).map(|step| test.learning_rate(step)).collect();
        assert_eq!((rates[0], rates.len()), (1e-4, 100));
        assert!((rates[99] - 10.0).abs() < 1e-12);
        for pair in rates.windows(2) {
            assert!((pair[1] / pair[0] - 1e5f64.powf(1.0 / 99.0)).abs() < 1e-12);
        }
    }

    #[test]
    fn the_steepest_descent_and_the_minimum_are_found() {
        // The logistic function falls fastest at its center, the parabola around its vertex.
        let falling = result(|rate| 1.0 / (1.0 + (6.0 * (rate + 1.5)).exp()));
        let steepest = falling.steepest().unwrap().log10();
        assert!((steepest + 1.5).abs() <= 0.05, "{steepest}");
        let parabola = result(|rate| (rate + 0.5).powi(2));
        assert!((parabola.lowest_loss().unwrap().log10() + 0.5).abs() <= 0.05);
    }

    #[test]
    fn jumps_beyond_the_minimum_are_ignored() {
        let jumping = result(|rate| match rate {
            ..0.0 => 1.0 / (1.0 + (6.0 * (rate + 1.5)).exp()),
            ..0.5 => 9.0,
            _ => 1.0,
        });
        let steepest = jumping.steepest().unwrap().log10();
        assert!((steepest + 1.5).abs() <= 0.05, "{steepest}");
    }

    #[test]
    fn noise_is_smoothed() {
        // Alternating noise that is larger than the slope.
        let flip = std::cell::Cell::new(0.2);
        let noisy = result(|rate| {
            flip.set(-flip.get());
            1.0 / (1.0 + (6.0 * (rate + 1.5)).exp()) + flip.get()
        });
        let steepest = noisy.steepest().unwrap().log10();
        assert!((steepest + 1.5).abs() <= 0.3, "{steepest}");
    }

    #[test]
    fn nothing_is_suggested_from_a_loss_that_does_not_fall_or_from_few_steps() {
        assert_eq!(result(|rate| rate).steepest(), None);
        let mut short = result(|rate| -rate);
        assert!(short.steepest().is_some());
        short.steps.truncate(FEWEST_STEPS - 1);
        assert_eq!(short.steepest(), None);
        short.steps.clear();
        assert_eq!((short.lowest_loss(), short.smoothed()), (None, Vec::new()));
    }

    #[test]
    fn a_loss_far_above_its_minimum_diverges() {
        let mut recent = Recent::default();
        assert!([4.0, 3.0, 2.0, 1.0].iter().all(|&loss| !recent.diverges_with(loss)));
        let ended = (0..100).position(|_| recent.diverges_with(12.0));
        // The mean of recent steps follows within a few steps, but not at once.
        assert!(ended.is_some_and(|step| (1..20).contains(&step)), "{ended:?}");
    }

    #[test]
    fn settings_are_checked() {
        let of = |lowest, highest, steps| RangeTest { lowest, highest, steps }.check();
        assert!(of(1e-4, 1.0, 20).is_ok());
        for (test, name) in [
            (of(0.0, 1.0, 20), "lowest"),
            (of(f64::NAN, 1.0, 20), "lowest"),
            (of(0.1, 0.1, 20), "highest"),
            (of(0.1, f64::INFINITY, 20), "highest"),
            (of(0.1, 1.0, 19), "steps"),
        ] {
            let message = test.unwrap_err().to_string();
            assert!(message.contains(&format!("for {name}")), "{message}");
        }
    }
}
