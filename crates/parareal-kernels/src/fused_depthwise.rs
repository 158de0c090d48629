//! The depthwise convolution as a node of Burn's automatic differentiation on its CPU backend.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

use crate::depthwise::Depthwise;
use crate::operand::{Operand, Primitive, one_after_the_other, primitive, slice};
use crate::{SimdLevel, Stepping, defer};

/// `residual + depthwise_conv2d(input, weight)`; `None` where backend, precision or sizes ask for
/// another way.
pub(crate) fn depthwise(
    input: &Tensor<4>,
    weight: &Tensor<4>,
    stepping: Stepping,
    residual: Option<&Tensor<4>>,
) -> Option<Tensor<4>> {
    let [batch, height, width, channels] = input.dims();
    let sizes = Depthwise { batch, height, width, channels, stride: stepping.stride };
    let [rows, columns] = sizes.output();
    let fits = weight.dims() == [channels, 1, 3, 3]
        && stepping.padding == 1
        && residual.is_none_or(|residual| residual.dims() == [batch, rows, columns, channels]);
    if !fits || channels == 0 || height == 0 || width == 0 {
        return None;
    }
    let (input, weight) = (Operand::new(input)?, Operand::new(weight)?);
    let residual = match residual {
        Some(residual) => Some(Operand::new(residual)?),
        None => None,
    };
    let add = residual.as_ref().map(Operand::slice);
    let output = sizes.forward(SimdLevel::current(), input.slice(), weight.slice(), add);
    let output = primitive(output, [batch, rows, columns, channels]);
    let nodes = [input.node, weight.node, residual.and_then(|residual| residual.node)];
    if nodes.iter().all(Option::is_none) {
        return Some(Tensor::from_primitive::<Flex>(output));
    }
    let constant = || FloatTensor::<Autodiff<Flex>>::new(primitive(vec![0.0], [1])).node();
    let nodes: [NodeGuard; 3] = nodes.map(|node| node.unwrap_or_else(constant));
    let state = State { sizes, input: input.values, weight: weight.values };
    let prepared = DepthwiseBackward.prepare::<NoCheckpointing>(nodes).compute_bound().stateful();
    let output = match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(state, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
}

#[derive(Clone, Debug)]
struct State {
    sizes: Depthwise,
    input: Primitive,
    weight: Primitive,
}

impl State {
    fn weight_gradient(&self, level: SimdLevel, gradient: &Primitive) -> Primitive {
        let values = self.sizes.weight_gradient(level, slice(&self.input), slice(gradient));
        primitive(values, [self.sizes.channels, 1, 3, 3])
    }
}

#[derive(Debug)]
struct DepthwiseBackward;

impl Backward<Flex, 3> for DepthwiseBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let level = SimdLevel::current();
        let gradient = one_after_the_other(grads.consume::<Flex>(&ops.node));
        let state = ops.state;
        let [input, weight, residual] = ops.parents;
        if let Some(input) = input {
            let Depthwise { batch, height, width, channels, .. } = state.sizes;
            let values = state.sizes.input_gradient(level, slice(&gradient), slice(&state.weight));
            grads.register::<Flex>(input.id, primitive(values, [batch, height, width, channels]));
        }
        if let Some(residual) = residual {
            grads.register::<Flex>(residual.id, gradient.clone());
        }
        if let Some(weight) = weight {
            match defer::is_deferring() && weight.parents.is_empty() {
                true => {
                    defer::defer(weight.id, move || Some(state.weight_gradient(level, &gradient)))
                }
                false => {
                    grads.register::<Flex>(weight.id, state.weight_gradient(level, &gradient));
                }
            }
        }
    }
}
