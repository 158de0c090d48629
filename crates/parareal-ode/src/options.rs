/// Stopping criteria, initial guess and reference solution of a solve.
pub struct Options<'a, S> {
    /// The maximum number of iterations. It never exceeds the number of slices, which is the default.
    pub iterations: Option<usize>,
    /// The absolute tolerance. The solve stops after an iteration in which all corrected jumps were at most
    /// the sum of the absolute tolerance and the relative one (times the norm of the largest state). Without
    /// any tolerance, jumps do not stop the iteration. Jumps of 0 satisfy a tolerance of 0.
    pub absolute_tolerance: Option<f64>,
    /// The tolerance relative to the norm of the largest state.
    pub relative_tolerance: Option<f64>,
    /// The serial fine solution `U_0* .. U_N*`, against which errors are measured.
    pub reference: Option<&'a [S]>,
    /// Iterate 0, `U_0 .. U_N`, instead of the coarse solution. Its first state is replaced with the initial
    /// value.
    pub guess: Option<&'a [S]>,
    /// Returns true to cancel the solve. Several threads call it, before every fine evaluation.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

impl<S> Default for Options<'_, S> {
    fn default() -> Self {
        Self {
            iterations: None,
            absolute_tolerance: None,
            relative_tolerance: None,
            reference: None,
            guess: None,
            stop: &|| false,
        }
    }
}
