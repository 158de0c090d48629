/// The speedup of the parareal iteration over the serial fine solution, in the usual model. The fine
/// evaluations of an iteration are distributed over `processors`, coarse evaluations are sequential, and
/// nothing else takes time.
///
/// ```text
///                                 N T_f
///   ─────────────────────────────────────────────────────────────
///   N T_g + Σ_k ( ⌈(N - k + 1) / P⌉ T_f + (N - k) T_g ),   k = 1..K
/// ```
///
/// In iteration `k`, only `N - k + 1` slices are not exact yet. With one processor per slice and a free
/// coarse propagator, the speedup is `N / K`.
///
/// ```
/// use parareal_ode::model_speedup;
///
/// assert_eq!(model_speedup(10, 2, 10, [1.0, 0.0]), 5.0);
/// // The 19 fine evaluations take 10 rounds on 2 processors. There are 10 + 9 + 8 coarse ones.
/// assert_eq!(model_speedup(10, 2, 2, [1.0, 0.1]), 10.0 / (10.0 + 2.7));
/// ```
///
/// `N` is `slices`, `K` is `iterations`, `P` is `processors`, and `seconds` are `T_f` and `T_g`, the
/// durations of one fine and one coarse evaluation.
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
