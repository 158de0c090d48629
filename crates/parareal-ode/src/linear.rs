//! Propagators of linear systems `u' = Au`. Exponentials and factorizations depend only on the length of a
//! slice, so they are computed when the propagator is created, once for each distinct length.

use faer::dyn_stack::{MemStack, StackReq};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};

use crate::error::{OdeError, in_range};
use crate::exponential::exponential;
use crate::grid::{Grid, Slice};
use crate::matrix::{Factors, Matrix};
use crate::method::Scheme;
use crate::propagator::{Propagator, Workspace, check_size, check_steps};
use crate::state::State;

/// The exact propagator, `u(T_{j+1}) = e^{ΔT_j A} u(T_j)`.
///
/// It stores one dense matrix, the exponential, for each distinct slice length.
///
/// ```
/// use parareal_ode::{Exact, Grid, Matrix, Propagator};
///
/// let grid = Grid::uniform(std::f64::consts::PI, 1)?;
/// let rotation = Exact::new(&Matrix::dense(2, &[0.0, -1.0, 1.0, 0.0])?, &grid)?;
/// let mut turned = [0.0; 2];
/// let mut workspace = Propagator::<[f64; 2]>::workspace(&rotation);
/// rotation.propagate(grid.slices()[0], &[1.0, 0.0], &mut turned, &mut workspace)?;
/// assert!((turned[0] + 1.0).abs() < 1e-14 && turned[1].abs() < 1e-14);
/// # Ok::<(), parareal_ode::OdeError>(())
/// ```
#[derive(Debug)]
pub struct Exact {
    size: usize,
    by_length: Vec<(f64, Mat<f64>)>,
}

impl Exact {
    /// Largest number of unknowns.
    pub const MAX_SIZE: usize = 2048;

    /// Prepares the propagator for the slices of a grid.
    ///
    /// # Errors
    /// If there are more than [`MAX_SIZE`](Self::MAX_SIZE) unknowns.
    pub fn new(matrix: &Matrix, grid: &Grid) -> Result<Self, OdeError> {
        let what = "the number of unknowns of the exact propagator, a dense matrix";
        let size = in_range(what, matrix.size(), 1..=Self::MAX_SIZE)?;
        let dense = matrix.to_dense();
        let prepare = |length: f64| {
            let scaled = Mat::from_fn(size, size, |i, j| length * dense[(i, j)]);
            (length, exponential(&scaled))
        };
        Ok(Self { size, by_length: grid.lengths().into_iter().map(prepare).collect() })
    }
}

impl<S: State + AsRef<[f64]> + AsMut<[f64]>> Propagator<S> for Exact {
    type Workspace = Workspace;

    fn workspace(&self) -> Workspace {
        Workspace::new(0, StackReq::EMPTY)
    }

    fn propagate(
        &self,
        slice: Slice,
        from: &S,
        to: &mut S,
        _workspace: &mut Workspace,
    ) -> Result<(), OdeError> {
        check_size(self.size, from.size())?;
        let exponential = prepared(&self.by_length, slice)?;
        let from = MatRef::from_column_major_slice(from.as_ref(), self.size, 1);
        let to = MatMut::from_column_major_slice_mut(to.as_mut(), self.size, 1);
        matmul(to, Accum::Replace, exponential, from, 1.0, Par::Seq);
        Ok(())
    }
}

/// An implicit method for linear systems, with `steps` steps per slice. Each step solves a linear system with
/// a precomputed factorization.
pub struct LinearImplicit {
    size: usize,
    scheme: Scheme,
    steps: usize,
    by_length: Vec<(f64, Factors)>,
}

impl LinearImplicit {
    /// Prepares the propagator for the slices of a grid: factorizes `I - γhA` for each distinct slice length.
    ///
    /// # Errors
    /// If `steps` is 0 or too large, or `I - γhA` is singular for a slice length.
    pub fn new(
        matrix: &Matrix,
        grid: &Grid,
        scheme: Scheme,
        steps: usize,
    ) -> Result<Self, OdeError> {
        check_steps(steps)?;
        let prepare = |length: f64| {
            let factors = matrix.factorize_shifted(scheme.weight() * length / steps as f64)?;
            Ok((length, factors))
        };
        let by_length = grid.lengths().into_iter().map(prepare).collect::<Result<_, OdeError>>()?;
        Ok(Self { size: matrix.size(), scheme, steps, by_length })
    }
}

impl<S: State + AsRef<[f64]> + AsMut<[f64]>> Propagator<S> for LinearImplicit {
    type Workspace = Workspace;

    fn workspace(&self) -> Workspace {
        let scratch = self.by_length.iter().map(|(_, factors)| factors.scratch());
        Workspace::new(self.size, scratch.fold(StackReq::EMPTY, StackReq::or))
    }

    fn propagate(
        &self,
        slice: Slice,
        from: &S,
        to: &mut S,
        workspace: &mut Workspace,
    ) -> Result<(), OdeError> {
        check_size(self.size, from.size())?;
        let factors = prepared(&self.by_length, slice)?;
        let stack = MemStack::new(&mut workspace.stack);
        to.assign(from);
        let state = to.as_mut();
        for _ in 0..self.steps {
            match self.scheme {
                Scheme::BackwardEuler => factors.solve(state, stack),
                Scheme::Midpoint => {
                    let stage = &mut workspace.numbers;
                    stage.copy_from_slice(state);
                    factors.solve(stage, stack);
                    self.scheme.finish(stage, state);
                }
            }
        }
        Ok(())
    }
}

fn prepared<T>(by_length: &[(f64, T)], slice: Slice) -> Result<&T, OdeError> {
    let at = by_length.binary_search_by(|(length, _)| length.total_cmp(&slice.length));
    at.map(|at| &by_length[at].1).map_err(|_| OdeError::OtherGrid { length: slice.length })
}
