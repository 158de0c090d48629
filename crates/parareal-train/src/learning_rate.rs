//! Learning-rate rules: a warm-up, then steps or a cosine.

/// Learning-rate rule for the steps of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct LearningRate {
    /// Learning rate at the end of the warm-up, the highest of the run.
    pub base: f64,
    /// Rule by which the learning rate falls.
    pub decay: Decay,
    /// Number of warm-up epochs, which may be fractional. The learning rate rises linearly to `base` in these
    /// epochs.
    pub warmup_epochs: f64,
    /// Number of epochs of the whole run.
    pub epochs: usize,
}

/// Rule by which the learning rate falls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decay {
    /// Divided by ten after each of these epochs.
    Step(Vec<usize>),
    /// Half a period of a cosine, from the end of the warm-up to zero at the end of the run.
    Cosine,
}

impl LearningRate {
    /// Returns the rate of a step. Epochs are counted from 1, and the steps of an epoch from 0.
    #[must_use]
    pub fn of_step(&self, epoch: usize, step: usize, steps_per_epoch: usize) -> f64 {
        let whole = (epoch - 1) as f64;
        let steps = steps_per_epoch.max(1) as f64;
        let passed = whole + step as f64 / steps;
        if passed < self.warmup_epochs {
            // The first step has a rate above 0, and no step of the warm-up has a rate above the base.
            let risen = (passed + 1.0 / steps) / self.warmup_epochs;
            return self.base * risen.min(1.0);
        }
        match &self.decay {
            Decay::Step(milestones) => {
                let passed = milestones.iter().filter(|&&milestone| milestone < epoch).count();
                self.base / 10f64.powi(i32::try_from(passed).unwrap_or(i32::MAX))
            }
            Decay::Cosine => {
                let falling = (self.epochs as f64 - self.warmup_epochs).max(f64::MIN_POSITIVE);
                let share = ((passed - self.warmup_epochs) / falling).clamp(0.0, 1.0);
                self.base * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_falls_after_each_milestone() {
        let decay = Decay::Step(vec![80, 120]);
        let rate = LearningRate { base: 0.1, decay, warmup_epochs: 0.0, epochs: 200 };
        let rates = [1, 80, 81, 120, 121, 200].map(|epoch| rate.of_step(epoch, 3, 10));
        assert_eq!(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]);
    }

    #[test]
    fn the_rate_rises_in_the_warm_up_and_falls_as_a_cosine() {
        let rate = LearningRate { base: 0.8, decay: Decay::Cosine, warmup_epochs: 2.0, epochs: 6 };
        let close = |epoch, step, expected: f64| {
            let found = rate.of_step(epoch, step, 4);
            assert!((found - expected).abs() < 1e-12, "{epoch} {step}: {found}");
        };
        for (step, expected) in [0.1, 0.2, 0.3, 0.4].into_iter().enumerate() {
            close(1, step, expected);
            close(2, step, expected + 0.4);
        }
        close(3, 0, 0.8);
        close(5, 0, 0.4);
        close(6, 3, 0.4 * (1.0 + (15.0 / 16.0 * std::f64::consts::PI).cos()));
        // Half an epoch of warm-up ends within the epoch.
        let rate = LearningRate { warmup_epochs: 0.5, decay: Decay::Step(vec![]), ..rate };
        assert_eq!([0, 1, 2, 3].map(|step| rate.of_step(1, step, 4)), [0.4, 0.8, 0.8, 0.8]);
    }
}
