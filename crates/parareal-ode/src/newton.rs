use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::{MatMut, MatRef};

use crate::error::{OdeError, in_range};
use crate::grid::Slice;
use crate::matrix::{dense_scratch, factorize, substitute};
use crate::method::Scheme;
use crate::propagator::{Differentiable, Propagator, Workspace, check_size, check_steps};
use crate::state::State;

/// Largest number of Newton iterations in a step.
const MAX_ITERATIONS: usize = 50;
/// Newton's method ends when the correction, relative to the stage, is at most this large. Convergence is
/// quadratic, so the remaining error is below rounding errors.
const CORRECTION: f64 = 1e-10;

/// An implicit method for nonlinear systems, with `steps` steps per slice. Each step is solved by Newton's
/// method with the Jacobian of the system, starting from the state at the beginning of the step.
pub struct NonlinearImplicit<Y> {
    system: Y,
    scheme: Scheme,
    steps: usize,
}

impl<Y: Differentiable> NonlinearImplicit<Y> {
    /// Largest number of unknowns. It is limited because the Jacobian is dense.
    pub const MAX_SIZE: usize = 2048;

    /// Creates the method for a system.
    ///
    /// # Errors
    /// If `steps` is 0 or too large, or there are more than [`MAX_SIZE`](Self::MAX_SIZE) unknowns.
    pub fn new(system: Y, scheme: Scheme, steps: usize) -> Result<Self, OdeError> {
        check_steps(steps)?;
        in_range("the number of unknowns of Newton's method", system.size(), 1..=Self::MAX_SIZE)?;
        Ok(Self { system, scheme, steps })
    }

    /// Solves `v = u + γh f(t, v)` for the stage `v`. On entry, `stage` holds the initial guess; on success,
    /// it holds `v`.
    fn solve_stage(
        &self,
        t: f64,
        shift: f64,
        u: &[f64],
        stage: &mut [f64],
        work: &mut Work<'_>,
    ) -> Result<(), OdeError> {
        let size = u.len();
        let mut iterations = 0;
        while iterations < MAX_ITERATIONS {
            iterations += 1;
            self.system.derivative(t, stage, work.residual);
            self.system.jacobian(t, stage, work.jacobian);
            work.jacobian.iter_mut().for_each(|entry| *entry *= -shift);
            for i in 0..size {
                work.jacobian[i * size + i] += 1.0;
                work.residual[i] = u[i] + shift * work.residual[i] - stage[i];
            }
            let matrix = MatMut::from_column_major_slice_mut(work.jacobian, size, size);
            factorize(matrix, work.indices, work.stack);
            let factors = MatRef::from_column_major_slice(work.jacobian, size, size);
            substitute(factors, work.indices, work.residual, work.stack);
            let mut largest = [0.0_f64; 2];
            for (stage, correction) in stage.iter_mut().zip(&*work.residual) {
                *stage += correction;
                largest = [largest[0].max(correction.abs()), largest[1].max(stage.abs())];
            }
            // `max` ignores NaN.
            if stage.iter().any(|value| !value.is_finite()) {
                break;
            }
            if largest[0] <= CORRECTION * (1.0 + largest[1]) {
                return Ok(());
            }
        }
        Err(OdeError::Newton { time: t, iterations })
    }
}

struct Work<'a> {
    residual: &'a mut [f64],
    jacobian: &'a mut [f64],
    indices: &'a mut [Vec<usize>; 2],
    stack: &'a mut MemStack,
}

impl<Y: Differentiable, S: State + AsRef<[f64]> + AsMut<[f64]>> Propagator<S>
    for NonlinearImplicit<Y>
{
    type Workspace = Workspace;

    fn workspace(&self) -> Workspace {
        let size = self.system.size();
        let mut workspace = Workspace::new(2 * size + size * size, StackReq::EMPTY);
        workspace.indices = [vec![0; size], vec![0; size]];
        workspace.stack = MemBuffer::new(dense_scratch(size));
        workspace
    }

    fn propagate(
        &self,
        slice: Slice,
        from: &S,
        to: &mut S,
        workspace: &mut Workspace,
    ) -> Result<(), OdeError> {
        let size = self.system.size();
        check_size(size, from.size())?;
        let h = slice.length / self.steps as f64;
        let shift = self.scheme.weight() * h;
        let (stage, rest) = workspace.numbers.split_at_mut(size);
        let (residual, jacobian) = rest.split_at_mut(size);
        let stack = MemStack::new(&mut workspace.stack);
        let mut work = Work { residual, jacobian, indices: &mut workspace.indices, stack };
        to.assign(from);
        let u = to.as_mut();
        for step in 0..self.steps {
            let t = slice.start + h * step as f64;
            stage.copy_from_slice(u);
            self.solve_stage(t + shift, shift, u, stage, &mut work)?;
            self.scheme.finish(stage, u);
        }
        Ok(())
    }
}
