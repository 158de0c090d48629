//! Lists of tensors. The number of tensors may differ between positions, as in a U-shaped network.

use std::ops::Range;

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

use super::super::SampleShape;
use super::{Activation, Value, ValueMapper, add_products};

impl<const D: usize> Value for Vec<Tensor<D>> {
    const COMPONENTS: Option<usize> = None;

    /// # Panics
    /// If the list is empty.
    fn device(&self) -> Device {
        self.first().expect("a state has a tensor").device()
    }

    fn samples(&self) -> usize {
        self.first().map_or(0, Value::samples)
    }

    fn shape(&self) -> SampleShape {
        let components = self.iter().flat_map(|tensor| Value::shape(tensor).components().to_vec());
        SampleShape::of_components(components.collect())
    }

    fn part(self, samples: Range<usize>) -> Self {
        self.into_iter().map(|tensor| tensor.part(samples.clone())).collect()
    }

    fn select(self, indices: &[usize]) -> Self {
        self.into_iter().map(|tensor| Value::select(tensor, indices)).collect()
    }

    fn join(parts: Vec<Self>) -> Self {
        let count = parts.first().map_or(0, Vec::len);
        let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
        let component = |_| Tensor::cat(parts.iter_mut().filter_map(Iterator::next).collect(), 0);
        (0..count).map(component).collect()
    }

    fn into_data(self) -> Vec<TensorData> {
        self.into_iter().map(Tensor::into_data).collect()
    }

    fn from_data(data: Vec<TensorData>, device: &Device, dtype: DType) -> Self {
        data.into_iter().map(|data| Tensor::from_data(data, (device, dtype))).collect()
    }

    fn to_dtype(self, dtype: DType) -> Self {
        self.into_iter().map(|tensor| tensor.cast(dtype)).collect()
    }

    fn accumulate(self, other: Self) -> Self {
        self.into_iter().zip(other).map(|(tensor, other)| tensor + other).collect()
    }

    fn to_device(self, device: &Device) -> Self {
        self.into_iter().map(|tensor| tensor.to_device(device)).collect()
    }

    fn leaf(self) -> Self {
        self.into_iter().map(Value::leaf).collect()
    }

    fn constant(self) -> Self {
        self.into_iter().map(Value::constant).collect()
    }

    fn detach(self) -> Self {
        self.into_iter().map(Tensor::detach).collect()
    }

    /// Returns the gradient of each tensor, which is zero for tensors without a gradient; `None` if no tensor
    /// has one.
    fn take_gradient(&self, gradients: &mut Gradients) -> Option<Self> {
        let found: Vec<_> = self.iter().map(|tensor| tensor.take_gradient(gradients)).collect();
        if found.iter().all(Option::is_none) {
            return None;
        }
        let zero = |tensor: &Tensor<D>| tensor.clone().zero();
        let all = self.iter().zip(found);
        Some(all.map(|(tensor, found)| found.unwrap_or_else(|| zero(tensor))).collect())
    }

    fn zero(self) -> Self {
        self.into_iter().map(Value::zero).collect()
    }

    fn map(self, mapper: &mut impl ValueMapper) -> Self {
        self.into_iter().map(|tensor| mapper.map_float(tensor)).collect()
    }
}

impl<const D: usize> Activation for Vec<Tensor<D>> {
    fn plus(self, other: Self) -> Self {
        self.accumulate(other)
    }

    fn minus(self, other: Self) -> Self {
        self.into_iter().zip(other).map(|(tensor, other)| tensor - other).collect()
    }

    fn values(self) -> Self {
        self.into_iter().map(Tensor::inner).collect()
    }

    fn is_repeated_by(&self, other: &Self) -> bool {
        let mut pairs = self.iter().zip(other);
        self.len() == other.len() && pairs.all(|(tensor, other)| tensor.is_repeated_by(other))
    }

    fn inner_product(self, other: Self) -> Option<Tensor<1>> {
        add_products(self.into_iter().zip(other).map(|(tensor, other)| tensor.inner_product(other)))
    }

    type Vjp = Self;

    fn vjp(self) -> Self {
        self
    }

    fn pull_back(vjp: Self, cotangent: Self) -> Option<Gradients> {
        vjp.inner_product(cotangent).map(|product| product.backward())
    }
}
