//! The depthwise convolution as a node of Burn's automatic differentiation on its CPU backend.

use std::marker::PhantomData;

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::Tensor;
use parareal_autodiff::{FlexTensor, GraphBackend, defer, is_deferring, record};

use crate::conv::ConvOptions;
use crate::cpu::depthwise::Depthwise;
use crate::flex::{Operand, StateElement, from_vec, slice, to_contiguous, with_element};
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
    let residual = match residual {
        Some(residual) if residual.dtype() != input.dtype() => return None,
        Some(residual) => Some(Operand::state(residual)?),
        None => None,
    };
    let (state, weight) = (Operand::state(input)?, Operand::new(weight)?);
    Some(with_element!(input, depthwise_of(sizes, state, weight, residual)))
}

fn depthwise_of<E: StateElement>(
    sizes: Depthwise,
    input: Operand,
    weight: Operand,
    residual: Option<Operand>,
) -> Tensor<4> {
    let [rows, columns] = sizes.output();
    let add = residual.as_ref().map(|residual| E::slice(&residual.values));
    let level = SimdLevel::current();
    let output = sizes.forward(level, E::slice(&input.values), weight.slice(), add);
    let output = E::tensor(output, [sizes.batch, rows, columns, sizes.channels]);
    let nodes = [input.node, weight.node, residual.and_then(|residual| residual.node)];
    let state = State { sizes, input: input.values, weight: weight.values };
    record::<Flex, _, 3, 4>(DepthwiseBackward::<E>(PhantomData), nodes, state, output)
}

#[derive(Clone, Debug)]
struct State {
    sizes: Depthwise,
    input: FlexTensor,
    weight: FlexTensor,
}

impl State {
    fn weight_gradient<E: StateElement>(
        &self,
        level: SimdLevel,
        gradient: &FlexTensor,
    ) -> FlexTensor {
        let values = self.sizes.weight_gradient(level, E::slice(&self.input), E::slice(gradient));
        from_vec(values, [self.sizes.channels, 1, 3, 3])
    }
}

#[derive(Debug)]
struct DepthwiseBackward<E>(PhantomData<E>);

impl<E: StateElement> Backward<Flex, 3> for DepthwiseBackward<E> {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let level = SimdLevel::current();
        let gradient = to_contiguous(grads.consume::<Flex>(&ops.node));
        let state = ops.state;
        let [input, weight, residual] = ops.parents;
        if let Some(input) = input {
            let Depthwise { batch, height, width, channels, .. } = state.sizes;
            let along = E::slice(&gradient);
            let values = state.sizes.input_gradient(level, along, slice(&state.weight));
            grads.register::<Flex>(input.id, E::tensor(values, [batch, height, width, channels]));
        }
        if let Some(residual) = residual {
            grads.register::<Flex>(residual.id, gradient.clone());
        }
        if let Some(weight) = weight {
            match is_deferring() && weight.parents.is_empty() {
                true => defer(weight.id, move || {
                    let values = state.weight_gradient::<E>(level, &gradient);
                    Some(Flex::constant::<4>(values))
                }),
                false => {
                    let values = state.weight_gradient::<E>(level, &gradient);
                    grads.register::<Flex>(weight.id, values);
                }
            }
        }
    }
}
