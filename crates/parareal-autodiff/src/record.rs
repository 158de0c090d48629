//! Operations with a hand-written backward pass in a graph.

#[cfg(feature = "cube")]
use burn::backend::Cube;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::ops::{Backward, NodeGuard, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex};
use burn::tensor::Tensor;

/// A float tensor of Burn's CPU backend outside every graph.
pub type FlexTensor = FloatTensor<Flex>;

/// A backend whose graphs can contain operations with a hand-written backward pass: Burn's CPU backend, and with the feature
/// `cube` that of CubeCL's devices.
pub trait GraphBackend: Backend {
    /// Returns the values of a tensor, and its node if it is in a graph. Returns `None` if the tensor is on another backend.
    fn into_parts<const D: usize>(
        tensor: Tensor<D>,
    ) -> Option<(FloatTensor<Self>, Option<NodeGuard>)>;

    /// Creates a tensor outside every graph.
    fn constant<const D: usize>(values: FloatTensor<Self>) -> Tensor<D>;

    /// Creates a tensor in a graph.
    fn in_graph<const D: usize>(tensor: FloatTensor<Autodiff<Self>>) -> Tensor<D>;
}

macro_rules! graph_backend {
    ($backend:ty) => {
        impl GraphBackend for $backend {
            fn into_parts<const D: usize>(
                tensor: Tensor<D>,
            ) -> Option<(FloatTensor<Self>, Option<NodeGuard>)> {
                if !tensor.device().is_autodiff() {
                    return Some((tensor.try_into_primitive::<Self>().ok()?, None));
                }
                let (values, node) =
                    tensor.try_into_primitive::<Autodiff<Self>>().ok()?.into_parts();
                Some((values, Some(node)))
            }

            fn constant<const D: usize>(values: FloatTensor<Self>) -> Tensor<D> {
                Tensor::from_primitive::<Self>(values)
            }

            fn in_graph<const D: usize>(tensor: FloatTensor<Autodiff<Self>>) -> Tensor<D> {
                Tensor::from_primitive::<Autodiff<Self>>(tensor)
            }
        }
    };
}

graph_backend!(Flex);
#[cfg(feature = "cube")]
graph_backend!(Cube);

/// Adds an operation to the graph of its operands.
///
/// `parents` are the nodes of the operands, `None` for an operand outside every graph. `state` is passed to
/// the backward pass, or dropped if no operand requires a gradient. If all parents are `None`, the result is
/// outside every graph as well.
pub fn record<B, O, const N: usize, const D: usize>(
    operation: O,
    parents: [Option<NodeGuard>; N],
    state: O::State,
    output: FloatTensor<B>,
) -> Tensor<D>
where
    B: GraphBackend,
    O: Backward<B, N>,
{
    if parents.iter().all(Option::is_none) {
        return B::constant(output);
    }
    // An operand outside every graph is represented by a leaf that requires no gradient. Its value does not matter.
    let outside = || FloatTensor::<Autodiff<B>>::new(output.clone()).node();
    let parents = parents.map(|parent| parent.unwrap_or_else(outside));
    let prepared = operation.prepare::<NoCheckpointing>(parents).compute_bound().stateful();
    let output = match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(state, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    B::in_graph(output)
}
