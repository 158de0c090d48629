//! The memory of tensors, and copies between them that are launched together.

use burn::backend::{Autodiff, Cube};
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, DType, Device, Float, Int, Shape, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubecl::server::Handle;
use parareal_autodiff::GraphBackend;

use super::graph::GraphError;
use super::joint::{first_value, joint_grid, tensors_per_launch, value_stride};
use super::tensors::{converted, empty_like};

/// Bytes of the numbers that are copied.
const WORD: u64 = 4;

/// The memory of a tensor on a device of CubeCL.
///
/// Tensors share memory with their clones. As long as there is another clone, no operation changes a tensor in place.
#[derive(Clone, Debug)]
pub struct TensorMemory(CubeTensor);

/// The place of a tensor's memory. Tensors that are alive at the same time have different places, unless they share memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryPlace {
    allocation: usize,
    offset: u64,
}

/// A kind of tensors: [`Float`], [`Int`] or [`Bool`].
pub trait MemoryKind: Basic + Sized {
    /// Returns the values of a tensor, outside every graph. Returns `None` on other devices.
    #[doc(hidden)]
    fn into_cube<const D: usize>(tensor: Tensor<D, Self>) -> Option<CubeTensor>;

    /// Creates a tensor outside every graph.
    #[doc(hidden)]
    fn from_cube<const D: usize>(tensor: CubeTensor) -> Tensor<D, Self>;
}

impl MemoryKind for Float {
    fn into_cube<const D: usize>(tensor: Tensor<D>) -> Option<CubeTensor> {
        Cube::into_parts(tensor).and_then(|(values, _)| converted(values))
    }

    fn from_cube<const D: usize>(tensor: CubeTensor) -> Tensor<D> {
        super::tensors::constant(tensor)
    }
}

macro_rules! kind_without_gradient {
    ($kind:ty) => {
        impl MemoryKind for $kind {
            fn into_cube<const D: usize>(tensor: Tensor<D, Self>) -> Option<CubeTensor> {
                match tensor.device().is_autodiff() {
                    true => converted(tensor.try_into_primitive::<Autodiff<Cube>>().ok()?),
                    false => converted(tensor.try_into_primitive::<Cube>().ok()?),
                }
            }

            fn from_cube<const D: usize>(tensor: CubeTensor) -> Tensor<D, Self> {
                let tensor = converted(tensor);
                let tensor = tensor.expect("`TensorMemory` is of tensors without operation fusion");
                Tensor::from_primitive::<Cube>(tensor)
            }
        }
    };
}

kind_without_gradient!(Int);
kind_without_gradient!(Bool);

impl TensorMemory {
    /// Returns the memory of a tensor. Returns `None` if its device is not one of CubeCL's, if Burn's operation fusion is on, or if
    /// it does not consist of whole 32-bit words.
    pub fn of<const D: usize, K: MemoryKind>(tensor: Tensor<D, K>) -> Option<Self> {
        let memory = Self(K::into_cube(tensor)?);
        let is_plain = memory.0.qparams.is_none() && !memory.0.meta.is_tiled();
        (is_plain && memory.bytes().is_multiple_of(WORD)).then_some(memory)
    }

    /// Returns the tensor, outside every graph.
    ///
    /// # Panics
    /// If it is of another kind or rank.
    pub fn into_tensor<const D: usize, K: MemoryKind>(self) -> Tensor<D, K> {
        K::from_cube(self.0)
    }

    /// Checks that the values could be computed and written, since a replay reads whatever the memory contains. Waits until the
    /// device's queue has taken all work so far, not for the work itself.
    ///
    /// # Errors
    /// If an earlier operation on the memory has failed, for example because memory was exhausted.
    pub fn check<'a>(memories: impl IntoIterator<Item = &'a Self>) -> Result<(), GraphError> {
        let mut memories = memories.into_iter().peekable();
        let Some(TensorMemory(CubeTensor { client, .. })) = memories.peek() else { return Ok(()) };
        let client = client.clone();
        client.check(memories.map(|memory| &memory.0.handle)).map_err(GraphError::of)
    }

    pub(crate) fn values(&self) -> &CubeTensor {
        &self.0
    }

    /// Returns the place of the memory.
    pub fn place(&self) -> MemoryPlace {
        let handle = &self.0.handle;
        let allocation = handle.memory.clone().binding().id().value;
        MemoryPlace { allocation, offset: handle.offset_start.unwrap_or(0) }
    }

    /// Returns true if the other tensor has the same shape, layout and type, so that its memory can be copied to this one's.
    pub fn accepts(&self, other: &Self) -> bool {
        let layout = |tensor: &Self| (tensor.0.meta.strides().clone(), tensor.bytes());
        (self.0.meta.shape(), self.0.dtype) == (other.0.meta.shape(), other.0.dtype)
            && layout(self) == layout(other)
    }

    fn bytes(&self) -> u64 {
        self.0.handle.size_in_used()
    }
}

