//! A way to compute a training step.

use std::time::Duration;

use crate::Result;

/// A network that takes a training step whenever it is asked.
pub(crate) trait Contestant {
    /// Takes one step and returns its duration.
    ///
    /// # Errors
    /// If the step fails.
    fn step(&mut self) -> Result<Duration>;
}

/// Returns the median duration, in seconds, of a few steps.
///
/// # Errors
/// If a step fails.
pub(crate) fn trial(contestant: &mut dyn Contestant, steps: usize) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..steps {
        times.push(contestant.step()?.as_secs_f64());
    }
    Ok(crate::measurement::median(&times))
}
