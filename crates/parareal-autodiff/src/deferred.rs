//! Weight gradients that are computed after the backward pass.
//!
//! The critical path of a backward pass is the gradient that flows on to the next operation. No other
//! operation depends on weight gradients. Within [`defer_weight_gradients`], operations that support deferral
//! compute the gradient of their input and [`defer`] the gradient of their weight.
//! [`DeferredGradients::compute`] computes the deferred gradients later. The results are bitwise the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

#[cfg(feature = "cube")]
use burn::backend::Cube;
use burn::backend::autodiff::NodeId;
use burn::backend::{DispatchTensor, Flex};
use burn::tensor::Tensor;

use crate::record::GraphBackend;
use crate::scope::within;

thread_local! {
    /// The deferred gradients of the current scope; `None` outside every scope.
    static SCOPE: RefCell<Option<Vec<Job>>> = const { RefCell::new(None) };
}

/// A gradient still to be computed.
struct Job {
    weight: NodeId,
    compute: Box<dyn FnOnce() -> Option<Gradient> + Send>,
}

/// A gradient of any rank, outside every graph.
#[derive(Debug)]
struct Gradient {
    tensor: DispatchTensor,
    add: fn(DispatchTensor, DispatchTensor) -> DispatchTensor,
}

impl Gradient {
    fn new<const D: usize>(gradient: Tensor<D>) -> Self {
        let add = |a, b| (Tensor::<D>::from_dispatch(a) + Tensor::from_dispatch(b)).into_dispatch();
        Self { tensor: gradient.into_dispatch(), add }
    }
}

/// Weight gradients that are still to be computed, with all operands that they need.
#[derive(Default)]
pub struct DeferredGradients(Vec<Job>);

impl fmt::Debug for DeferredGradients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeferredGradients").field(&self.0.len()).finish()
    }
}

/// Weight gradients, keyed by weight.
#[derive(Debug, Default)]
pub struct WeightGradients(HashMap<NodeId, Gradient>);

/// Runs a backward pass in which operations may [`defer`] their weight gradients. Returns its result and the
/// deferred gradients.
///
/// Operations that do not support deferral, such as Burn's own, compute all gradients as usual.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use parareal_autodiff::{Vjp, defer_weight_gradients};
///
/// let weight = Tensor::<1>::ones([3], &Device::flex().autodiff()).require_grad();
/// let vjp = Vjp::new(weight.clone() * 2.0);
/// let cotangent = Tensor::<1>::ones([3], &Device::flex());
/// let (gradients, deferred) = defer_weight_gradients(|| vjp.pull_back(cotangent));
///
/// // Burn's multiplication does not defer, so the backward pass has computed the gradient.
/// assert!(weight.grad(&gradients.unwrap()).is_some());
/// assert!(deferred.is_empty());
/// assert!(deferred.compute().take(&weight).is_none());
/// ```
pub fn defer_weight_gradients<R>(backward: impl FnOnce() -> R) -> (R, DeferredGradients) {
    let (result, jobs) = within(&SCOPE, Vec::new(), backward);
    (result, DeferredGradients(jobs.unwrap_or_default()))
}

/// Returns true if this thread is within [`defer_weight_gradients`].
pub fn is_deferring() -> bool {
    SCOPE.with_borrow(Option::is_some)
}

/// Defers the gradient of a weight until [`DeferredGradients::compute`].
///
/// Call it in the backward pass of an operation if [`is_deferring`] returns true. The weight must be a leaf
/// of its graph, because the rest of the backward pass does not receive its gradient. If `compute` returns
/// `None`, this operation contributes nothing to the gradient of the weight. `D` is the rank of the weight.
///
/// # Panics
/// If called outside of [`defer_weight_gradients`].
pub fn defer<const D: usize>(
    weight: NodeId,
    compute: impl FnOnce() -> Option<Tensor<D>> + Send + 'static,
) {
    SCOPE.with_borrow_mut(|scope| {
        let jobs =
            scope.as_mut().expect("gradients can be deferred only within `defer_weight_gradients`");
        let compute = Box::new(move || compute().map(Gradient::new));
        jobs.push(Job { weight, compute });
    });
}