/// Returns true if the devices of this kind pass tensors to each other directly (with NCCL), and not through the memory of the host.
pub fn has_device_transport(device: &Device) -> bool {
    let tensor = Float::into_cube(Tensor::<1>::zeros([1], device));
    tensor.is_some_and(|tensor| tensor.client.has_device_transport())
}

/// Device memory that is held back. When it is dropped, it is available to tensors and recordings of this thread.
#[derive(Debug)]
pub struct Reserve(#[allow(dead_code, reason = "memory lives as long as its handle")] Vec<Handle>);

impl Reserve {
    /// Allocates memory for `count` tensors of this number of bytes.
    ///
    /// # Errors
    /// If the device is not one of CubeCL's, or does not have so much memory.
    pub fn new(device: &Device, bytes: u64, count: usize) -> Result<Self, GraphError> {
        let tensor = Float::into_cube(Tensor::<1>::zeros([1], device));
        let CubeTensor { client, .. } = tensor.ok_or_else(|| {
            GraphError::of("memory can be reserved on a device of CubeCL, without operation fusion")
        })?;
        let handles: Vec<_> = (0..count).map(|_| client.empty(bytes as usize)).collect();
        client.check(handles.iter()).map_err(GraphError::of)?;
        Ok(Self(handles))
    }
}

/// Creates tensors with the same values in memory of their own. All are on one device; they share one allocation, which lives as
/// long as any of them.
pub fn duplicate(tensors: &[TensorMemory]) -> Vec<TensorMemory> {
    let Some(TensorMemory(first)) = tensors.first() else { return Vec::new() };
    let alignment = first.client.properties().memory.alignment;
    let space = |tensor: &TensorMemory| tensor.bytes().next_multiple_of(alignment);
    let size: u64 = tensors.iter().map(space).sum();
    let whole = first.client.empty(size as usize);
    let mut begin = 0;
    let copies: Vec<_> = tensors
        .iter()
        .map(|tensor| {
            let end = size - begin - tensor.bytes();
            let handle = whole.clone().offset_start(begin).offset_end(end);
            begin += space(tensor);
            TensorMemory(CubeTensor { handle, ..tensor.0.clone() })
        })
        .collect();
    copy(tensors.iter().zip(&copies));
    copies
}

/// Copies the values of tensors to the memory of others: `(from, to)`. Writes to this memory even if other tensors share it. All are
/// on one device.
///
/// # Panics
/// If the second of a pair does not [accept](TensorMemory::accepts) the first.
pub fn copy<'a>(pairs: impl IntoIterator<Item = (&'a TensorMemory, &'a TensorMemory)>) {
    let pairs = pairs.into_iter().filter(|(from, _)| from.bytes() > 0);
    let words = pairs.map(|(from, to)| {
        assert!(
            to.accepts(from),
            "memory is copied to a tensor of the same shape, layout and type"
        );
        [from, to].map(|memory| words(&memory.0, (memory.bytes() / WORD) as usize))
    });
    copy_words(&words.collect::<Vec<_>>());
}

/// Returns a copy of a contiguous tensor of 32-bit words, without space between its rows.
pub(crate) fn copied(tensor: &CubeTensor) -> CubeTensor {
    debug_assert_eq!(tensor.dtype.size() as u64, WORD);
    let new = empty_like(tensor);
    let len = tensor.meta.shape().num_elements();
    copy_words(&[[tensor, &new].map(|tensor| words(tensor, len))]);
    new
}

