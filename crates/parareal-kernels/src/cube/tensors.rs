//! Tensors of CubeCL's devices as buffers.

use std::any::Any;

use burn::backend::Cube;
use burn::backend::autodiff::ops::NodeGuard;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::server::Handle;
use parareal_autodiff::GraphBackend;

use super::memory::copied;
use crate::environment::is_composed;

/// Creates a contiguous tensor of 32-bit floats without initial values, on the device of another one.
pub(crate) fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    empty_of(like, DType::F32, Shape::from(shape))
}

/// Creates a contiguous tensor without initial values, of the type and on the device of another one.
pub(crate) fn empty_state<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    empty_of(like, like.dtype, Shape::from(shape))
}

/// Creates a contiguous tensor without initial values, of the type and shape and on the device of another one.
pub(crate) fn empty_like(like: &CubeTensor) -> CubeTensor {
    empty_of(like, like.dtype, like.meta.shape().clone())
}

fn empty_of(like: &CubeTensor, dtype: DType, shape: Shape) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype)
}

/// Contiguous tensors in one allocation, which lives as long as any of them. The host's time for an allocation grows with the
/// number of those in use.
pub(crate) struct Arena {
    like: CubeTensor,
    /// The allocation, which the first tensor makes.
    handle: Option<Handle>,
    /// Number of bytes.
    size: u64,
    used: u64,
}

impl Arena {
    /// Creates an arena for tensors of 32-bit floats with these numbers of elements, on the device of another tensor.
    pub(crate) fn new(like: &CubeTensor, lengths: impl IntoIterator<Item = usize>) -> Self {
        Self::with_types(like, lengths.into_iter().map(|length| (DType::F32, length)))
    }

    /// Creates an arena for tensors of these types and numbers of elements, on the device of another tensor.
    pub(crate) fn with_types(
        like: &CubeTensor,
        tensors: impl IntoIterator<Item = (DType, usize)>,
    ) -> Self {
        let tensors = tensors.into_iter();
        let size = tensors.map(|(dtype, length)| Self::bytes(like, dtype, length).1).sum();
        Self { like: like.clone(), handle: None, size, used: 0 }
    }

    /// Returns the number of bytes of a tensor, and of the space that it takes.
    fn bytes(like: &CubeTensor, dtype: DType, length: usize) -> (u64, u64) {
        let bytes = (length * dtype.size()) as u64;
        (bytes, bytes.next_multiple_of(like.client.properties().memory.alignment))
    }

    /// Creates a tensor of 32-bit floats without initial values. If the arena is full, it has an allocation of its own.
    pub(crate) fn empty<const D: usize>(&mut self, shape: [usize; D]) -> CubeTensor {
        self.empty_of(DType::F32, shape)
    }

    /// Creates a tensor of this type without initial values. If the arena is full, it has an allocation of its own.
    pub(crate) fn empty_of<const D: usize>(
        &mut self,
        dtype: DType,
        shape: [usize; D],
    ) -> CubeTensor {
        let (bytes, space) = Self::bytes(&self.like, dtype, shape.iter().product());
        let shape = Shape::from(shape);
        if self.used + space > self.size {
            return empty_of(&self.like, dtype, shape);
        }
        let (client, device) = (self.like.client.clone(), self.like.device.clone());
        let begin = self.used;
        self.used += space;
        let handle = self.handle.get_or_insert_with(|| client.empty(self.size as usize)).clone();
        let handle = handle.offset_start(begin).offset_end(self.size - begin - bytes);
        CubeTensor::new_contiguous(client, device, shape, handle, dtype)
    }
}

/// A contiguous tensor, with its node if it is in a graph.
pub(crate) struct Operand {
    pub(crate) values: CubeTensor,
    pub(crate) node: Option<NodeGuard>,
}

impl Operand {
    /// Converts a parameter. Returns `None` if its device is not one of CubeCL's, if it does not consist of 32-bit floats, if
    /// Burn's operation fusion is on, or if the environment variable `PARAREAL_KERNELS` is `composed`.
    pub(crate) fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if tensor.dtype() == DType::F32 { Self::of(tensor) } else { None }
    }

    /// Converts a state, which may also consist of bfloat16, under the other conditions of [`Self::new`].
    pub(crate) fn state<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if is_state(tensor) { Self::of(tensor) } else { None }
    }

    fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if is_composed() {
            return None;
        }
        let (values, node) = Cube::into_parts(tensor.clone())?;
        Some(Self { values: into_contiguous(unwrapped(values)?), node })
    }
}

fn is_state<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.dtype(), DType::F32 | DType::BF16)
}

/// Returns true if operations on this parameter can be fused, under the conditions of [`Operand::new`].
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && is_fused_state(tensor)
}

/// Returns true if operations on this state can be fused, under the conditions of [`Operand::state`].
pub(crate) fn is_fused_state<const D: usize>(tensor: &Tensor<D>) -> bool {
    let values = || Cube::into_parts(tensor.clone()).and_then(|(values, _)| unwrapped(values));
    is_state(tensor) && !is_composed() && values().is_some()
}

/// Returns the values of a tensor.
///
/// # Panics
/// If its device is not one of CubeCL's, or Burn's operation fusion is on.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    let values = Cube::into_parts(tensor).and_then(|(values, _)| unwrapped(values));
    values.expect("the caller has checked the device")
}

/// Returns true if a tensor is contiguous and nothing else refers to its memory.
pub(crate) fn is_owned(tensor: &CubeTensor) -> bool {
    tensor.is_contiguous() && tensor.can_mut()
}

/// Returns the tensor if [`is_owned`] returns true for it. Otherwise returns a copy, in the memory for tensors that live as long as the
/// parameters.
pub(crate) fn owned(tensor: CubeTensor) -> CubeTensor {
    if is_owned(&tensor) {
        return tensor;
    }
    let client = tensor.client.clone();
    client.memory_persistent_allocation(tensor, |tensor| match tensor.is_contiguous() {
        // Burn's copy of a contiguous tensor may have space between its rows.
        true => copied(&tensor),
        false => into_contiguous(tensor),
    })
}

/// Returns the tensor of a gradient or a result, or `None` if Burn's operation fusion is on.
pub(crate) fn unwrapped(tensor: FloatTensor<Cube>) -> Option<CubeTensor> {
    converted(tensor)
}

/// Returns the tensor as Burn's backend has it.
///
/// # Panics
/// If Burn's operation fusion is on.
pub(crate) fn wrapped(tensor: CubeTensor) -> FloatTensor<Cube> {
    converted(tensor).expect("there are no fused operations beside Burn's operation fusion")
}

/// Converts a value to its own type under another name. [`Cube`] is an alias of one of two backends, depending on a feature
/// of Burn that any crate may enable.
pub(crate) fn converted<From: Any, To: Any>(value: From) -> Option<To> {
    let mut value = Some(value);
    (&mut value as &mut dyn Any).downcast_mut::<Option<To>>()?.take()
}

/// Creates a tensor outside every graph.
pub(crate) fn constant<const D: usize>(tensor: CubeTensor) -> Tensor<D> {
    Cube::constant(wrapped(tensor))
}
