use thiserror::Error;

/// An error in setting up or solving a problem.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum OdeError {
    /// A state of size 0.
    #[error("the state has size 0: expected at least 1 unknown")]
    EmptyState,
    /// A state whose size does not match the propagator.
    #[error("the state has size {found}, but the propagator expects {expected} unknowns")]
    Size {
        /// The size that the propagator expects.
        expected: usize,
        /// The size of the state.
        found: usize,
    },
    /// No slice, or one whose length is not a positive number.
    #[error("{0}")]
    Grid(String),
    /// The initial value, or an initial guess, is infinite or not a number.
    #[error("the initial value is not finite")]
    InitialValue,
    /// A guess that does not have one state for each point between slices.
    #[error(
        "expected {expected} states for a grid of {slices} slices, got {found}",
        expected = slices + 1
    )]
    States {
        /// The number of slices.
        slices: usize,
        /// The number of states.
        found: usize,
    },
    /// A tolerance below zero, infinite or not a number.
    #[error("invalid value `{value}` for the {which} tolerance: expected a number of at least 0")]
    Tolerance {
        /// Absolute or relative.
        which: &'static str,
        /// The value.
        value: f64,
    },
    /// A number of steps, threads or unknowns that is out of range.
    #[error("invalid value `{value}` for {what}: {expected}")]
    Value {
        /// The quantity.
        what: &'static str,
        /// The number.
        value: usize,
        /// The accepted range.
        expected: String,
    },
    /// A matrix with invalid entries: outside it, not finite, or of the wrong number.
    #[error("invalid matrix of size {size}: {message}")]
    Matrix {
        /// Rows, and columns.
        size: usize,
        /// The fault, in words.
        message: String,
    },
    /// `I - γhA` has no inverse.
    #[error("the implicit step of length {step} has no unique solution: the matrix is singular")]
    Singular {
        /// The length of the step.
        step: f64,
    },
    /// Newton's method found no solution of an implicit step.
    #[error(
        "Newton's method did not converge in {iterations} iterations at t = {time}; use shorter \
         steps"
    )]
    Newton {
        /// The time at the end of the stage.
        time: f64,
        /// The iterations made.
        iterations: usize,
    },
    /// A propagator that was created for another grid.
    #[error(
        "the propagator was not created for a slice of length {length}; create it with this grid"
    )]
    OtherGrid {
        /// The length of the slice.
        length: f64,
    },
    /// A propagator gave numbers that are not finite, for instance an explicit one with too long a
    /// step.
    #[error(
        "the {propagator} propagator returned numbers that are not finite, or too large to square, \
         in slice {slice} at iteration {iteration}; its step may be too long to be stable"
    )]
    NotFinite {
        /// Fine or coarse.
        propagator: &'static str,
        /// The slice, from 1.
        slice: usize,
        /// The iteration; 0 is the first coarse sweep, or the serial solution.
        iteration: usize,
    },
    /// The serial solution was cancelled.
    #[error("stopped before the serial solution was complete")]
    Cancelled,
    /// An unknown name of a method or problem, or an invalid parameter of one.
    #[error("{0}")]
    Name(String),
    /// The operating system could not start threads.
    #[error("cannot start {threads} threads: {message}")]
    Threads {
        /// The number of threads requested.
        threads: usize,
        /// The error of the system.
        message: String,
    },
}

impl OdeError {
    /// Returns true for invalid input, false for a failure while running.
    pub fn is_bad_input(&self) -> bool {
        !matches!(
            self,
            Self::Newton { .. } | Self::NotFinite { .. } | Self::Threads { .. } | Self::Cancelled
        )
    }
}

/// Checks that a number is within a range.
pub(crate) fn in_range(
    what: &'static str,
    value: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<usize, OdeError> {
    match range.contains(&value) {
        true => Ok(value),
        false => {
            let expected = format!("expected from {} to {}", range.start(), range.end());
            Err(OdeError::Value { what, value, expected })
        }
    }
}
