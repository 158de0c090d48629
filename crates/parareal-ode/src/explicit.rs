use faer::dyn_stack::StackReq;

use crate::error::OdeError;
use crate::grid::Slice;
use crate::propagator::{Propagator, System, Workspace, check_size, check_steps};
use crate::state::State;

/// The classical Runge-Kutta method of order 4, with `steps` steps per slice.
///
/// The method is explicit. If the steps are too long for a stiff system, the values grow without bound.
/// [`Parareal`](crate::Parareal) reports an error when they are no longer finite.
pub struct RungeKutta4<Y> {
    system: Y,
    steps: usize,
}

impl<Y: System> RungeKutta4<Y> {
    /// Creates the method for a system.
    ///
    /// # Errors
    /// If `steps` is 0 or too large.
    pub fn new(system: Y, steps: usize) -> Result<Self, OdeError> {
        Ok(Self { system, steps: check_steps(steps)? })
    }
}

impl<Y: System, S: State + AsRef<[f64]> + AsMut<[f64]>> Propagator<S> for RungeKutta4<Y> {
    type Workspace = Workspace;

    fn workspace(&self) -> Workspace {
        Workspace::new(3 * self.system.size(), StackReq::EMPTY)
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
        let (slope, rest) = workspace.numbers.split_at_mut(size);
        let (stage, begun) = rest.split_at_mut(size);
        to.assign(from);
        let u = to.as_mut();
        for step in 0..self.steps {
            let t = slice.start + h * step as f64;
            begun.copy_from_slice(u);
            stage.copy_from_slice(u);
            // For each slope: its time within the step, its weight in the sum, and the distance to the next
            // stage.
            for (at, weight, next) in [
                (0.0, 1.0 / 6.0, 0.5),
                (0.5, 1.0 / 3.0, 0.5),
                (0.5, 1.0 / 3.0, 1.0),
                (1.0, 1.0 / 6.0, 0.0),
            ] {
                self.system.derivative(t + at * h, stage, slope);
                for i in 0..size {
                    u[i] += weight * h * slope[i];
                    stage[i] = begun[i] + next * h * slope[i];
                }
            }
        }
        Ok(())
    }
}
