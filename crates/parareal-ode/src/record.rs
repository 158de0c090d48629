/// Measurements of one iterate. Iterate 0 is the coarse solution, or the guess.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// The number of iterations, `k`.
    pub k: usize,
    /// The largest jump `‖𝓕(U_j) - U_{j+1}‖` over the slices of this iterate. It is computed in the fine
    /// sweep of the next iteration. For the last iterate, it is 0 if all slices are exact; otherwise it is
    /// computed only if a reference is given, outside the recorded time, and is `None` without a reference.
    pub max_jump: Option<f64>,
    /// The largest distance `‖U_j - U_j*‖` from the serial fine solution; `None` if no reference is given.
    pub max_error: Option<f64>,
    /// Number of fine evaluations so far. One evaluation propagates through one slice.
    pub fine_evaluations: usize,
    /// Number of coarse evaluations so far.
    pub coarse_evaluations: usize,
    /// Time spent in fine sweeps so far, in seconds.
    pub fine_seconds: f64,
    /// Time so far in seconds, excluding the measurement of errors.
    pub seconds: f64,
}

/// The reason why the iteration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The jumps that the last iteration corrected were within the tolerance.
    Tolerance,
    /// The number of iterations equals the number of slices, so all slices are exact.
    Exact,
    /// The maximum number of iterations was reached.
    Iterations,
    /// The solve was cancelled. The states are those of the last complete iterate.
    Cancelled,
}

/// The result of a solve.
#[derive(Clone, Debug)]
pub struct Solution<S> {
    /// `U_0 .. U_N`.
    pub states: Vec<S>,
    /// One record for each iterate, starting with iterate 0.
    pub records: Vec<Record>,
    /// The reason why the iteration ended.
    pub ending: Ending,
}

impl<S> Solution<S> {
    /// The number of iterations.
    pub fn iterations(&self) -> usize {
        self.records.len() - 1
    }

    /// The duration in seconds, excluding the measurement of errors.
    pub fn seconds(&self) -> f64 {
        self.records.last().map_or(0.0, |record| record.seconds)
    }
}

/// An iterate, as passed to observers.
#[derive(Debug)]
pub struct Iterate<'a, S> {
    /// Measurements of the iterate. Its jumps are not known yet.
    pub record: &'a Record,
    /// `U_0 .. U_N`.
    pub states: &'a [S],
    /// The distance of each state from the serial fine solution; empty if no reference is given.
    pub errors: &'a [f64],
    /// The jump at the end of each slice of the previous iterate, 0 for slices that were exact. All zeros for
    /// iterate 0.
    pub jumps_before: &'a [f64],
}
