use std::time::Instant;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{OdeError, in_range};
use crate::grid::{Grid, Slice};
use crate::options::Options;
use crate::propagator::Propagator;
use crate::record::{Ending, Iterate, Record, Solution};
use crate::state::State;

/// The parareal iteration for a fine propagator `𝓕` and a coarse one `G`.
///
/// ```text
/// U_{j+1}^0     = G(U_j^0)
/// U_{j+1}^{k+1} = 𝓕(U_j^k) + ( G(U_j^{k+1}) - G(U_j^k) )      j = 0..N-1
///                 ───┬────     ───────────┬─────────────
///               all at once     one after another
/// ```
///
/// The propagations with `𝓕` run in parallel, those with `G` one after another. After `k` iterations, the
/// first `k` slices are bitwise equal to the serial fine solution and no longer change. Results do not depend
/// on the number of threads.
///
/// ```
/// use parareal_ode::{Exact, Grid, LinearImplicit, Matrix, Options, Parareal, Scheme};
///
/// let grid = Grid::uniform(10.0, 10)?;
/// let decay = Matrix::dense(1, &[-1.0])?;
/// let fine = Exact::new(&decay, &grid)?;
/// let coarse = LinearImplicit::new(&decay, &grid, Scheme::BackwardEuler, 1)?;
/// let parareal = Parareal::new(grid, fine, coarse, 2)?;
///
/// let (serial, _) = parareal.serial(&[1.0], || false)?;
/// let options = Options { iterations: Some(5), reference: Some(&serial), ..Options::default() };
/// let solution = parareal.solve(&[1.0], &options, |_| ())?;
/// assert!(solution.records[5].max_error < Some(1e-3));
/// # Ok::<(), parareal_ode::OdeError>(())
/// ```
pub struct Parareal<F, G> {
    grid: Grid,
    fine: F,
    coarse: G,
    pool: ThreadPool,
    scale: f64,
}

/// The buffers of one slice.
struct SliceBuffers<S, W> {
    slice: Slice,
    /// `𝓕(U_j^k)`.
    fine: S,
    /// `G(U_j^k)`.
    coarse: S,
    workspace: W,
    outcome: Result<(), OdeError>,
}

impl<F, G> Parareal<F, G> {
    /// Creates a solver with its own pool of `threads` threads. Threads beyond the number of slices
    /// stay idle.
    ///
    /// # Errors
    /// [`OdeError::Value`] unless `threads` is from 1 to 1,024; [`OdeError::Threads`] if the system cannot
    /// start them.
    pub fn new(grid: Grid, fine: F, coarse: G, threads: usize) -> Result<Self, OdeError> {
        in_range("the number of threads", threads, 1..=1024)?;
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| OdeError::Threads { threads, message: e.to_string() })?;
        // Waits until every thread has started, so that no thread allocates memory later.
        pool.broadcast(|_| ());
        Ok(Self { grid, fine, coarse, pool, scale: 1.0 })
    }

    /// Sets a factor for all norms. With the square root of the mesh width, the norm of values on a mesh
    /// approximates the L² norm of a function.
    #[must_use]
    pub fn with_norm_scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// The slices.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Computes the serial fine solution `U_0* .. U_N*`. Returns it with the duration in seconds. `stop` is
    /// called before every slice.
    ///
    /// # Errors
    /// If the initial value has size 0 or is not finite, or the fine propagator fails.
    /// [`OdeError::Cancelled`] if `stop` returns true.
    pub fn serial<S: State>(
        &self,
        initial: &S,
        stop: impl Fn() -> bool,
    ) -> Result<(Vec<S>, f64), OdeError>
    where
        F: Propagator<S>,
    {
        let mut states = self.begin(initial)?;
        let mut workspace = self.fine.workspace();
        let begun = Instant::now();
        for &slice in self.grid.slices() {
            if stop() {
                return Err(OdeError::Cancelled);
            }
            let (before, after) = states.split_at_mut(slice.index + 1);
            self.fine.propagate(slice, &before[slice.index], &mut after[0], &mut workspace)?;
            check("fine", slice, 0, after[0].norm())?;
        }
        Ok((states, begun.elapsed().as_secs_f64()))
    }

    /// Iterates until the jumps are within the tolerance, all slices are exact, the maximum number of
    /// iterations is reached, or the solve is cancelled. `observe` is called with every iterate.
    ///
    /// # Errors
    /// If the initial value has size 0 or is not finite, an option is invalid, or a propagator fails or
    /// returns values that are not finite ([`OdeError::NotFinite`]).
    pub fn solve<S: State>(
        &self,
        initial: &S,
        options: &Options<'_, S>,
        observe: impl FnMut(&Iterate<'_, S>) + Send,
    ) -> Result<Solution<S>, OdeError>
    where
        F: Propagator<S>,
        G: Propagator<S>,
    {
        for (which, value) in
            [("absolute", options.absolute_tolerance), ("relative", options.relative_tolerance)]
        {
            if let Some(value) = value.filter(|value| !(*value >= 0.0 && value.is_finite())) {
                return Err(OdeError::Tolerance { which, value });
            }
        }
        let slices = self.grid.slices().len();
        for given in [options.reference, options.guess].into_iter().flatten() {
            if given.len() != slices + 1 {
                return Err(OdeError::States { slices, found: given.len() });
            }
            if let Some(other) = given.iter().find(|state| state.size() != initial.size()) {
                return Err(OdeError::Size { expected: initial.size(), found: other.size() });
            }
        }
        let states = self.begin(initial)?;
        // The whole solve runs within the pool, because submitting jobs from outside allocates memory.
        self.pool.install(|| Run::new(self, states, options).run(observe))
    }

    /// Returns one copy of the initial value for each point of the grid.
    fn begin<S: State>(&self, initial: &S) -> Result<Vec<S>, OdeError> {
        match initial.size() {
            0 => Err(OdeError::EmptyState),
            _ if !initial.norm().is_finite() => Err(OdeError::InitialValue),
            _ => Ok(vec![initial.clone(); self.grid.slices().len() + 1]),
        }
    }
}

