//! Tensors of Burn's CPU backend as slices.

use burn::backend::Flex;
use burn::backend::autodiff::ops::NodeGuard;
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::bf16;
use parareal_autodiff::{FlexTensor, GraphBackend};

use crate::cpu::element::Element;
use crate::environment::is_composed;

/// Returns true if the fused operations support this tensor as a parameter: 32-bit floats on Burn's CPU backend,
/// unless the environment variable `PARAREAL_KERNELS` selects Burn's own operations.
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && is_on_cpu(tensor)
}

/// Returns true if the fused operations support this tensor as a state: like a parameter, but it may consist of
/// bfloat16 as well.
pub(crate) fn is_fused_state<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.dtype(), DType::F32 | DType::BF16) && is_on_cpu(tensor)
}

fn is_on_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device() == Device::flex() && !is_composed()
}

/// An [`Element`] as Burn stores it.
pub(crate) trait StateElement: Element {
    /// Returns the values of a contiguous tensor, or an empty slice for any other tensor.
    fn slice(tensor: &FlexTensor) -> &[Self];

    /// Returns the values for modification: in place if this is the only handle to them, otherwise in a
    /// copy.
    fn slice_mut(tensor: &mut FlexTensor) -> &mut [Self];

    /// Creates a tensor with the given values and shape.
    fn tensor<const D: usize>(values: Vec<Self>, shape: [usize; D]) -> FlexTensor;
}

macro_rules! state_elements {
    ($($element:ty),*) => {$(
        impl StateElement for $element {
            fn slice(tensor: &FlexTensor) -> &[Self] {
                tensor.as_slice().unwrap_or_default()
            }

            fn slice_mut(tensor: &mut FlexTensor) -> &mut [Self] {
                if tensor.storage::<Self>().len() != Self::slice(tensor).len() {
                    let shape = tensor.layout().shape().clone();
                    let data = TensorData::new(Self::slice(tensor).to_vec(), shape);
                    *tensor = FlexTensor::from_data(data);
                }
                tensor.storage_mut()
            }

            fn tensor<const D: usize>(values: Vec<Self>, shape: [usize; D]) -> FlexTensor {
                FlexTensor::from_data(TensorData::new(values, shape))
            }
        }
    )*};
}

state_elements!(f32, bf16);

/// Calls a generic function with the type of the elements of a state.
macro_rules! with_element {
    ($tensor:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $tensor.dtype() {
            burn::tensor::DType::BF16 => $function::<half::bf16>($($argument),*),
            _ => $function::<f32>($($argument),*),
        }
    };
}
pub(crate) use with_element;

/// A contiguous tensor on the CPU, with its node if it is in a graph.
pub(crate) struct Operand {
    pub(crate) values: FlexTensor,
    pub(crate) node: Option<NodeGuard>,
}

impl Operand {
    /// Converts a parameter, or returns `None` if it is not supported.
    pub(crate) fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if is_fused(tensor) { Self::converted(tensor) } else { None }
    }

    /// Converts a state, or returns `None` if it is not supported.
    pub(crate) fn state<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if is_fused_state(tensor) { Self::converted(tensor) } else { None }
    }

    fn converted<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        let (values, node) = Flex::into_parts(tensor.clone())?;
        Some(Self { values: to_contiguous(values), node })
    }

    /// Returns the values of a parameter.
    pub(crate) fn slice(&self) -> &[f32] {
        slice(&self.values)
    }
}

/// Returns a contiguous tensor with the same values, which are copied if necessary.
pub(crate) fn to_contiguous(values: FlexTensor) -> FlexTensor {
    let is_contiguous = match values.dtype() {
        DType::BF16 => values.as_slice::<bf16>().is_some(),
        _ => values.as_slice::<f32>().is_some(),
    };
    if is_contiguous { values } else { values.to_contiguous() }
}

/// Returns the values of a contiguous tensor of 32-bit floats, or an empty slice for any other tensor.
pub(crate) fn slice(tensor: &FlexTensor) -> &[f32] {
    f32::slice(tensor)
}

/// Returns the values of a parameter for modification ([`StateElement::slice_mut`]).
pub(crate) fn slice_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    f32::slice_mut(tensor)
}

/// Creates a tensor of 32-bit floats with the given values and shape.
pub(crate) fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    f32::tensor(values, shape)
}
