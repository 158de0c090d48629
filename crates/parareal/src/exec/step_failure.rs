//! Failures that end a training step before the update.

use std::ops::Range;

use super::error::ExecError;

/// A failure that makes all workers abandon a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StepFailure {
    /// The target does not fit the output.
    Target(String),
    /// The loss is not a single number.
    Loss {
        /// The number of elements of the loss.
        elements: usize,
    },
    /// Units, from 0, that computed different values when they were recomputed.
    NotRepeated(Range<usize>),
    /// Parameters that require a gradient and have none.
    WithoutGradient(Vec<String>),
    /// Launches that cannot be recorded or replayed.
    #[cfg(feature = "cube")]
    LaunchGraphs(String),
}

impl StepFailure {
    /// Combines the failures of a step into one error, if there are any.
    ///
    /// A failure of the target, the loss or the launch graphs takes precedence, then the first units that cannot be recomputed,
    /// then all parameters without a gradient.
    pub(super) fn into_error(failures: impl IntoIterator<Item = Self>) -> Option<ExecError> {
        let (mut loss, mut units, mut names) = (None, None, Vec::new());
        for failure in failures {
            match failure {
                Self::Target(message) => {
                    loss.get_or_insert(ExecError::Target(message));
                }
                Self::Loss { elements } => {
                    loss.get_or_insert(ExecError::LossElements { elements });
                }
                #[cfg(feature = "cube")]
                Self::LaunchGraphs(reason) => {
                    loss.get_or_insert(ExecError::LaunchGraphs(reason));
                }
                Self::NotRepeated(found) => {
                    let first = units.take().filter(|first: &Range<_>| first.start < found.start);
                    units = Some(first.unwrap_or(found));
                }
                // Replicas report the same names.
                Self::WithoutGradient(found) => {
                    let new = found.into_iter().filter(|name| !names.contains(name));
                    names.extend(new.collect::<Vec<_>>());
                }
            }
        }
        match (loss, units) {
            (Some(error), _) => Some(error),
            (None, Some(units)) => {
                Some(ExecError::NotDeterministic { first: units.start, last: units.end - 1 })
            }
            (None, None) if !names.is_empty() => Some(ExecError::NoGradient { names }),
            (None, None) => None,
        }
    }
}
