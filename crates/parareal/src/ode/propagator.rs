use faer::dyn_stack::{MemBuffer, StackReq};

use super::error::in_range;
use super::{OdeError, Slice, State};

/// Takes a state from the beginning of a slice to its end.
///
/// The same propagator works in several slices at once, so what changes lies in the workspace, of
/// which each slice has its own. `propagate` should not allocate.
pub trait Propagator<S: State>: Send + Sync {
    /// Memory to work in.
    type Workspace: Send;

    /// Memory for one slice at a time.
    fn workspace(&self) -> Self::Workspace;

    /// Writes the state at the end of `slice` into `to`, given the one at its beginning.
    ///
    /// # Errors
    /// Where the method found no solution, or the state is not of its size. Numbers that are not
    /// finite are no error of the propagator: who calls it looks.
    fn propagate(
        &self,
        slice: Slice,
        from: &S,
        to: &mut S,
        workspace: &mut Self::Workspace,
    ) -> Result<(), OdeError>;
}

impl<S: State, P: Propagator<S> + ?Sized> Propagator<S> for Box<P> {
    type Workspace = P::Workspace;

    fn workspace(&self) -> Self::Workspace {
        (**self).workspace()
    }

    fn propagate(
        &self,
        slice: Slice,
        from: &S,
        to: &mut S,
        workspace: &mut Self::Workspace,
    ) -> Result<(), OdeError> {
        (**self).propagate(slice, from, to, workspace)
    }
}

impl<S: State, P: Propagator<S> + ?Sized> Propagator<S> for &P {
    type Workspace = P::Workspace;

    fn workspace(&self) -> Self::Workspace {
        (**self).workspace()
    }

    fn propagate(
        &self,
        slice: Slice,
        from: &S,
        to: &mut S,
        workspace: &mut Self::Workspace,
    ) -> Result<(), OdeError> {
        (**self).propagate(slice, from, to, workspace)
    }
}

/// A ready propagator of either kind, chosen while running.
pub type AnyPropagator = Box<dyn Propagator<Vec<f64>, Workspace = Workspace>>;

/// A system `u' = f(t, u)`.
pub trait System: Send + Sync {
    /// The number of unknowns.
    fn size(&self) -> usize;

    /// Writes `f(t, u)` into `derivative`. Both slices hold [`size`](Self::size) numbers.
    fn derivative(&self, t: f64, u: &[f64], derivative: &mut [f64]);
}

/// A system whose Jacobian is known, for implicit steps.
pub trait Differentiable: System {
    /// Writes `∂f_i/∂u_j` to `jacobian[j · size + i]`, column by column.
    fn jacobian(&self, t: f64, u: &[f64], jacobian: &mut [f64]);
}

impl<Y: System + ?Sized> System for std::sync::Arc<Y> {
    fn size(&self) -> usize {
        (**self).size()
    }

    fn derivative(&self, t: f64, u: &[f64], derivative: &mut [f64]) {
        (**self).derivative(t, u, derivative);
    }
}

impl<Y: Differentiable + ?Sized> Differentiable for std::sync::Arc<Y> {
    fn jacobian(&self, t: f64, u: &[f64], jacobian: &mut [f64]) {
        (**self).jacobian(t, u, jacobian);
    }
}

/// What the ready propagators work in.
pub struct Workspace {
    pub(super) numbers: Vec<f64>,
    pub(super) indices: [Vec<usize>; 2],
    pub(super) stack: MemBuffer,
}

impl Workspace {
    pub(super) fn new(numbers: usize, stack: StackReq) -> Self {
        Self {
            numbers: vec![0.0; numbers],
            indices: [Vec::new(), Vec::new()],
            stack: MemBuffer::new(stack),
        }
    }
}

/// The most steps of a propagator in one slice.
pub(super) const MOST_STEPS: usize = 10_000_000;

pub(super) fn check_steps(steps: usize) -> Result<usize, OdeError> {
    in_range("the number of steps per slice", steps, 1..=MOST_STEPS)
}

pub(super) fn check_size(expected: usize, found: usize) -> Result<(), OdeError> {
    if expected == found { Ok(()) } else { Err(OdeError::Size { expected, found }) }
}
