//! Average pooling and interpolation as nodes of Burn's automatic differentiation on its CPU backend.

use std::marker::PhantomData;

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::Tensor;
use parareal_autodiff::record;

use crate::cpu::resample::Resample;
use crate::flex::{Operand, StateElement, to_contiguous, with_element};

/// Averages blocks of 2×2 pixels. Returns `None` if the backend, precision or sizes are not
/// supported.
pub(crate) fn average_pool(input: &Tensor<4>) -> Option<Tensor<4>> {
    let [batch, height, width, channels] = input.dims();
    if !height.is_multiple_of(2) || !width.is_multiple_of(2) || input.shape().num_elements() == 0 {
        return None;
    }
    let sizes = Resample { height: height / 2, width: width / 2, channels };
    Some(with_element!(input, average_pool_of(batch, sizes, Operand::state(input)?)))
}

fn average_pool_of<E: StateElement>(batch: usize, sizes: Resample, input: Operand) -> Tensor<4> {
    let output = sizes.restrict(E::slice(&input.values), 0.25);
    let output = E::tensor(output, [batch, sizes.height, sizes.width, sizes.channels]);
    let backward = AveragePoolBackward::<E>(PhantomData);
    record::<Flex, _, 1, 4>(backward, [input.node], (batch, sizes), output)
}

#[derive(Debug)]
struct AveragePoolBackward<E>(PhantomData<E>);

impl<E: StateElement> Backward<Flex, 1> for AveragePoolBackward<E> {
    type State = (usize, Resample);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = to_contiguous(grads.consume::<Flex>(&ops.node));
        let [input] = ops.parents;
        let (batch, sizes) = ops.state;
        if let Some(input) = input {
            let values = sizes.prolong(E::slice(&gradient), 0.25, None);
            let shape = [batch, 2 * sizes.height, 2 * sizes.width, sizes.channels];
            grads.register::<Flex>(input.id, E::tensor(values, shape));
        }
    }
}

/// Adds the input, interpolated to twice its height and width, to `residual`. Returns `None` if the
/// backend, precision or sizes are not supported.
pub(crate) fn add_upsampled(input: &Tensor<4>, residual: &Tensor<4>) -> Option<Tensor<4>> {
    let [batch, height, width, channels] = input.dims();
    let shape = [batch, 2 * height, 2 * width, channels];
    if residual.dims() != shape || input.shape().num_elements() == 0 {
        return None;
    }
    if residual.dtype() != input.dtype() {
        return None;
    }
    let sizes = Resample { height, width, channels };
    let operands = [Operand::state(input)?, Operand::state(residual)?];
    Some(with_element!(input, add_upsampled_of(batch, sizes, operands)))
}

fn add_upsampled_of<E: StateElement>(
    batch: usize,
    sizes: Resample,
    [input, residual]: [Operand; 2],
) -> Tensor<4> {
    let shape = [batch, 2 * sizes.height, 2 * sizes.width, sizes.channels];
    let output = sizes.prolong(E::slice(&input.values), 1.0, Some(E::slice(&residual.values)));
    let nodes = [input.node, residual.node];
    let backward = UpsampleBackward::<E>(PhantomData);
    record::<Flex, _, 2, 4>(backward, nodes, (batch, sizes), E::tensor(output, shape))
}

#[derive(Debug)]
struct UpsampleBackward<E>(PhantomData<E>);

impl<E: StateElement> Backward<Flex, 2> for UpsampleBackward<E> {
    type State = (usize, Resample);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = to_contiguous(grads.consume::<Flex>(&ops.node));
        let [input, residual] = ops.parents;
        let (batch, sizes) = ops.state;
        if let Some(input) = input {
            let values = sizes.restrict(E::slice(&gradient), 1.0);
            let shape = [batch, sizes.height, sizes.width, sizes.channels];
            grads.register::<Flex>(input.id, E::tensor(values, shape));
        }
        if let Some(residual) = residual {
            grads.register::<Flex>(residual.id, gradient);
        }
    }
}
