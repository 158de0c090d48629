//! Average pooling and interpolation as nodes of Burn's automatic differentiation on its CPU backend.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::Tensor;
use parareal_autodiff::record;

use crate::cpu::resample::Resample;
use crate::flex::{Operand, from_vec, slice, to_contiguous};

/// Averages blocks of 2×2 pixels. Returns `None` if the backend, precision or sizes are not
/// supported.
pub(crate) fn average_pool(input: &Tensor<4>) -> Option<Tensor<4>> {
    let [batch, height, width, channels] = input.dims();
    if !height.is_multiple_of(2) || !width.is_multiple_of(2) || input.shape().num_elements() == 0 {
        return None;
    }
    let sizes = Resample { height: height / 2, width: width / 2, channels };
    let input = Operand::new(input)?;
    let output = sizes.restrict(input.slice(), 0.25);
    let output = from_vec(output, [batch, sizes.height, sizes.width, channels]);
    Some(record(AveragePoolBackward, [input.node], (batch, sizes), output))
}

#[derive(Debug)]
struct AveragePoolBackward;

impl Backward<Flex, 1> for AveragePoolBackward {
    type State = (usize, Resample);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = to_contiguous(grads.consume::<Flex>(&ops.node));
        let [input] = ops.parents;
        let (batch, sizes) = ops.state;
        if let Some(input) = input {
            let values = sizes.prolong(slice(&gradient), 0.25, None);
            let shape = [batch, 2 * sizes.height, 2 * sizes.width, sizes.channels];
            grads.register::<Flex>(input.id, from_vec(values, shape));
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
    let sizes = Resample { height, width, channels };
    let (input, residual) = (Operand::new(input)?, Operand::new(residual)?);
    let output = sizes.prolong(input.slice(), 1.0, Some(residual.slice()));
    let nodes = [input.node, residual.node];
    Some(record(UpsampleBackward, nodes, (batch, sizes), from_vec(output, shape)))
}

#[derive(Debug)]
struct UpsampleBackward;

impl Backward<Flex, 2> for UpsampleBackward {
    type State = (usize, Resample);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = to_contiguous(grads.consume::<Flex>(&ops.node));
        let [input, residual] = ops.parents;
        let (batch, sizes) = ops.state;
        if let Some(input) = input {
            let values = sizes.restrict(slice(&gradient), 1.0);
            let shape = [batch, sizes.height, sizes.width, sizes.channels];
            grads.register::<Flex>(input.id, from_vec(values, shape));
        }
        if let Some(residual) = residual {
            grads.register::<Flex>(residual.id, gradient);
        }
    }
}
