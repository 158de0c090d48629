//! Tensors of CubeCL's devices as buffers.

use std::any::Any;

use burn::backend::Cube;
use burn::backend::autodiff::ops::NodeGuard;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::server::MemoryLayoutDescriptor;
use parareal_autodiff::GraphBackend;

use crate::flex::is_composed;

/// Creates a contiguous tensor of 32-bit floats without initial values, on the device of another one.
pub(crate) fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::from(shape), DType::F32)
}

/// Creates contiguous tensors of 32-bit floats without initial values in one allocation, which lives as long as any of them. The
/// host's time for an allocation grows with the number of those in use.
pub(crate) fn empty_together<const N: usize>(
    like: &CubeTensor,
    shapes: [Shape; N],
) -> [CubeTensor; N] {
    let size = DType::F32.size();
    let descriptor = |shape: &Shape| MemoryLayoutDescriptor::contiguous(shape.clone(), size);
    let layouts = like.client.empty_tensors(shapes.iter().map(descriptor).collect());
    let mut handles = layouts.into_iter().map(|layout| layout.memory);
    shapes.map(|shape| {
        let handle = handles.next().expect("there is a layout for each shape");
        let (client, device) = (like.client.clone(), like.device.clone());
        CubeTensor::new_contiguous(client, device, shape, handle, DType::F32)
    })
}

/// Creates a tensor of this shape and device without initial values.
pub(crate) fn empty_like(like: &CubeTensor) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, like.meta.shape().clone(), DType::F32)
}

/// A contiguous tensor of 32-bit floats, with its node if it is in a graph.
pub(crate) struct Operand {
    pub(crate) values: CubeTensor,
    pub(crate) node: Option<NodeGuard>,
}

impl Operand {
    /// Converts a tensor. Returns `None` if its device is not one of CubeCL's, if it does not consist of 32-bit floats, if
    /// Burn's operation fusion is on, or if the environment variable `PARAREAL_KERNELS` is `composed`.
    pub(crate) fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if tensor.dtype() != DType::F32 || is_composed() {
            return None;
        }
        let (values, node) = Cube::into_parts(tensor.clone())?;
        Some(Self { values: into_contiguous(unwrapped(values)?), node })
    }
}

/// Returns true if operations on this tensor can be fused, under the conditions of [`Operand::new`].
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    let values = || Cube::into_parts(tensor.clone()).and_then(|(values, _)| unwrapped(values));
    tensor.dtype() == DType::F32 && !is_composed() && values().is_some()
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
fn converted<From: Any, To: Any>(value: From) -> Option<To> {
    let mut value = Some(value);
    (&mut value as &mut dyn Any).downcast_mut::<Option<To>>()?.take()
}

/// Creates a tensor outside every graph.
pub(crate) fn constant<const D: usize>(tensor: CubeTensor) -> Tensor<D> {
    Cube::constant(wrapped(tensor))
}
