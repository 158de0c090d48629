/// Stopping criteria, initial guess and measurements of a solve.
pub struct Options<'a, S> {
    /// The maximum number of iterations. There are never more than slices.
    pub iterations: Option<usize>,
    /// Stops after an iteration whose jumps were all at most this plus the relative tolerance. If
    /// neither tolerance is set, jumps do not stop the iteration; jumps of 0 meet a tolerance of 0.
    pub absolute_tolerance: Option<f64>,
    /// A tolerance relative to the norm of the largest state.
    pub relative_tolerance: Option<f64>,
    /// The serial fine solution `U_0* .. U_N*`, against which errors are measured.
    pub reference: Option<&'a [S]>,
    /// Iterate 0, `U_0 .. U_N`, in place of the coarse solution. Its first state is replaced by the
    /// initial value.
    pub guess: Option<&'a [S]>,
    /// Returns true to cancel. It is called by several threads before every fine evaluation.
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