impl DeferredGradients {
    /// Returns true if no gradient was deferred.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Computes the deferred gradients. The gradient of a weight that several operations use is the sum of
    /// their contributions.
    pub fn compute(self) -> WeightGradients {
        let mut gradients: HashMap<NodeId, Gradient> = HashMap::with_capacity(self.0.len());
        for Job { weight, compute } in self.0 {
            let Some(Gradient { tensor, add }) = compute() else { continue };
            let tensor = match gradients.remove(&weight) {
                Some(sum) => add(sum.tensor, tensor),
                None => tensor,
            };
            gradients.insert(weight, Gradient { tensor, add });
        }
        WeightGradients(gradients)
    }
}

impl WeightGradients {
    /// Removes and returns the gradient of a leaf, if there is one.
    pub fn take<const D: usize>(&mut self, weight: &Tensor<D>) -> Option<Tensor<D>> {
        if self.0.is_empty() || !weight.device().is_autodiff() {
            return None;
        }
        let gradient = self.0.remove(&node_of(weight)?)?;
        Some(Tensor::from_dispatch(gradient.tensor))
    }
}

/// Returns the node of a tensor in a graph. Returns `None` if its backend has no operations that defer gradients.
fn node_of<const D: usize>(tensor: &Tensor<D>) -> Option<NodeId> {
    let node = Flex::into_parts(tensor.clone()).map(|(_, node)| node);
    #[cfg(feature = "cube")]
    let node = node.or_else(|| Cube::into_parts(tensor.clone()).map(|(_, node)| node));
    Some(node??.id())
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn::backend::autodiff::checkpoint::base::Checkpointer;
    use burn::backend::autodiff::grads::Gradients;
    use burn::backend::autodiff::ops::{Backward, Ops};
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::Device;

    use super::*;
    use crate::{FlexTensor, Vjp, record};

    /// `input · weight`, element by element.
    fn multiply(input: &Tensor<1>, weight: &Tensor<1>) -> Tensor<1> {
        let [a, b] = [input, weight]
            .map(|tensor| tensor.clone().try_into_primitive::<Autodiff<Flex>>().unwrap());
        let parents = [Some(a.node()), Some(b.node())];
        let [a, b] = [input, weight]
            .map(|tensor| tensor.clone().inner().try_into_primitive::<Flex>().unwrap());
        let output = Flex::float_mul(a.clone(), b.clone());
        record::<Flex, _, 2, 1>(Multiply, parents, [a, b], output)
    }

    #[derive(Debug)]
    struct Multiply;

    impl Backward<Flex, 2> for Multiply {
        type State = [FlexTensor; 2];

        fn backward(
            self,
            ops: Ops<[FlexTensor; 2], 2>,
            gradients: &mut Gradients,
            _: &mut Checkpointer,
        ) {
            let gradient = gradients.consume::<Flex>(&ops.node);
            let [input, weight] = ops.state;
            let [a, b] = ops.parents;
            if let Some(a) = a {
                gradients.register::<Flex>(a.id, Flex::float_mul(gradient.clone(), weight));
            }
            if let Some(b) = b {
                let compute = move || Flex::float_mul(gradient, input);
                match is_deferring() {
                    true => defer(b.id, move || Some(Flex::constant::<1>(compute()))),
                    false => gradients.register::<Flex>(b.id, compute()),
                }
            }
        }
    }

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn deferred_gradients_of_a_shared_weight_are_summed() {
        let leaf = |values: [f32; 2]| {
            Tensor::<1>::from_data(values, &Device::flex().autodiff()).require_grad()
        };
        let (input, weight) = (leaf([1.0, 2.0]), leaf([3.0, -1.0]));
        let vjp = || Vjp::new(multiply(&multiply(&input, &weight), &weight));
        let cotangent = || Tensor::<1>::from_data([1.0, 0.5], &Device::flex());
        let mut expected = vjp().pull_back(cotangent()).unwrap();

        let vjp = vjp();
        let (gradients, deferred) = defer_weight_gradients(|| vjp.pull_back(cotangent()));
        assert!(!is_deferring());
        let mut gradients = gradients.unwrap();
        assert_eq!(
            values(input.grad_remove(&mut gradients).unwrap()),
            values(input.grad_remove(&mut expected).unwrap())
        );
        assert!(weight.grad(&gradients).is_none());
        assert!(!deferred.is_empty());
        let mut late = deferred.compute();
        assert_eq!(values(late.take(&weight).unwrap()), values(weight.grad(&expected).unwrap()));
        assert!(late.take(&weight).is_none());
    }
}
