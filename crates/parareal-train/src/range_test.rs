//! Learning-rate range test.

use parareal::exec::{ExecError, Update};
use parareal::net::StateDict;
use serde::Serialize;

use crate::feasibility::check_threads;
use crate::prefetch::prefetch;
use crate::{ExecutorKind, ProcessGroup, RunConfig, Task, TrainError};

/// The test ends once the mean loss of recent steps exceeds its minimum by this factor.
const DIVERGED: f64 = 4.0;
/// Fraction of the steps that the mean loss of recent steps reaches back.
const RECENT: f64 = 0.1;
/// Smallest number of steps of a test.
const FEWEST_STEPS: usize = 20;
/// Number of steps for one neighbor on each side in the smoothed loss.
const STEPS_PER_NEIGHBOR: usize = 20;
/// Smallest fall of the smoothed loss, in standard deviations of the difference of two smoothed losses.
const CLEAR: f64 = 3.0;

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
        let (mut steps, mut recent) = (Vec::new(), Recent::new(self.steps));
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
struct Recent {
    /// Weight of the past in the mean.
    memory: f64,
    sum: f64,
    weight: f64,
    lowest: Option<f64>,
}

impl Recent {
    fn new(steps: usize) -> Self {
        let memory = 1.0 - 1.0 / (RECENT * steps as f64).max(1.0);
        Self { memory, sum: 0.0, weight: 0.0, lowest: None }
    }

    /// Adds the loss of a step. Returns true if the mean is far above its minimum.
    fn diverges_with(&mut self, loss: f64) -> bool {
        self.sum = self.memory * self.sum + (1.0 - self.memory) * loss;
        self.weight = self.memory * self.weight + (1.0 - self.memory);
        let mean = self.sum / self.weight;
        let lowest = self.lowest.map_or(mean, |lowest| lowest.min(mean));
        self.lowest = Some(lowest);
        mean > DIVERGED * lowest
    }
}

/// The range of learning rates in which the loss falls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FallingRange {
    /// The learning rate at which the smoothed loss falls fastest, relative to the logarithm of the learning rate.
    pub steepest: f64,
    /// The learning rate with the lowest smoothed loss.
    pub lowest: f64,
    /// True if the loss is lowest at the end, so that it might fall further with larger rates.
    pub is_open: bool,
}

impl RangeTestResult {
    /// Returns the number of neighbors on each side in the smoothed loss.
    fn neighbors(&self) -> usize {
        self.steps.len().div_ceil(STEPS_PER_NEIGHBOR)
    }

    /// Returns the smoothed loss of each step: the mean over the step and its neighbors, one on each side for every 20
    /// steps of the test. There are fewer at the ends.
    #[must_use]
    pub fn smoothed(&self) -> Vec<f64> {
        let neighbors = self.neighbors();
        let mean = |step: usize| {
            let end = (step + neighbors + 1).min(self.steps.len());
            let window = &self.steps[step.saturating_sub(neighbors)..end];
            window.iter().map(|step| step.loss).sum::<f64>() / window.len() as f64
        };
        (0..self.steps.len()).map(mean).collect()
    }

