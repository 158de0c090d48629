//! Vector-Jacobian products.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "cube")]
use burn::backend::Cube;
use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients as NodeGradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Device, Gradients, Tensor};

use crate::record::{GraphBackend, record};

/// The vector-Jacobian product of a graph, for a cotangent that arrives later.
///
/// Pulling a cotangent back through a graph means multiplying it by the transposed Jacobian of the graph's
/// output. Burn differentiates scalars only, so the result is computed as the gradient of
/// `sum(output · cotangent)`. On Burn's CPU backend, and with the feature `cube` on CubeCL's devices, neither this product nor
/// the sum is evaluated, and the values of the output are not kept.
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
    /// The root depends on the output through [`SeedCotangent`].
    Seeded {
        root: Tensor<1>,
        seed: Seed,
        shape: [usize; D],
        dtype: DType,
        device: Device,
    },
    Other(Tensor<D>),
}

/// The slot for the cotangent, by backend.
#[derive(Debug)]
enum Seed {
    Flex(CotangentSlot<Flex>),
    #[cfg(feature = "cube")]
    Cube(CotangentSlot<Cube>),
}

impl<const D: usize> Vjp<D> {
    /// Creates the vector-Jacobian product of the graph that computes `output`.
    pub fn new(output: Tensor<D>) -> Self {
        if !output.is_tracked() {
            return Self(Graph::Constant);
        }
        let seeded = seed::<Flex, D>(&output).map(|(root, slot)| (root, Seed::Flex(slot)));
        #[cfg(feature = "cube")]
        let seeded = seeded
            .or_else(|| seed::<Cube, D>(&output).map(|(root, slot)| (root, Seed::Cube(slot))));
        let Some((root, seed)) = seeded else { return Self(Graph::Other(output)) };
        let (shape, dtype, device) = (output.dims(), output.dtype(), output.inner().device());
        Self(Graph::Seeded { root, seed, shape, dtype, device })
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
            Graph::Seeded { root, seed, shape, dtype, device } => {
                assert_eq!(cotangent.dims(), shape, "the cotangent's shape");
                assert_eq!(cotangent.dtype(), dtype, "the cotangent's precision");
                assert_eq!(cotangent.device(), device, "the cotangent's device, in no graph");
                match seed {
                    Seed::Flex(slot) => slot.put(cotangent),
                    #[cfg(feature = "cube")]
                    Seed::Cube(slot) => slot.put(cotangent),
                }
                Some(root.backward())
            }
        }
    }
}

/// Adds the root to the graph of `output`. Returns `None` if the output is on another backend.
fn seed<B: GraphBackend, const D: usize>(
    output: &Tensor<D>,
) -> Option<(Tensor<1>, CotangentSlot<B>)> {
    let (_, node) = B::into_parts(output.clone())?;
    // The value of the root does not matter.
    let (value, _) = B::into_parts(Tensor::<1>::empty([1], &output.clone().inner().device()))?;
    let slot = CotangentSlot(Arc::default());
    let root = record::<B, _, 1, 1>(SeedCotangent, [node], slot.clone(), value);
    Some((root, slot))
}

/// The cotangent on its way from [`Vjp::pull_back`] to the backward pass.
struct CotangentSlot<B: GraphBackend>(Arc<Mutex<Option<FloatTensor<B>>>>);

impl<B: GraphBackend> Clone for CotangentSlot<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: GraphBackend> fmt::Debug for CotangentSlot<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CotangentSlot").finish_non_exhaustive()
    }
}

impl<B: GraphBackend> CotangentSlot<B> {
    /// Puts a cotangent into the slot. The conversion consumes it, so that its memory can be reused.
    fn put<const D: usize>(&self, cotangent: Tensor<D>) {
        let parts = B::into_parts(cotangent);
        let (values, _) = parts.expect("the caller has compared the devices");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
    }

    fn take(&self) -> Option<FloatTensor<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An operation whose gradient with respect to its single operand is the cotangent in the slot.
#[derive(Debug)]
struct SeedCotangent;

impl<B: GraphBackend> Backward<B, 1> for SeedCotangent {
    type State = CotangentSlot<B>;

    fn backward(
        self,
        ops: Ops<CotangentSlot<B>, 1>,
        gradients: &mut NodeGradients,
        _: &mut Checkpointer,
    ) {
        // The gradient of the root itself is one.
        drop(gradients.consume::<B>(&ops.node));
        if let ([Some(operand)], Some(cotangent)) = (ops.parents, ops.state.take()) {
            gradients.register::<B>(operand.id, cotangent);
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
