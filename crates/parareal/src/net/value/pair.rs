//! Pairs of values.

use std::ops::Range;

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

use super::super::SampleShape;
use super::{Activation, Value, add_products};

impl<A: Value, B: Value> Value for (A, B) {
    const COMPONENTS: Option<usize> = match (A::COMPONENTS, B::COMPONENTS) {
        (Some(a), Some(b)) => Some(a + b),
        _ => None,
    };

    fn device(&self) -> Device {
        self.0.device()
    }

    fn samples(&self) -> usize {
        self.0.samples()
    }

    fn shape(&self) -> SampleShape {
        let components = [self.0.shape().components(), self.1.shape().components()].concat();
        SampleShape::of_components(components)
    }

    fn part(self, samples: Range<usize>) -> Self {
        (self.0.part(samples.clone()), self.1.part(samples))
    }

    fn join(parts: Vec<Self>) -> Self {
        let (first, second) = parts.into_iter().unzip();
        (A::join(first), B::join(second))
    }

    fn into_data(self) -> Vec<TensorData> {
        let mut data = self.0.into_data();
        data.extend(self.1.into_data());
        data
    }

    fn from_data(mut data: Vec<TensorData>, device: &Device, dtype: DType) -> Self {
        const {
            let is_known = A::COMPONENTS.is_some() || B::COMPONENTS.is_some();
            assert!(is_known, "a value can have only one part with any number of tensors");
        }
        let first = match (A::COMPONENTS, B::COMPONENTS) {
            (Some(first), _) => first,
            (None, second) => data.len().saturating_sub(second.unwrap_or_default()),
        };
        let second = data.split_off(first.min(data.len()));
        (A::from_data(data, device, dtype), B::from_data(second, device, dtype))
    }

    fn to_dtype(self, dtype: DType) -> Self {
        (self.0.to_dtype(dtype), self.1.to_dtype(dtype))
    }

    fn accumulate(self, other: Self) -> Self {
        (self.0.accumulate(other.0), self.1.accumulate(other.1))
    }

    fn to_device(self, device: &Device) -> Self {
        (self.0.to_device(device), self.1.to_device(device))
    }

    fn leaf(self) -> Self {
        (self.0.leaf(), self.1.leaf())
    }

    fn constant(self) -> Self {
        (self.0.constant(), self.1.constant())
    }

    /// The gradients of both parts. A part without one, beside one that has it, has the gradient zero; if
    /// it consists of integers, it stands for itself.
    fn take_gradient(&self, gradients: &mut Gradients) -> Option<Self> {
        match (self.0.take_gradient(gradients), self.1.take_gradient(gradients)) {
            (None, None) => None,
            (first, second) => Some((
                first.unwrap_or_else(|| self.0.clone().zero()),
                second.unwrap_or_else(|| self.1.clone().zero()),
            )),
        }
    }

    fn zero(self) -> Self {
        (self.0.zero(), self.1.zero())
    }
}

impl<A: Activation, B: Activation> Activation for (A, B) {
    fn plus(self, other: Self) -> Self {
        (self.0.plus(other.0), self.1.plus(other.1))
    }

    fn minus(self, other: Self) -> Self {
        (self.0.minus(other.0), self.1.minus(other.1))
    }

    fn values(self) -> Self {
        (self.0.values(), self.1.values())
    }

    fn is_repeated_by(&self, other: &Self) -> bool {
        self.0.is_repeated_by(&other.0) && self.1.is_repeated_by(&other.1)
    }

    fn inner_product(self, other: Self) -> Option<Tensor<1>> {
        add_products([self.0.inner_product(other.0), self.1.inner_product(other.1)])
    }

    type Vjp = Self;

    fn vjp(self) -> Self {
        self
    }

    fn pull_back(vjp: Self, cotangent: Self) -> Option<Gradients> {
        vjp.inner_product(cotangent).map(|product| product.backward())
    }
}
