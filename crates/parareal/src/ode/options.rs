/// When to end, what to begin with, and what to measure.
pub struct Options<'a, S> {
    /// The most iterations; more than slices are never made.
    pub iterations: Option<usize>,
    /// Ends behind an iteration whose jumps were all at most this, plus the relative tolerance.
    /// Without either, jumps end nothing; a tolerance of 0 is met by jumps that are 0.
    pub absolute_tolerance: Option<f64>,
    /// The same, times the norm of the largest state.
    pub relative_tolerance: Option<f64>,
    /// The serial fine solution `U_0* .. U_N*`, to measure errors against.
    pub reference: Option<&'a [S]>,
    /// Iterate 0, `U_0 .. U_N`, in place of the coarse solution. Its first state is replaced by the
    /// initial value.
    pub guess: Option<&'a [S]>,
    /// Asked before every fine evaluation, by several threads: whether to stop.
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
