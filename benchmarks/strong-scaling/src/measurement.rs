//! Medians of paired measurements, and intervals for them.

use parareal::plan::Sample;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::contestant::Contestant;

/// A step, compared with that of the fastest serial setting in alternating steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// Median duration of a step, in seconds.
    pub(crate) step: f64,
    /// Median duration of the serial steps in between, in seconds.
    pub(crate) serial: f64,
    /// Median of the ratios of a serial step to the step that follows it.
    pub(crate) speedup: f64,
    /// An interval that contains the true median of the ratios with a probability of at least 95 %, or the range of
    /// the ratios if there are fewer than six.
    pub(crate) interval: [f64; 2],
}

impl Measurement {
    /// Lets both take steps in turn.
    ///
    /// # Errors
    /// If a step fails.
    pub(crate) fn of(
        contestant: &mut dyn Contestant,
        serial: &mut dyn Contestant,
        rounds: usize,
    ) -> Result<Self> {
        // Memory that later steps reuse is allocated in the first ones.
        serial.step()?;
        contestant.step()?;
        let (mut steps, mut serials) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            serials.push(serial.step()?.as_secs_f64());
            steps.push(contestant.step()?.as_secs_f64());
        }
        let ratios: Vec<f64> =
            serials.iter().zip(&steps).map(|(serial, own)| serial / own).collect();
        Ok(Self {
            step: median(&steps),
            serial: median(&serials),
            speedup: median(&ratios),
            interval: interval(&ratios),
        })
    }
}

/// Returns the median; 0 without values.
pub(crate) fn median(values: &[f64]) -> f64 {
    values.iter().copied().collect::<Sample>().median()
}

/// Returns the order statistics between which the median of the distribution lies with a probability of at least
/// 95 %: the number of values below it has a binomial distribution.
fn interval(values: &[f64]) -> [f64; 2] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let len = sorted.len();
    // The probability of at most `rank` values below the median, added up from 0.
    let (mut term, mut below, mut rank) = (0.5_f64.powi(len as i32), 0.0, 0);
    while rank < len / 2 {
        below += term;
        if below > 0.025 {
            break;
        }
        rank += 1;
        term *= (len - rank + 1) as f64 / rank as f64;
    }
    let outer = rank.saturating_sub(1);
    [sorted[outer], sorted[len - 1 - outer]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_has_the_ranks_of_the_sign_test() {
        // Tables of the sign test: with 9 values the second smallest and largest, with 6 to 8 the extremes, with 20
        // the sixth.
        let values = |len: usize| (1..=len).map(|value| value as f64).collect::<Vec<_>>();
        assert_eq!(interval(&values(9)), [2.0, 8.0]);
        assert_eq!(interval(&values(6)), [1.0, 6.0]);
        assert_eq!(interval(&values(8)), [1.0, 8.0]);
        assert_eq!(interval(&values(20)), [6.0, 15.0]);
        assert_eq!(interval(&values(3)), [1.0, 3.0]);
    }
}