/// Checks that a norm is finite and returns it.
fn check(
    propagator: &'static str,
    slice: Slice,
    iteration: usize,
    norm: f64,
) -> Result<f64, OdeError> {
    match norm.is_finite() {
        true => Ok(norm),
        false => Err(OdeError::NotFinite { propagator, slice: slice.index + 1, iteration }),
    }
}

/// A solve in progress. `new` allocates all memory.
struct Run<'a, S: State, F: Propagator<S>, G: Propagator<S>> {
    parareal: &'a Parareal<F, G>,
    options: &'a Options<'a, S>,
    states: Vec<S>,
    buffers: Vec<SliceBuffers<S, F::Workspace>>,
    /// `G(U_j^{k+1})` of the current slice.
    coarse: S,
    coarse_workspace: G::Workspace,
    jumps: Vec<f64>,
    errors: Vec<f64>,
    records: Vec<Record>,
}

impl<'a, S: State, F: Propagator<S>, G: Propagator<S>> Run<'a, S, F, G> {
    fn new(parareal: &'a Parareal<F, G>, states: Vec<S>, options: &'a Options<'a, S>) -> Self {
        let slices = parareal.grid.slices();
        let new = |&slice| SliceBuffers {
            slice,
            fine: states[0].clone(),
            coarse: states[0].clone(),
            workspace: parareal.fine.workspace(),
            outcome: Ok(()),
        };
        let iterations = options.iterations.unwrap_or(slices.len()).min(slices.len());
        Self {
            parareal,
            options,
            buffers: slices.iter().map(new).collect(),
            coarse: states[0].clone(),
            coarse_workspace: parareal.coarse.workspace(),
            jumps: vec![0.0; slices.len()],
            errors: vec![0.0; options.reference.map_or(0, <[S]>::len)],
            records: Vec::with_capacity(iterations + 1),
            states,
        }
    }

