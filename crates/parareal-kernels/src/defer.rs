//! Gradients of weights that can wait.
//!
//! A pass backward over a chain of operations has a critical path: the gradient that goes on to the
//! next operation. Gradients of weights lie beside it. Within [`defer_weights`] the operations of
//! this crate compute the former and leave the latter, to the last bit the same, for
//! [`Deferred::compute`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use burn::backend::autodiff::NodeId;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

use crate::operand::{Primitive, slice, slice_mut};

thread_local! {
    /// What waits, where something may.
    static WAITING: RefCell<Option<Vec<Job>>> = const { RefCell::new(None) };
}

/// A gradient still to be computed.
struct Job {
    weight: NodeId,
    compute: Box<dyn FnOnce() -> Option<Primitive> + Send>,
}

/// Gradients of weights still to be computed, with all that they need.
#[derive(Default)]
pub struct Deferred(Vec<Job>);

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deferred").field(&self.0.len()).finish()
    }
}

/// Gradients of weights.
#[derive(Debug, Default)]
pub struct WeightGradients(HashMap<NodeId, Primitive>);

/// Runs a backward pass, in which gradients of weights of this crate's operations are left out
/// where the weight is a leaf of its graph and the operation is fused; all others are computed as
/// ever.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use parareal_kernels::{Root, Stepping, conv2d, defer_weights};
///
/// let device = Device::flex().autodiff();
/// let weight = Tensor::<4>::ones([1, 1, 1, 1], &device).require_grad();
/// let input = Tensor::<4>::ones([1, 2, 2, 1], &device).require_grad();
/// let stepping = Stepping { stride: 1, padding: 0 };
/// let root = Root::new(conv2d(input.clone(), weight.clone(), stepping));
///
/// let along = Tensor::<4>::ones([1, 2, 2, 1], &Device::flex());
/// let (gradients, deferred) = defer_weights(|| root.pull_back(along));
/// let mut gradients = gradients.unwrap();
/// assert!(input.grad_remove(&mut gradients).is_some());
/// assert!(weight.grad_remove(&mut gradients).is_none());
/// assert_eq!(deferred.compute().take(&weight).unwrap().into_scalar::<f32>(), 4.0);
/// ```
pub fn defer_weights<R>(backward: impl FnOnce() -> R) -> (R, Deferred) {
    /// What was there before comes back, also after a panic.
    struct Scope(Option<Vec<Job>>);
    impl Drop for Scope {
        fn drop(&mut self) {
            WAITING.set(self.0.take());
        }
    }
    let scope = Scope(WAITING.replace(Some(Vec::new())));
    let result = backward();
    let waiting = WAITING.take();
    drop(scope);
    (result, Deferred(waiting.unwrap_or_default()))
}

/// Whether gradients of weights are left for later on this thread.
pub(crate) fn is_deferring() -> bool {
    WAITING.with_borrow(Option::is_some)
}

/// Leaves a gradient for later.
pub(crate) fn defer(weight: NodeId, compute: impl FnOnce() -> Option<Primitive> + Send + 'static) {
    WAITING.with_borrow_mut(|waiting| {
        let job = Job { weight, compute: Box::new(compute) };
        waiting.get_or_insert_default().push(job);
    });
}

impl Deferred {
    /// Whether nothing was left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Computes what was left.
    pub fn compute(self) -> WeightGradients {
        let mut gradients: HashMap<NodeId, Primitive> = HashMap::with_capacity(self.0.len());
        for Job { weight, compute } in self.0 {
            let Some(gradient) = compute() else { continue };
            match gradients.entry(weight) {
                Entry::Vacant(entry) => drop(entry.insert(gradient)),
                // A weight of several operations has the sum.
                Entry::Occupied(mut entry) => {
                    let sum = slice_mut(entry.get_mut());
                    sum.iter_mut().zip(slice(&gradient)).for_each(|(sum, term)| *sum += term);
                }
            }
        }
        WeightGradients(gradients)
    }
}

impl WeightGradients {
    /// Takes the gradient of this leaf, if it is here.
    pub fn take<const D: usize>(&mut self, weight: &Tensor<D>) -> Option<Tensor<D>> {
        if self.0.is_empty() || !weight.device().is_autodiff() {
            return None;
        }
        let weight = weight.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
        let gradient = self.0.remove(&weight.node().id())?;
        Some(Tensor::from_primitive::<Flex>(gradient))
    }
}
