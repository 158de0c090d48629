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