    fn run(mut self, mut observe: impl FnMut(&Iterate<'_, S>)) -> Result<Solution<S>, OdeError> {
        let slices = self.buffers.len();
        let most = self.options.iterations.unwrap_or(slices).min(slices);
        self.first()?;
        self.show(&mut observe);
        let mut ending = if most == 0 { Ending::Iterations } else { Ending::Exact };
        for k in 1..=most {
            let begun = Instant::now();
            if !self.fine_sweep(k)? {
                ending = Ending::Cancelled;
                break;
            }
            let swept = begun.elapsed().as_secs_f64();
            let within = self.within_tolerance();
            self.correct(k)?;
            let before = self.records[k - 1];
            self.records.push(Record {
                k,
                max_jump: (k == slices).then_some(0.0),
                max_error: None,
                fine_evaluations: before.fine_evaluations + slices - (k - 1),
                coarse_evaluations: before.coarse_evaluations + slices - k,
                fine_seconds: before.fine_seconds + swept,
                seconds: before.seconds + begun.elapsed().as_secs_f64(),
            });
            self.show(&mut observe);
            if k < slices && within {
                ending = Ending::Tolerance;
                break;
            }
            if k == most && k < slices {
                ending = Ending::Iterations;
            }
        }
        self.measure_last_jumps()?;
        Ok(Solution { states: self.states, records: self.records, ending })
    }

    /// Computes iterate 0 and its coarse values `G(U_j^0)`.
    fn first(&mut self) -> Result<(), OdeError> {
        let begun = Instant::now();
        if let Some(guess) = self.options.guess {
            self.states[1..].iter_mut().zip(&guess[1..]).for_each(|(own, guess)| own.assign(guess));
            if self.states.iter().any(|state| !state.norm().is_finite()) {
                return Err(OdeError::InitialValue);
            }
        }
        for own in &mut self.buffers {
            let slice = own.slice;
            let (before, after) = self.states.split_at_mut(slice.index + 1);
            let (from, workspace) = (&before[slice.index], &mut self.coarse_workspace);
            self.parareal.coarse.propagate(slice, from, &mut own.coarse, workspace)?;
            check("coarse", slice, 0, own.coarse.norm())?;
            if self.options.guess.is_none() {
                after[0].assign(&own.coarse);
            }
        }
        self.records.push(Record {
            k: 0,
            max_jump: None,
            max_error: None,
            fine_evaluations: 0,
            coarse_evaluations: self.buffers.len(),
            fine_seconds: 0.0,
            seconds: begun.elapsed().as_secs_f64(),
        });
        Ok(())
    }

    /// Computes `𝓕(U_j^{k-1})` and the jumps in all slices that are not exact yet. Returns false if the solve
    /// was cancelled.
    fn fine_sweep(&mut self, k: usize) -> Result<bool, OdeError> {
        let Self { parareal, options, states, buffers, jumps, .. } = self;
        let (exact, scale) = (k - 1, parareal.scale);
        jumps[..exact].fill(0.0);
        let cancelled = buffers[exact..]
            .par_iter_mut()
            .zip(&mut jumps[exact..])
            .with_max_len(1)
            .map(|(own, jump)| {
                if (options.stop)() {
                    return true;
                }
                let SliceBuffers { slice, fine, workspace, outcome, .. } = own;
                let (from, next) = (&states[slice.index], &states[slice.index + 1]);
                *outcome = parareal.fine.propagate(*slice, from, fine, workspace);
                *jump = scale * fine.distance(next);
                false
            })
            .reduce(|| false, |a, b| a | b);
        // The error of the first failed slice is returned, regardless of which thread failed first.
        for (own, jump) in buffers[exact..].iter_mut().zip(&jumps[exact..]) {
            std::mem::replace(&mut own.outcome, Ok(()))?;
            if !cancelled {
                check("fine", own.slice, k, *jump)?;
            }
        }
        if !cancelled {
            let largest = largest(&self.jumps);
            self.records[k - 1].max_jump = Some(largest);
        }
        Ok(!cancelled)
    }

    /// Returns true if the jumps of the last sweep are small enough.
    fn within_tolerance(&self) -> bool {
        let (absolute, relative) =
            (self.options.absolute_tolerance, self.options.relative_tolerance);
        if absolute.or(relative).is_none() {
            return false;
        }
        let norms = self.states.iter().map(|state| self.parareal.scale * state.norm());
        let limit = absolute.unwrap_or(0.0) + relative.unwrap_or(0.0) * norms.fold(0.0, f64::max);
        largest(&self.jumps) <= limit
    }

    /// Computes `U^k` from `U^{k-1}`.
    fn correct(&mut self, k: usize) -> Result<(), OdeError> {
        // U_{k-1} has not changed, so the two coarse values in the correction of slice k-1 are equal.
        self.states[k].assign(&self.buffers[k - 1].fine);
        for own in &mut self.buffers[k..] {
            let slice = own.slice;
            let (before, after) = self.states.split_at_mut(slice.index + 1);
            let (from, to) = (&before[slice.index], &mut after[0]);
            let workspace = &mut self.coarse_workspace;
            self.parareal.coarse.propagate(slice, from, &mut self.coarse, workspace)?;
            // The difference is computed first. If nothing changes, it is exactly zero, and adding 𝓕 does not
            // round.
            to.assign(&self.coarse);
            to.add_scaled(-1.0, &own.coarse);
            to.add_scaled(1.0, &own.fine);
            check("coarse", slice, k, to.norm())?;
            std::mem::swap(&mut own.coarse, &mut self.coarse);
        }
        Ok(())
    }

    /// Measures errors if there is a reference, and passes the iterate to the observer.
    fn show(&mut self, observe: &mut impl FnMut(&Iterate<'_, S>)) {
        let last = self.records.len() - 1;
        if let Some(reference) = self.options.reference {
            let pairs = self.states.iter().zip(reference);
            for (error, (state, reference)) in self.errors.iter_mut().zip(pairs) {
                *error = self.parareal.scale * state.distance(reference);
            }
            self.records[last].max_error = Some(largest(&self.errors));
        }
        observe(&Iterate {
            record: &self.records[last],
            states: &self.states,
            errors: &self.errors,
            jumps_before: &self.jumps,
        });
    }

    /// Measures the jumps of the last iterate if there is a reference. The recorded time does not include
    /// this.
    fn measure_last_jumps(&mut self) -> Result<(), OdeError> {
        let last = self.records.len() - 1;
        let unknown = self.records[last].max_jump.is_none();
        if unknown && self.options.reference.is_some() && !(self.options.stop)() {
            self.fine_sweep(last + 1)?;
        }
        Ok(())
    }
}

/// Returns the largest of nonnegative numbers, or NaN if one of them is NaN.
fn largest(values: &[f64]) -> f64 {
    // `f64::max` would ignore a NaN.
    let larger = |a: f64, b: f64| if a.is_nan() || b <= a { a } else { b };
    values.iter().copied().fold(0.0, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_numbers_with_a_nan_is_nan() {
        assert_eq!(largest(&[1.0, 3.0, 2.0]), 3.0);
        assert_eq!(largest(&[]), 0.0);
        for position in 0..3 {
            let mut values = [1.0, 3.0, 2.0];
            values[position] = f64::NAN;
            assert!(largest(&values).is_nan());
        }
    }
}
