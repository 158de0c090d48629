use thiserror::Error;

/// Why a problem could not be set up or solved.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum OdeError {
    /// A state without a single number.
    #[error("the state has size 0: at least one unknown is needed")]
    EmptyState,
    /// A state of another size than a propagator is for.
    #[error("a state of size {found} for a propagator of {expected} unknowns")]
    Size {
        /// What the propagator is for.
        expected: usize,
        /// What it was given.
        found: usize,
    },
    /// No slice, or one whose length is not a positive number.
    #[error("{0}")]
    Grid(String),
    /// The initial value, or an initial guess, is infinite or not a number.
    #[error("the initial value is not finite")]
    InitialValue,
    /// A guess that does not have one state for each point between slices.
    #[error("{found} states for a grid of {slices} slices: {expected} are expected", expected = slices + 1)]
    States {
        /// The number of slices.
        slices: usize,
        /// The number of states.
        found: usize,
    },
    /// A tolerance below zero, infinite or not a number.
    #[error("the {which} tolerance is {value}: a number from 0 on is expected")]
    Tolerance {
        /// Absolute or relative.
        which: &'static str,
        /// The value.
        value: f64,
    },
    /// A number of steps, threads or unknowns that cannot be.
    #[error("{what} is {value}: {expected}")]
    Value {
        /// What it is the number of.
        what: &'static str,
        /// The number.
        value: usize,
        /// What is possible.
        expected: String,
    },
    /// A matrix with an entry outside, or one that is not finite.
    #[error("the matrix of size {size}: {message}")]
    Matrix {
        /// Rows, and columns.
        size: usize,
        /// What is wrong.
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
        "Newton's method found no solution in {iterations} iterations at t = {time}: take shorter steps"
    )]
    Newton {
        /// The time at the end of the stage.
        time: f64,
        /// The iterations made.
        iterations: usize,
    },
    /// A propagator that was made for another grid.
    #[error("the propagator was not made for a slice of length {length}: make it with this grid")]
    OtherGrid {
        /// The length of the slice.
        length: f64,
    },
    /// A propagator left the finite numbers, for instance an explicit one with too long a step.
    #[error(
        "the {propagator} propagator gives numbers that are not finite, or too large to square, in slice {slice} at iteration {iteration}: is its step too long to be stable?"
    )]
    NotFinite {
        /// Fine or coarse.
        propagator: &'static str,
        /// The slice, from 1.
        slice: usize,
        /// The iteration; 0 is the first coarse sweep, or the serial solution.
        iteration: usize,
    },
    /// The serial solution was told to stop.
    #[error("stopped before the serial solution was there")]
    Cancelled,
    /// What the name of a method or a problem does not say.
    #[error("{0}")]
    Name(String),
    /// The operating system gave no thread.
    #[error("cannot start {threads} threads: {message}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        message: String,
    },
}

impl OdeError {
    /// Whether something else was to be asked for, and not something failed while running.
    pub fn is_bad_input(&self) -> bool {
        !matches!(
            self,
            Self::Newton { .. } | Self::NotFinite { .. } | Self::Threads { .. } | Self::Cancelled
        )
    }
}

/// Refuses a number of steps, of threads, .. outside a range.
pub(super) fn in_range(
    what: &'static str,
    value: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<usize, OdeError> {
    match range.contains(&value) {
        true => Ok(value),
        false => {
            let expected = format!("from {} to {} are possible", range.start(), range.end());
            Err(OdeError::Value { what, value, expected })
        }
    }
}
