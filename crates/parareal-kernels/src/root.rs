//! Vector-Jacobian products.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients as Collected;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

use crate::operand::Primitive;

/// The end of a graph, to be differentiated along a cotangent that comes later.
///
/// Burn differentiates scalars only, so this is the gradient of `sum(output · cotangent)`; on
/// Burn's CPU backend neither product nor sum is computed, and the output's values are not kept.
#[derive(Debug)]
pub struct Root<const D: usize>(Kind<D>);

#[derive(Debug)]
enum Kind<const D: usize> {
    /// No graph leads here.
    Constant,
    Cpu {
        root: Tensor<1>,
        along: Slot,
        shape: [usize; D],
        dtype: DType,
    },
    Other(Tensor<D>),
}

impl<const D: usize> Root<D> {
    /// Takes the graph that leads to `output`.
    pub fn new(output: Tensor<D>) -> Self {
        if !output.is_tracked() {
            return Self(Kind::Constant);
        }
        if output.device() != Device::flex() {
            return Self(Kind::Other(output));
        }
        let (shape, dtype) = (output.dims(), output.dtype());
        let Ok(graph) = output.clone().try_into_primitive::<Autodiff<Flex>>() else {
            return Self(Kind::Other(output));
        };
        let along = Slot::default();
        let root = Primitive::from_data(TensorData::new(vec![0f32], [1]));
        let prepared = Seed.prepare::<NoCheckpointing>([graph.node()]).compute_bound().stateful();
        let root = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(along.clone(), root),
            OpsKind::UnTracked(prepared) => prepared.finish(root),
        };
        let root = Tensor::from_primitive::<Autodiff<Flex>>(root);
        Self(Kind::Cpu { root, along, shape, dtype })
    }

    /// Differentiates along `cotangent`, a tensor like the output outside every graph. The graph
    /// is consumed.
    ///
    /// `None` where no graph leads here, so that there is nothing to differentiate.
    ///
    /// # Panics
    /// Where the cotangent differs from the output in shape, precision or device, or is in a graph.
    pub fn pull_back(self, cotangent: Tensor<D>) -> Option<Gradients> {
        match self.0 {
            Kind::Constant => None,
            Kind::Other(output) => Some((output * cotangent.autodiff()).sum().backward()),
            Kind::Cpu { root, along, shape, dtype } => {
                assert_eq!(cotangent.dims(), shape, "the cotangent's shape");
                assert_eq!(cotangent.dtype(), dtype, "the cotangent's precision");
                // Nobody else holds the cotangent then, and its memory can be used again.
                let cotangent = cotangent.try_into_primitive::<Flex>();
                let cotangent = cotangent.expect("the cotangent is on the CPU, in no graph");
                *along.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cotangent);
                Some(root.backward())
            }
        }
    }
}

/// Where the cotangent is left for the backward pass.
#[derive(Clone, Debug, Default)]
struct Slot(Arc<Mutex<Option<Primitive>>>);

/// A root whose gradient with respect to its one operand is what the slot holds.
#[derive(Debug)]
struct Seed;

impl Backward<Flex, 1> for Seed {
    type State = Slot;

    fn backward(self, ops: Ops<Slot, 1>, grads: &mut Collected, _: &mut Checkpointer) {
        // The root's own gradient is one.
        drop(grads.consume::<Flex>(&ops.node));
        let along = ops.state.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let ([Some(operand)], Some(along)) = (ops.parents, along) {
            grads.register::<Flex>(operand.id, along);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_the_jacobian_are_the_sums_gradient() {
        for dtype in [DType::F32, DType::F64] {
            let device = Device::flex();
            let numbers = |values: [f64; 4]| {
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 2]), (&device, dtype))
            };
            let leaf = numbers([1.0, -2.0, 3.0, 0.5]).autodiff().require_grad();
            let along = numbers([0.5, 1.0, -1.0, 2.0]);
            let mut gradients = Root::new(leaf.clone() * leaf.clone()).pull_back(along).unwrap();
            let found = leaf.grad_remove(&mut gradients).unwrap().into_data();
            let found = found.convert::<f64>().try_into_vec::<f64>().unwrap();
            assert_eq!(found, [1.0, -4.0, -6.0, 2.0]);
        }
    }

    #[test]
    fn nothing_is_differentiated_without_a_graph() {
        let tensor = Tensor::<1>::zeros([3], &Device::flex());
        assert!(Root::new(tensor.clone().autodiff()).pull_back(tensor).is_none());
    }
}
