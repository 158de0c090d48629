//! Tensors of Burn's CPU backend as slices.

use std::sync::LazyLock;

use burn::backend::autodiff::ops::NodeGuard;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};
use parareal_autodiff::FlexTensor;

/// Returns true if the fused operations support this tensor: 32-bit floats on Burn's CPU backend,
/// unless the environment selects Burn's own operations.
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    static COMPOSED: LazyLock<bool> =
        LazyLock::new(|| std::env::var(VARIABLE).is_ok_and(|value| value == "composed"));
    tensor.dtype() == DType::F32 && tensor.device() == Device::flex() && !*COMPOSED
}

/// The environment variable whose value `composed` selects Burn's own operations.
const VARIABLE: &str = "PARAREAL_KERNELS";

/// A contiguous tensor of 32-bit floats on the CPU, and its node if it is in a graph.
pub(crate) struct Operand {
    pub(crate) values: FlexTensor,
    pub(crate) node: Option<NodeGuard>,
}

impl Operand {
    /// Returns `None` for any other tensor.
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
        Some(Self { values: to_contiguous(values), node })
    }

    pub(crate) fn slice(&self) -> &[f32] {
        slice(&self.values)
    }
}

/// The same values, contiguous in memory: copied if they are not.
pub(crate) fn to_contiguous(values: FlexTensor) -> FlexTensor {
    match values.as_slice::<f32>() {
        Some(_) => values,
        None => values.to_contiguous(),
    }
}

/// The values of a contiguous tensor; empty for any other.
pub(crate) fn slice(primitive: &FlexTensor) -> &[f32] {
    primitive.as_slice().unwrap_or_default()
}

/// The values for changing them: in place if the tensor is the only handle, otherwise in a copy.
pub(crate) fn slice_mut(primitive: &mut FlexTensor) -> &mut [f32] {
    if primitive.storage::<f32>().len() != slice(primitive).len() {
        let shape = primitive.layout().shape().clone();
        let data = TensorData::new(slice(primitive).to_vec(), shape);
        *primitive = FlexTensor::from_data(data);
    }
    primitive.storage_mut()
}

/// Creates a tensor of these values.
pub(crate) fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
