//! Vector-Jacobian products.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients as FlexGradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Gradients, Tensor};

use crate::record::{FlexTensor, placeholder, record};

/// The vector-Jacobian product of a graph, for a cotangent that arrives later.
///
/// Pulling a cotangent back through a graph means multiplying it by the transposed Jacobian of the graph's
/// output. Burn differentiates scalars only, so the result is computed as the gradient of
/// `sum(output · cotangent)`. On Burn's CPU backend neither this product nor the sum is evaluated, and the
/// values of the output are not kept.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use parareal_autodiff::Vjp;
///
/// let x = Tensor::<1>::from_data([1.0, 2.0, 3.0], &Device::flex().autodiff()).require_grad();
/// let vjp = Vjp::new(x.clone() * x.clone());
///
/// let cotangent = Tensor::<1>::from_data([1.0, 0.5, 0.0], &Device::flex());
/// let mut gradients = vjp.pull_back(cotangent).unwrap();
/// let gradient = x.grad_remove(&mut gradients).unwrap().into_data();
/// assert_eq!(gradient.try_into_vec::<f32>().unwrap(), [2.0, 2.0, 0.0]);
/// ```
#[derive(Debug)]
pub struct Vjp<const D: usize>(Graph<D>);

#[derive(Debug)]
enum Graph<const D: usize> {
    /// The output is in no graph.
    Constant,
    /// The output was on Burn's CPU backend; `root` depends on it through [`SeedCotangent`].
    Flex {
        root: Tensor<1>,
        cotangent: CotangentSlot,
        shape: [usize; D],
        dtype: DType,
    },
    Other(Tensor<D>),
}

impl<const D: usize> Vjp<D> {
    /// Creates the vector-Jacobian product of the graph that computes `output`.
    pub fn new(output: Tensor<D>) -> Self {
        if !output.is_tracked() {
            return Self(Graph::Constant);
        }
        if output.device() != Device::flex() {
            return Self(Graph::Other(output));
        }
        let (shape, dtype) = (output.dims(), output.dtype());
        let Ok(end) = output.clone().try_into_primitive::<Autodiff<Flex>>() else {
            return Self(Graph::Other(output));
        };
        let cotangent = CotangentSlot::default();
        let parents = [Some(end.node())];
        let root =
            record::<Flex, _, 1, 1>(SeedCotangent, parents, cotangent.clone(), placeholder());
        Self(Graph::Flex { root, cotangent, shape, dtype })
    }

    /// Returns the gradients of the graph's leaves along `cotangent`, a tensor of the output's
    /// shape outside every graph. The graph is consumed.
    ///
    /// Returns `None` if the output was in no graph, so that there is nothing to differentiate.
    ///
    /// # Panics
    /// If the cotangent differs from the output in shape, precision or device, or is in a graph.
    pub fn pull_back(self, cotangent: Tensor<D>) -> Option<Gradients> {
        match self.0 {
            Graph::Constant => None,
            Graph::Other(output) => Some((output * cotangent.autodiff()).sum().backward()),
            Graph::Flex { root, cotangent: slot, shape, dtype } => {
                assert_eq!(cotangent.dims(), shape, "the cotangent's shape");
                assert_eq!(cotangent.dtype(), dtype, "the cotangent's precision");
                // The conversion consumes the tensor. The primitive is then the only handle, so its memory
                // can be reused.
                let cotangent = cotangent.try_into_primitive::<Flex>();
                slot.put(cotangent.expect("the cotangent is on the CPU, in no graph"));
                Some(root.backward())
            }
        }
    }
}

/// The cotangent on its way from [`Vjp::pull_back`] to the backward pass.
#[derive(Clone, Debug, Default)]
struct CotangentSlot(Arc<Mutex<Option<FlexTensor>>>);

impl CotangentSlot {
    fn put(&self, cotangent: FlexTensor) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cotangent);
    }

    fn take(&self) -> Option<FlexTensor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An operation whose gradient with respect to its single operand is the cotangent in the slot.
#[derive(Debug)]
struct SeedCotangent;

impl Backward<Flex, 1> for SeedCotangent {
    type State = CotangentSlot;

    fn backward(
        self,
        ops: Ops<CotangentSlot, 1>,
        gradients: &mut FlexGradients,
        _: &mut Checkpointer,
    ) {
        // The gradient of the root itself is one.
        drop(gradients.consume::<Flex>(&ops.node));
        if let ([Some(operand)], Some(cotangent)) = (ops.parents, ops.state.take()) {
            gradients.register::<Flex>(operand.id, cotangent);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[test]
    fn vector_jacobian_products_are_gradients_of_a_weighted_sum() {
        for dtype in [DType::F32, DType::F64] {
            let device = Device::flex();
            let tensor = |values: [f64; 4]| {
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 2]), (&device, dtype))
            };
            let leaf = tensor([1.0, -2.0, 3.0, 0.5]).autodiff().require_grad();
            let cotangent = tensor([0.5, 1.0, -1.0, 2.0]);
            let mut gradients = Vjp::new(leaf.clone() * leaf.clone()).pull_back(cotangent).unwrap();
            let found = leaf.grad_remove(&mut gradients).unwrap().into_data();
            let found = found.convert::<f64>().try_into_vec::<f64>().unwrap();
            assert_eq!(found, [1.0, -4.0, -6.0, 2.0]);
        }
    }

    #[test]
    fn a_constant_has_no_gradients() {
        let tensor = Tensor::<1>::zeros([3], &Device::flex());
        assert!(Vjp::new(tensor.clone().autodiff()).pull_back(tensor).is_none());
    }
}