    /// Returns the range in which the loss falls. Returns `None` if the smoothed loss does not fall clearly, by three
    /// standard deviations of its noise.
    #[must_use]
    pub fn falling(&self) -> Option<FallingRange> {
        let (smoothed, neighbors) = (self.smoothed(), self.neighbors());
        let steps = 0..smoothed.len();
        let lowest = steps.clone().min_by(|&a, &b| smoothed[a].total_cmp(&smoothed[b]))?;
        // Beyond the minimum the loss can jump, and fall again.
        let before = steps.take(lowest + 1);
        let squares = before.clone().map(|step| (self.steps[step].loss - smoothed[step]).powi(2));
        let variance = squares.sum::<f64>() / lowest.max(1) as f64;
        let noise = (2.0 * variance / (2 * neighbors + 1) as f64).sqrt();
        let highest = before.clone().map(|step| smoothed[step]).fold(f64::MIN, f64::max);
        if highest - smoothed[lowest] <= CLEAR * noise {
            return None;
        }
        // Differences over the width of a window are less noisy than those of neighbors.
        let slope = |step: usize| {
            let next = smoothed[(step + neighbors).min(lowest)];
            next - smoothed[step.saturating_sub(neighbors)]
        };
        let steepest = before.min_by(|&a, &b| slope(a).total_cmp(&slope(b)))?;
        Some(FallingRange {
            steepest: self.steps[steepest].learning_rate,
            lowest: self.steps[lowest].learning_rate,
            is_open: self.end != RangeTestEnd::Diverged && lowest + neighbors >= self.steps.len(),
        })
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

    /// A loss that falls by one around 10^-1.5.
    fn descent(rate: f64) -> f64 {
        1.0 / (1.0 + (6.0 * (rate + 1.5)).exp())
    }

    /// Noise with a standard deviation of about 1, from a linear congruential generator.
    fn noise(seed: u32) -> impl Fn() -> f64 {
        let state = std::cell::Cell::new(seed);
        move || {
            let uniform = || {
                state.set(state.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
                f64::from(state.get() >> 8) / f64::from(1 << 24) - 0.5
            };
            2.0 * (uniform() + uniform() + uniform())
        }
    }

    #[test]
    fn the_steepest_descent_and_the_minimum_are_found() {
        // The logistic function falls fastest at its center, the parabola around its vertex.
        let steepest = result(descent).falling().unwrap().steepest.log10();
        assert!((steepest + 1.5).abs() <= 0.05, "{steepest}");
        let parabola = result(|rate| (rate + 0.5).powi(2)).falling().unwrap();
        assert!((parabola.lowest.log10() + 0.5).abs() <= 0.05 && !parabola.is_open);
    }

    #[test]
    fn jumps_beyond_the_minimum_are_ignored() {
        let jumping = result(|rate| match rate {
            ..0.0 => descent(rate),
            ..0.5 => 9.0,
            _ => 1.0,
        });
        let steepest = jumping.falling().unwrap().steepest.log10();
        assert!((steepest + 1.5).abs() <= 0.1, "{steepest}");
    }

    #[test]
    fn a_fall_is_found_in_noise_and_noise_alone_is_no_fall() {
        for seed in 0..200 {
            let random = noise(seed);
            let noisy =
                result(|rate| 2.0 + descent(rate) + (rate - 0.3).max(0.0) + 0.15 * random());
            let falling = noisy.falling().unwrap();
            let [steepest, lowest] = [falling.steepest, falling.lowest].map(f64::log10);
            assert!((-2.2..-0.8).contains(&steepest), "seed {seed}: {steepest}");
            assert!((-1.5..=0.6).contains(&lowest), "seed {seed}: {lowest}");
        }
        let clear = (0..200).filter(|&seed| {
            let random = noise(seed);
            result(|_| 2.0 + 0.3 * random()).falling().is_some()
        });
        // The largest of many differences is compared, so some exceed three standard deviations of one.
        assert!(clear.count() <= 60);
    }

    #[test]
    fn a_loss_that_falls_up_to_the_end_may_fall_further() {
        let mut falling = result(|rate| -rate);
        assert!(falling.falling().unwrap().is_open);
        falling.end = RangeTestEnd::Diverged;
        assert!(!falling.falling().unwrap().is_open);
    }

    #[test]
    fn nothing_is_found_where_the_loss_does_not_fall() {
        assert_eq!(result(|rate| rate).falling(), None);
        let mut short = result(|rate| -rate);
        for steps in [1, 0] {
            short.steps.truncate(steps);
            assert_eq!((short.falling(), short.smoothed().len()), (None, steps));
        }
    }

    #[test]
    fn a_loss_far_above_its_minimum_diverges() {
        for (steps, expected) in [(20, 0..2), (100, 2..8), (1_000, 20..80)] {
            let mut recent = Recent::new(steps);
            assert!((0..steps / 2).all(|_| !recent.diverges_with(1.0)));
            let ended = (0..steps).position(|_| recent.diverges_with(12.0));
            // The mean of recent steps follows within a tenth of the steps.
            assert!(ended.is_some_and(|step| expected.contains(&step)), "{steps}: {ended:?}");
        }
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
