//! Burn's tensors as numbers in memory.

use std::sync::LazyLock;

use burn::backend::autodiff::ops::NodeGuard;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};

pub(crate) type Primitive = FloatTensor<Flex>;

/// Whether the fused operations know what to do with this tensor: 32-bit floats on Burn's CPU
/// backend, and nobody asked for Burn's own operations.
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    static COMPOSED: LazyLock<bool> =
        LazyLock::new(|| std::env::var(VARIABLE).is_ok_and(|value| value == "composed"));
    tensor.dtype() == DType::F32 && tensor.device() == Device::flex() && !*COMPOSED
}

/// The variable that `composed` makes every operation of Burn's own.
const VARIABLE: &str = "PARAREAL_KERNELS";

/// The values of a tensor of 32-bit floats on the CPU, one after the other, and its node if it
/// belongs to a graph.
pub(crate) struct Operand {
    pub(crate) values: Primitive,
    pub(crate) node: Option<NodeGuard>,
}

impl Operand {
    /// `None` where the tensor is of another kind.
    pub(crate) fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if !is_fused(tensor) {
            return None;
        }
        let (values, node) = match tensor.device().is_autodiff() {
            true => {
                let tensor = tensor.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
                let (values, node) = tensor.into_parts();
                (values, Some(node))
            }
            false => (tensor.clone().try_into_primitive::<Flex>().ok()?, None),
        };
        Some(Self { values: one_after_the_other(values), node })
    }

    pub(crate) fn slice(&self) -> &[f32] {
        slice(&self.values)
    }
}

/// Returns true if two tensors on Burn's CPU backend have the same shape, type and bits; `None` for
/// tensors on other devices.
pub fn is_bitwise_equal<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> Option<bool> {
    let values = |tensor: &Tensor<D>| {
        let is_here = tensor.device() == Device::flex();
        let tensor = is_here.then(|| tensor.clone().inner())?;
        Some(tensor.try_into_primitive::<Flex>().ok()?.to_contiguous())
    };
    let (a, b) = (values(a)?, values(b)?);
    let is_like = a.dtype() == b.dtype() && a.layout().shape() == b.layout().shape();
    Some(is_like && bytes(&a)? == bytes(&b)?)
}

/// The bytes of the values, if they are one after the other.
fn bytes(primitive: &Primitive) -> Option<&[u8]> {
    let (start, end) = primitive.layout().contiguous_offsets()?;
    let size = primitive.dtype().size();
    primitive.bytes().get(start * size..end * size)
}

/// The same values without gaps, copied where they have some.
pub(crate) fn one_after_the_other(values: Primitive) -> Primitive {
    match values.as_slice::<f32>() {
        Some(_) => values,
        None => values.to_contiguous(),
    }
}

/// The values, if they are one after the other.
pub(crate) fn slice(primitive: &Primitive) -> &[f32] {
    primitive.as_slice().unwrap_or_default()
}

/// The values, to be changed: in place where nobody else has them, otherwise in a copy.
pub(crate) fn slice_mut(primitive: &mut Primitive) -> &mut [f32] {
    if primitive.storage::<f32>().len() != slice(primitive).len() {
        let shape = primitive.layout().shape().clone();
        let data = TensorData::new(slice(primitive).to_vec(), shape);
        *primitive = Primitive::from_data(data);
    }
    primitive.storage_mut()
}

pub(crate) fn primitive<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Primitive {
    Primitive::from_data(TensorData::new(values, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_compared_bit_for_bit_wherever_they_lie_in_memory() {
        let tensor = |values: [f32; 4]| Tensor::<2>::from_data([values], &Device::flex());
        let nan = tensor([1.0, f32::NAN, -0.0, 3.0]);
        assert_eq!(is_bitwise_equal(&nan, &tensor([1.0, f32::NAN, -0.0, 3.0])), Some(true));
        assert_eq!(is_bitwise_equal(&nan, &tensor([1.0, f32::NAN, 0.0, 3.0])), Some(false));
        let last = nan.clone().narrow(1, 2, 2);
        assert_eq!(
            is_bitwise_equal(&last, &Tensor::from_data([[-0.0f32, 3.0]], &last.device())),
            Some(true)
        );
        assert_eq!(is_bitwise_equal(&last, &nan.narrow(1, 0, 2)), Some(false));
        let square = tensor([1.0, 2.0, 3.0, 4.0]).reshape([2, 2]);
        assert_eq!(is_bitwise_equal(&square, &square.clone().transpose()), Some(false));
        assert_eq!(is_bitwise_equal(&square, &square.clone().autodiff()), Some(true));
    }
}
