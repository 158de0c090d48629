/// The speedup of parareal over the serial fine solution, by the usual model: the fine sweeps of an
/// iteration are shared by `processors`, coarse evaluations are sequential, and nothing else takes
/// time.
///
/// ```text
///                                 N T_f
///   ─────────────────────────────────────────────────────────────
///   N T_g + Σ_k ( ⌈(N - k + 1) / P⌉ T_f + (N - k) T_g ),   k = 1..K
/// ```
///
/// With a processor for each slice and a coarse propagator that costs nothing it is `N / K`. In
/// iteration `k` only `N - k + 1` slices are not exact yet.
///
/// ```
/// use parareal_ode::model_speedup;
///
/// assert_eq!(model_speedup(10, 2, 10, [1.0, 0.0]), 5.0);
/// // 10 of 19 fine evaluations in turn, and 10 + 9 + 8 coarse ones.
/// assert_eq!(model_speedup(10, 2, 2, [1.0, 0.1]), 10.0 / (10.0 + 2.7));
/// ```
///
/// `seconds` are those of one fine and one coarse evaluation.
pub fn model_speedup(
    slices: usize,
    iterations: usize,
    processors: usize,
    seconds: [f64; 2],
) -> f64 {
    let [fine, coarse] = seconds;
    let iteration = |k: usize| {
        let sweeps = (slices + 1 - k).div_ceil(processors.max(1));
        sweeps as f64 * fine + (slices - k) as f64 * coarse
    };
    let parallel: f64 = (1..=iterations.min(slices)).map(iteration).sum();
    slices as f64 * fine / (slices as f64 * coarse + parallel)
}
