//! The depthwise convolution as a node of Burn's automatic differentiation on its CPU backend.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::Tensor;
use parareal_autodiff::{FlexTensor, defer, is_deferring, record};

use crate::conv::ConvOptions;
use crate::cpu::depthwise::Depthwise;
use crate::flex::{Operand, from_vec, slice, to_contiguous};
use crate::simd::SimdLevel;

/// Computes `residual + depthwise_conv2d(input, weight)`. Returns `None` if the backend, precision
/// or sizes are not supported.
pub(crate) fn depthwise(
    input: &Tensor<4>,
    weight: &Tensor<4>,
    options: ConvOptions,
    residual: Option<&Tensor<4>>,
) -> Option<Tensor<4>> {
    let [batch, height, width, channels] = input.dims();
    let sizes = Depthwise { batch, height, width, channels, stride: options.stride };
    let [rows, columns] = sizes.output();
    let fits = weight.dims() == [channels, 1, 3, 3]
        && options.padding == 1
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
    let output = from_vec(output, [batch, rows, columns, channels]);
    let nodes = [input.node, weight.node, residual.and_then(|residual| residual.node)];
    let state = State { sizes, input: input.values, weight: weight.values };
    Some(record(DepthwiseBackward, nodes, state, output))
}

#[derive(Clone, Debug)]
struct State {
    sizes: Depthwise,
    input: FlexTensor,
    weight: FlexTensor,
}

impl State {
    fn weight_gradient(&self, level: SimdLevel, gradient: &FlexTensor) -> FlexTensor {
        let values = self.sizes.weight_gradient(level, slice(&self.input), slice(gradient));
        from_vec(values, [self.sizes.channels, 1, 3, 3])
    }
}

#[derive(Debug)]
struct DepthwiseBackward;

impl Backward<Flex, 3> for DepthwiseBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let level = SimdLevel::current();
        let gradient = to_contiguous(grads.consume::<Flex>(&ops.node));
        let state = ops.state;
        let [input, weight, residual] = ops.parents;
        if let Some(input) = input {
            let Depthwise { batch, height, width, channels, .. } = state.sizes;
            let values = state.sizes.input_gradient(level, slice(&gradient), slice(&state.weight));
            grads.register::<Flex>(input.id, from_vec(values, [batch, height, width, channels]));
        }
        if let Some(residual) = residual {
            grads.register::<Flex>(residual.id, gradient.clone());
        }
        if let Some(weight) = weight {
            match is_deferring() && weight.parents.is_empty() {
                true => defer(weight.id, move || Some(state.weight_gradient(level, &gradient))),
                false => {
                    grads.register::<Flex>(weight.id, state.weight_gradient(level, &gradient));
                }
            }
        }
    }
}
