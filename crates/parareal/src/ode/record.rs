/// What is known of one iterate. Iterate 0 is the coarse solution, or the guess.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// The number of iterations, `k`.
    pub k: usize,
    /// The largest jump `‖𝓕(U_j) - U_{j+1}‖` over the slices of this iterate. The fine sweep of
    /// the next iteration finds it; of the last iterate it is 0 where all slices are exact, else
    /// measured after the clock has stopped if the error is asked for, else unknown.
    pub max_jump: Option<f64>,
    /// The largest distance `‖U_j - U_j*‖` from the serial fine solution, where that was given.
    pub max_error: Option<f64>,
    /// Fine evaluations up to here: solutions of one slice.
    pub fine_evaluations: usize,
    /// Coarse evaluations up to here.
    pub coarse_evaluations: usize,
    /// Seconds in fine sweeps up to here.
    pub fine_seconds: f64,
    /// Seconds up to here, without what it took to measure errors.
    pub seconds: f64,
}

/// Why the iteration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The jumps that the last iteration found, and repaired, were within the tolerance.
    Tolerance,
    /// As many iterations as slices: all are exact.
    Exact,
    /// As many iterations as were asked for.
    Iterations,
    /// It was told to stop; the states are the last whole iterate.
    Cancelled,
}

/// What came of an iteration.
#[derive(Clone, Debug)]
pub struct Solution<S> {
    /// `U_0 .. U_N`.
    pub states: Vec<S>,
    /// One for each iterate, from 0 on.
    pub records: Vec<Record>,
    /// Why it ended.
    pub ending: Ending,
}

impl<S> Solution<S> {
    /// The number of iterations.
    pub fn iterations(&self) -> usize {
        self.records.len() - 1
    }

    /// Seconds without what it took to measure errors.
    pub fn seconds(&self) -> f64 {
        self.records.last().map_or(0.0, |record| record.seconds)
    }
}

/// An iterate, as it is shown while the iteration runs.
#[derive(Debug)]
pub struct Iterate<'a, S> {
    /// What is known of it; its jumps are not yet.
    pub record: &'a Record,
    /// `U_0 .. U_N`.
    pub states: &'a [S],
    /// The distance of each state from the serial fine solution, where that was given; else empty.
    pub errors: &'a [f64],
    /// The jump at the end of each slice of the iterate before, 0 where that slice was exact; of
    /// iterate 0, zeros.
    pub jumps_before: &'a [f64],
}
