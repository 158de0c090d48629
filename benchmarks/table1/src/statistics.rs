//! Means over seeds with their standard errors.

/// 90 % quantiles of Student's t distribution for 1, 2, .. degrees of freedom.
const T_90: [f64; 9] = [3.078, 1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383];

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mean {
    pub(crate) mean: f64,
    /// Standard error of the mean; `None` for a single sample.
    pub(crate) standard_error: Option<f64>,
    /// Number of samples.
    pub(crate) samples: usize,
}

impl Mean {
    /// Returns the mean of samples; `None` if there are none.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let count = samples.len();
        if count == 0 {
            return None;
        }
        let mean = samples.iter().sum::<f64>() / count as f64;
        let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
        let variance = || squares / (count - 1) as f64;
        let standard_error = (count > 1).then(|| (variance() / count as f64).sqrt());
        Some(Self { mean, standard_error, samples: count })
    }

    /// Returns the mean of `a - b` over the common seeds; `None` if there are none.
    pub(crate) fn of_differences(a: &[(u64, f64)], b: &[(u64, f64)]) -> Option<Self> {
        let pairs = a.iter().filter_map(|(seed, value)| {
            let (_, other) = b.iter().find(|(other, _)| other == seed)?;
            Some(value - other)
        });
        Self::of(&pairs.collect::<Vec<_>>())
    }

    /// Returns the upper one-sided 90 % confidence bound of the mean, from Student's t distribution; `None`
    /// for a single sample or more than ten.
    pub(crate) fn upper_bound(&self) -> Option<f64> {
        let quantile = T_90.get(self.samples.checked_sub(2)?)?;
        Some(self.mean + quantile * self.standard_error?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_mean(found: Option<Mean>, mean: f64, error: f64, samples: usize) {
        let found = found.unwrap();
        assert!((found.mean - mean).abs() < 1e-12, "{found:?}");
        assert!((found.standard_error.unwrap() - error).abs() < 1e-12, "{found:?}");
        assert_eq!(found.samples, samples);
    }

    #[test]
    fn the_standard_error_is_that_of_a_sample() {
        // Squares of deviations from 3: 4 + 1 + 0 + 1 + 4 = 10; 10/4 = 2.5; sqrt(2.5/5).
        assert_mean(Mean::of(&[1.0, 2.0, 3.0, 4.0, 5.0]), 3.0, 0.5_f64.sqrt(), 5);
        assert_eq!(Mean::of(&[7.0]).unwrap().standard_error, None);
        assert_eq!(Mean::of(&[]), None);
    }

    #[test]
    fn the_upper_bound_has_the_quantile_of_the_degrees_of_freedom() {
        // Deviations from 0.4: 0.6, 0.1, -0.9, 0.6 and -0.4, with squares 0.36 + 0.01 + 0.81 + 0.36 + 0.16 = 1.7.
        // 1.7/4 = 0.425, 0.425/5 = 0.085, of which the root is 0.291548; 0.4 + 1.533 · 0.291548 = 0.846943.
        let bound = Mean::of(&[1.0, 0.5, -0.5, 1.0, 0.0]).unwrap().upper_bound().unwrap();
        assert!((bound - 0.846_943).abs() < 1e-6, "{bound}");
        // The standard error is 1: 3 + 3.078.
        let bound = Mean::of(&[2.0, 4.0]).unwrap().upper_bound().unwrap();
        assert!((bound - 6.078).abs() < 1e-12, "{bound}");
        assert_eq!(Mean::of(&[1.0]).unwrap().upper_bound(), None);
        assert_eq!(Mean::of(&[1.0; 11]).unwrap().upper_bound(), None);
    }

    #[test]
    fn differences_are_of_the_same_seeds() {
        let a = [(1, 20.0), (2, 24.0), (3, 22.0), (4, 99.0)];
        let b = [(3, 25.0), (1, 24.0), (2, 26.0), (5, 0.0)];
        // -4, -2 and -3: squares of deviations 1 + 1 + 0 = 2; 2/2 = 1; sqrt(1/3).
        assert_mean(Mean::of_differences(&a, &b), -3.0, (1.0_f64 / 3.0).sqrt(), 3);
        assert_eq!(Mean::of_differences(&a, &[(9, 1.0)]), None);
    }
}
