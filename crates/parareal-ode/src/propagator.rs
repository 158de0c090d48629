use faer::dyn_stack::{MemBuffer, StackReq};

use crate::error::{OdeError, in_range};
use crate::grid::Slice;
use crate::state::State;

/// A method that propagates a state from the beginning of a slice to its end.
///
/// One propagator works on several slices concurrently. Its mutable data is therefore in a workspace; each
/// slice has its own workspace. `propagate` should not allocate memory.
pub trait Propagator<S: State>: Send + Sync {
    /// The type of the workspace.
    type Workspace: Send;

    /// Creates a workspace, which is used for one slice at a time.
    fn workspace(&self) -> Self::Workspace;

    /// Propagates `from`, the state at the beginning of `slice`, and writes the state at its end to `to`.
    ///
    /// # Errors
    /// If the method finds no solution, or the size of the state does not match. Values that are not finite
    /// are not an error here, because the caller checks for them.
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

/// A built-in propagator whose type is chosen at run time.
pub type AnyPropagator = Box<dyn Propagator<Vec<f64>, Workspace = Workspace>>;

/// A system `u' = f(t, u)`.
pub trait System: Send + Sync {
    /// The number of unknowns.
    fn size(&self) -> usize;

    /// Writes `f(t, u)` to `derivative`. Both slices have [`size`](Self::size) elements.
    fn derivative(&self, t: f64, u: &[f64], derivative: &mut [f64]);
}

/// A system with a Jacobian, as implicit methods require.
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

/// The workspace of the built-in propagators.
pub struct Workspace {
    pub(crate) numbers: Vec<f64>,
    pub(crate) indices: [Vec<usize>; 2],
    pub(crate) stack: MemBuffer,
}

impl Workspace {
    pub(crate) fn new(numbers: usize, stack: StackReq) -> Self {
        Self {
            numbers: vec![0.0; numbers],
            indices: [Vec::new(), Vec::new()],
            stack: MemBuffer::new(stack),
        }
    }
}

/// Largest number of steps of a propagator per slice.
pub(crate) const MAX_STEPS: usize = 10_000_000;

pub(crate) fn check_steps(steps: usize) -> Result<usize, OdeError> {
    in_range("the number of steps per slice", steps, 1..=MAX_STEPS)
}

pub(crate) fn check_size(expected: usize, found: usize) -> Result<(), OdeError> {
    if expected == found { Ok(()) } else { Err(OdeError::Size { expected, found }) }
}
