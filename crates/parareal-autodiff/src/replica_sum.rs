//! Sums over the replicas of a network within an operation.
//!
//! Each replica of a network processes a part of the batch on a thread of its own. An operation whose result depends
//! on all parts, such as batch normalization with the statistics of the whole batch, adds its sums to those of the
//! same operation in the other replicas: in the forward pass and, since the statistics depend on the input, in the
//! backward pass.

use std::cell::RefCell;
use std::rc::Rc;

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::{Tensor, TensorData};

use crate::record::{FlexTensor, GraphBackend, record};
use crate::scope::within;

/// Sums over the replicas of a network.
pub trait ReplicaSum {
    /// Replaces each term by its sum over all replicas. Blocks until all replicas have called this method as often, in
    /// the same order of operations. Leaves the terms as they are if another replica has stopped.
    fn sum(&self, terms: &mut [f64]);
}

thread_local! {
    /// The replicas that the current thread computes with; `None` if there is only one.
    static SCOPE: RefCell<Option<Rc<dyn ReplicaSum>>> = const { RefCell::new(None) };
}

/// Runs a computation of one of several replicas, whose operations add their sums to those of the others.
///
/// ```
/// use std::rc::Rc;
///
/// use parareal_autodiff::{ReplicaSum, replica_sum, with_replica_sum};
///
/// /// Two replicas that compute the same.
/// struct Twins;
///
/// impl ReplicaSum for Twins {
///     fn sum(&self, terms: &mut [f64]) {
///         terms.iter_mut().for_each(|term| *term *= 2.0);
///     }
/// }
///
/// let mut terms = [1.0, 2.0];
/// with_replica_sum(Rc::new(Twins), || replica_sum().unwrap().sum(&mut terms));
/// assert_eq!(terms, [2.0, 4.0]);
/// assert!(replica_sum().is_none());
/// ```
pub fn with_replica_sum<R>(replicas: Rc<dyn ReplicaSum>, compute: impl FnOnce() -> R) -> R {
    within(&SCOPE, replicas, compute).0
}

/// Returns the sums over the replicas that this thread computes with, `None` outside of [`with_replica_sum`].
pub fn replica_sum() -> Option<Rc<dyn ReplicaSum>> {
    SCOPE.with_borrow(Clone::clone)
}

/// Adds a tensor to those of the other replicas, as an operation of the graph: its backward pass adds the gradients of all
/// replicas. Returns the tensor itself outside of [`with_replica_sum`].
///
/// # Panics
/// If the tensor is not on Burn's CPU backend.
pub fn sum_over_replicas<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if replica_sum().is_none() {
        return tensor;
    }
    let (values, node) = Flex::into_parts(tensor).expect("a tensor on the CPU");
    record::<Flex, _, 1, D>(SumBackward, [node], (), summed(values))
}

/// Returns the sum of a tensor over the replicas.
fn summed(tensor: FlexTensor) -> FlexTensor {
    let Some(replicas) = replica_sum() else { return tensor };
    let data = tensor.into_data();
    let mut terms: Vec<f64> = data.iter::<f64>().collect();
    replicas.sum(&mut terms);
    let sums = TensorData::new(terms, data.shape().clone()).convert_dtype(data.dtype());
    FlexTensor::from_data(sums)
}

#[derive(Debug)]
struct SumBackward;

impl Backward<Flex, 1> for SumBackward {
    type State = ();

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = summed(grads.consume::<Flex>(&ops.node));
        if let [Some(parent)] = ops.parents {
            grads.register::<Flex>(parent.id, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::Vjp;

    /// Two replicas; the terms of the other one are 10.
    struct Ten;

    impl ReplicaSum for Ten {
        fn sum(&self, terms: &mut [f64]) {
            terms.iter_mut().for_each(|term| *term += 10.0);
        }
    }

    /// With S = a + 10, the gradient of the loss of this replica is that of the other one, 10, plus its own.
    #[test]
    fn values_and_gradients_are_summed() {
        let device = Device::flex().autodiff();
        for dtype in [DType::F32, DType::F64] {
            let tensor = Tensor::<1>::from_data([1.0, 2.0], (&device, dtype)).require_grad();
            let (sum, gradient) = with_replica_sum(Rc::new(Ten), || {
                let sum = sum_over_replicas(tensor.clone());
                let cotangent = Tensor::from_data([3.0, 4.0], (&Device::flex(), dtype));
                let gradients = Vjp::new(sum.clone()).pull_back(cotangent).unwrap();
                (sum, tensor.grad(&gradients).unwrap())
            });
            let expected = |values: [f64; 2]| TensorData::from(values).convert_dtype(dtype);
            assert_eq!(sum.into_data(), expected([11.0, 12.0]));
            assert_eq!(gradient.into_data(), expected([13.0, 14.0]));
        }
    }

    #[test]
    fn a_constant_is_summed_outside_of_the_graph() {
        let tensor = Tensor::<1>::from_data([1.0], &Device::flex());
        let sum = with_replica_sum(Rc::new(Ten), || sum_over_replicas(tensor));
        assert!(!sum.device().is_autodiff());
        assert_eq!(sum.into_scalar::<f32>(), 11.0);
    }

    #[test]
    fn a_tensor_is_its_own_sum_without_replicas() {
        let device = Device::flex().autodiff();
        let tensor = Tensor::<1>::from_data([1.0, 2.0], &device).require_grad();
        assert_eq!(sum_over_replicas(tensor.clone()).into_data(), tensor.into_data());
    }

    #[test]
    fn the_surrounding_scope_returns_after_a_panic() {
        with_replica_sum(Rc::new(Ten), || {
            let inner =
                std::panic::AssertUnwindSafe(|| with_replica_sum(Rc::new(Ten), || panic!()));
            let result: std::thread::Result<()> = std::panic::catch_unwind(inner);
            assert!(result.is_err());
            assert!(replica_sum().is_some());
        });
        assert!(replica_sum().is_none());
    }
}
