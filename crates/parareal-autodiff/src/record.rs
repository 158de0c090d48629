//! Operations with a hand-written backward pass in a graph on Burn's CPU backend.

use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::ops::{Backward, NodeGuard, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Tensor, TensorData};

/// A float tensor of Burn's CPU backend outside every graph.
pub type FlexTensor = FloatTensor<Flex>;

/// Adds an operation to the graph of its operands.
///
/// `parents` are the nodes of the operands, `None` for an operand outside every graph. `state` is passed to
/// the backward pass, or dropped if no operand requires a gradient. If all parents are `None`, the result is
/// outside every graph as well.
pub fn record<O, const N: usize, const D: usize>(
    operation: O,
    parents: [Option<NodeGuard>; N],
    state: O::State,
    output: FlexTensor,
) -> Tensor<D>
where
    O: Backward<Flex, N>,
{
    if parents.iter().all(Option::is_none) {
        return Tensor::from_primitive::<Flex>(output);
    }
    // An operand outside every graph is represented by a leaf that requires no gradient.
    let constant = || FloatTensor::<Autodiff<Flex>>::new(placeholder()).node();
    let parents = parents.map(|parent| parent.unwrap_or_else(constant));
    let prepared = operation.prepare::<NoCheckpointing>(parents).compute_bound().stateful();
    let output = match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(state, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// A tensor whose value does not matter.
pub(crate) fn placeholder() -> FlexTensor {
    FlexTensor::from_data(TensorData::new(vec![0f32], [1]))
}
