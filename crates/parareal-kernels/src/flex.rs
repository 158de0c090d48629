//! Tensors of Burn's CPU backend as slices.

use std::sync::LazyLock;

use burn::backend::autodiff::ops::NodeGuard;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};
use parareal_autodiff::FlexTensor;

/// Returns true if the fused operations support this tensor: 32-bit floats on Burn's CPU backend,
/// unless the environment variable `PARAREAL_KERNELS` selects Burn's own operations.
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    static COMPOSED: LazyLock<bool> =
        LazyLock::new(|| std::env::var(VARIABLE).is_ok_and(|value| value == "composed"));
    tensor.dtype() == DType::F32 && tensor.device() == Device::flex() && !*COMPOSED
}

/// The environment variable whose value `composed` selects Burn's own operations.
const VARIABLE: &str = "PARAREAL_KERNELS";

/// A contiguous tensor of 32-bit floats on the CPU, with its node if it is in a graph.
pub(crate) struct Operand {
    pub(crate) values: FlexTensor,
    pub(crate) node: Option<NodeGuard>,
}

impl Operand {
    /// Converts a tensor, or returns `None` if it is not supported.
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

/// Returns a contiguous tensor with the same values, which are copied if necessary.
pub(crate) fn to_contiguous(values: FlexTensor) -> FlexTensor {
    match values.as_slice::<f32>() {
        Some(_) => values,
        None => values.to_contiguous(),
    }
}

/// Returns the values of a contiguous tensor, or an empty slice for any other tensor.
pub(crate) fn slice(primitive: &FlexTensor) -> &[f32] {
    primitive.as_slice().unwrap_or_default()
}

/// Returns the values for modification: in place if this is the only handle to them, otherwise in a
/// copy.
pub(crate) fn slice_mut(primitive: &mut FlexTensor) -> &mut [f32] {
    if primitive.storage::<f32>().len() != slice(primitive).len() {
        let shape = primitive.layout().shape().clone();
        let data = TensorData::new(slice(primitive).to_vec(), shape);
        *primitive = FlexTensor::from_data(data);
    }
    primitive.storage_mut()
}

/// Creates a tensor with the given values and shape.
pub(crate) fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
