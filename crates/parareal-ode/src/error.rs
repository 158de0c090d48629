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
    /// A slice whose length is not a positive number.
    #[error("{0}")]
    Grid(String),
    /// An initial value or initial guess that is infinite or NaN.
    #[error("the initial value is not finite")]
    InitialValue,
    /// A guess or reference solution that does not have one state for each point of the grid.
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
    /// A tolerance that is negative, infinite or NaN.
    #[error("invalid value `{value}` for the {which} tolerance: expected a number of at least 0")]
    Tolerance {
        /// `"absolute"` or `"relative"`.
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
    /// A matrix with the wrong number of entries, or with an entry that is outside the matrix or not finite.
    #[error("invalid matrix of size {size}: {message}")]
    Matrix {
        /// The number of rows and columns.
        size: usize,
        /// Description of the fault.
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
        /// The number of iterations.
        iterations: usize,
    },
    /// A propagator that was created for a grid without slices of this length.
    #[error(
        "the propagator was not created for a slice of length {length}; create it with this grid"
    )]
    OtherGrid {
        /// The length of the slice.
        length: f64,
    },
    /// A propagator returned values that are infinite, NaN or too large to square, for example because the
    /// step of an explicit method is too long.
    #[error(
        "the {propagator} propagator returned numbers that are not finite, or too large to square, \
         in slice {slice} at iteration {iteration}; its step may be too long to be stable"
    )]
    NotFinite {
        /// `"fine"` or `"coarse"`.
        propagator: &'static str,
        /// The slice, from 1.
        slice: usize,
        /// The iteration; 0 for the first coarse sweep or the serial solution.
        iteration: usize,
    },
    /// The serial solution was cancelled.
    #[error("stopped before the serial solution was complete")]
    Cancelled,
    /// An unknown name of a method or problem, or an invalid parameter of a method or problem.
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
    /// Returns true if the input is wrong, and false if something failed while running.
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
