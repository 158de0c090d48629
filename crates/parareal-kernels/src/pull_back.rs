//! Vector-Jacobian products.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients as Collected;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

/// Differentiates `output` along `cotangent`, a tensor of the same shape and precision outside
/// every graph. The graph is consumed.
///
/// Burn differentiates scalars only, so this is the gradient of `sum(output · cotangent)`; on
/// Burn's CPU backend neither product nor sum is computed.
///
/// `None` where no graph leads to `output`, so that there is nothing to differentiate.
pub fn pull_back<const D: usize>(output: Tensor<D>, cotangent: Tensor<D>) -> Option<Gradients> {
    if !output.is_tracked() {
        return None;
    }
    let on_cpu = [&output, &cotangent].map(|tensor| tensor.device() == Device::flex());
    if on_cpu == [true, true]
        && output.dims() == cotangent.dims()
        && output.dtype() == cotangent.dtype()
        && let Ok(along) = cotangent.clone().try_into_primitive::<Flex>()
        && let Ok(graph) = output.clone().try_into_primitive::<Autodiff<Flex>>()
    {
        // Nobody else holds the cotangent then, and its memory can be used again.
        drop((output, cotangent));
        let root = Primitive::from_data(TensorData::new(vec![0f32], [1]));
        let prepared = Seed.prepare::<NoCheckpointing>([graph.node()]).compute_bound().stateful();
        let root = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(along, root),
            OpsKind::UnTracked(prepared) => prepared.finish(root),
        };
        return Some(Tensor::<1>::from_primitive::<Autodiff<Flex>>(root).backward());
    }
    Some((output * cotangent.autodiff()).sum().backward())
}

type Primitive = FloatTensor<Flex>;

/// A root whose gradient with respect to its one operand is the state.
#[derive(Debug)]
struct Seed;

impl Backward<Flex, 1> for Seed {
    type State = Primitive;

    fn backward(self, ops: Ops<Primitive, 1>, grads: &mut Collected, _: &mut Checkpointer) {
        // The root's own gradient is one.
        drop(grads.consume::<Flex>(&ops.node));
        if let [Some(operand)] = ops.parents {
            grads.register::<Flex>(operand.id, ops.state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::DType;

    #[test]
    fn products_with_the_jacobian_are_the_sums_gradient() {
        for dtype in [DType::F32, DType::F64] {
            let device = Device::flex();
            let numbers = |values: [f64; 4]| {
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 2]), (&device, dtype))
            };
            let leaf = numbers([1.0, -2.0, 3.0, 0.5]).autodiff().require_grad();
            let along = numbers([0.5, 1.0, -1.0, 2.0]);
            let mut gradients = pull_back(leaf.clone() * leaf.clone(), along).unwrap();
            let found = leaf.grad_remove(&mut gradients).unwrap().into_data();
            let found = found.convert::<f64>().try_into_vec::<f64>().unwrap();
            assert_eq!(found, [1.0, -4.0, -6.0, 2.0]);
        }
    }

    #[test]
    fn nothing_is_differentiated_without_a_graph() {
        let tensor = Tensor::<1>::zeros([3], &Device::flex());
        assert!(pull_back(tensor.clone().autodiff(), tensor).is_none());
    }
}
