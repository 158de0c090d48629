/// Measurements of one iterate. Iterate 0 is the coarse solution, or the guess.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// The number of iterations, `k`.
    pub k: usize,
    /// The largest jump `‖𝓕(U_j) - U_{j+1}‖` over the slices of this iterate. The fine sweep of
    /// the next iteration finds it. For the last iterate it is 0 if all slices are exact, measured
    /// outside the recorded time if a reference is given, and otherwise `None`.
    pub max_jump: Option<f64>,
    /// The largest distance `‖U_j - U_j*‖` from the serial fine solution, if that was given.
    pub max_error: Option<f64>,
    /// Fine evaluations so far; one solves one slice.
    pub fine_evaluations: usize,
    /// Coarse evaluations so far.
    pub coarse_evaluations: usize,
    /// Seconds in fine sweeps so far.
    pub fine_seconds: f64,
    /// Seconds so far, without the measurement of errors.
    pub seconds: f64,
}

/// The reason why the iteration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The jumps that the last iteration found, and corrected, were within the tolerance.
    Tolerance,
    /// There were as many iterations as slices, so all slices are exact.
    Exact,
    /// The maximum number of iterations was reached.
    Iterations,
    /// It was cancelled; the states are the last complete iterate.
    Cancelled,
}

/// The result of a solve.
#[derive(Clone, Debug)]
pub struct Solution<S> {
    /// `U_0 .. U_N`.
    pub states: Vec<S>,
    /// One record for each iterate, from iterate 0 on.
    pub records: Vec<Record>,
    /// The reason why the iteration ended.
    pub ending: Ending,
}

impl<S> Solution<S> {
    /// The number of iterations.
    pub fn iterations(&self) -> usize {
        self.records.len() - 1
    }

    /// The duration in seconds, without the measurement of errors.
    pub fn seconds(&self) -> f64 {
        self.records.last().map_or(0.0, |record| record.seconds)
    }
}

/// An iterate, as observers see it.
#[derive(Debug)]
pub struct Iterate<'a, S> {
    /// Its measurements; its jumps are not known yet.
    pub record: &'a Record,
    /// `U_0 .. U_N`.
    pub states: &'a [S],
    /// The distance of each state from the serial fine solution; empty if that was not given.
    pub errors: &'a [f64],
    /// The jump at the end of each slice of the previous iterate, 0 where that slice was exact. Zeros
    /// for iterate 0.
    pub jumps_before: &'a [f64],
}