/// Returns the first words in the memory of a tensor.
fn words(tensor: &CubeTensor, len: usize) -> CubeTensor {
    let CubeTensor { client, device, handle, .. } = tensor.clone();
    CubeTensor::new_contiguous(client, device, Shape::from([len]), handle, DType::U32)
}

/// Copies words of tensors to others of the same length. All are on one device.
fn copy_words(pairs: &[[CubeTensor; 2]]) {
    let Some([CubeTensor { client, .. }, _]) = pairs.first() else { return };
    for pairs in pairs.chunks(tensors_per_launch(client, 2, 0)) {
        let mut arguments = SequenceArg::new();
        let mut largest = 0;
        for pair in pairs {
            largest = largest.max(pair[0].meta.shape().num_elements());
            let [from, to] = pair.clone().map(CubeTensor::into_buffer_arg);
            arguments.push(CopyLaunch::new(from, to));
        }
        let (grid, units) = joint_grid(client, largest, pairs.len());
        copy_kernel::launch(client, grid, units, arguments, pairs.len());
    }
}

/// A copy of one tensor.
#[derive(CubeType, CubeLaunch)]
struct Copy {
    from: Box<[u32]>,
    to: Box<[u32]>,
}

#[cube(launch)]
fn copy_kernel(copies: &mut Sequence<Copy>, #[comptime] count: usize) {
    #[unroll]
    for number in 0..count {
        if CUBE_POS_Y as usize == number {
            let copy = copies.index_mut(number);
            let mut index = first_value();
            while index < copy.to.len() {
                copy.to[index] = copy.from[index];
                index += value_stride();
            }
        }
    }
}

#[cfg(all(test, any(feature = "cube-cpu", feature = "cube-wgpu")))]
mod tests {
    use super::super::test_device;
    use super::*;

    #[test]
    fn tensors_of_all_kinds_are_copied_together() {
        let device = test_device();
        let floats = Tensor::<2>::from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &device);
        let integers = Tensor::<1, Int>::from_data([7, 8, 9], &device);
        let transposed = floats.clone().transpose();
        let tensors = [
            TensorMemory::of(floats.clone()).unwrap(),
            TensorMemory::of(integers.clone()).unwrap(),
            TensorMemory::of(transposed.clone()).unwrap(),
        ];
        let copies = duplicate(&tensors);
        let places = |tensors: &[TensorMemory]| tensors.iter().map(TensorMemory::place).collect();
        let (places, new): (Vec<_>, Vec<_>) = (places(&tensors), places(&copies));
        assert_eq!(places[0], places[2], "a transposed tensor shares its memory");
        for (index, place) in new.iter().enumerate() {
            assert!(!new[..index].contains(place) && !places.contains(place));
        }
        let [own, own_integers, own_transposed] =
            <[TensorMemory; 3]>::try_from(copies.clone()).unwrap();
        own.into_tensor::<2, Float>().into_data().assert_eq(&floats.into_data(), true);
        own_integers.into_tensor::<1, Int>().into_data().assert_eq(&integers.into_data(), true);
        let own_transposed = own_transposed.into_tensor::<2, Float>();
        own_transposed.into_data().assert_eq(&transposed.into_data(), true);
        // To memory that another tensor shares.
        let zeros = TensorMemory::of(Tensor::<2>::zeros([2, 3], &device)).unwrap();
        copy([(&zeros, &copies[0])]);
        let written = copies[0].clone().into_tensor::<2, Float>().into_data();
        written.assert_eq(&zeros.into_tensor::<2, Float>().into_data(), true);
    }

    #[test]
    fn more_tensors_than_a_launch_takes_are_copied() {
        let numbers = (0..200).map(|number| Tensor::<1>::full([3], number, &test_device()));
        let numbers: Vec<_> = numbers.map(|tensor| TensorMemory::of(tensor).unwrap()).collect();
        for (number, copy) in duplicate(&numbers).into_iter().enumerate() {
            let values: Vec<f32> = copy.into_tensor::<1, Float>().into_data().iter().collect();
            assert_eq!(values, [number as f32; 3]);
        }
        assert!(duplicate(&[]).is_empty());
    }

    #[test]
    fn other_devices_have_no_such_memory() {
        let tensor = Tensor::<1>::zeros([2], &burn::tensor::Device::flex());
        assert!(TensorMemory::of(tensor).is_none());
    }
}
