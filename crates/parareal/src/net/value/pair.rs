//! Pairs of values.

use std::ops::Range;

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

use super::super::SampleShape;
use super::{Activation, Value, ValueMapper, add_products};

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

    fn select(self, indices: &[usize]) -> Self {
        (self.0.select(indices), self.1.select(indices))
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
            assert!(
                is_known,
                "a value can have only one component with a variable number of tensors"
            );
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

    fn detach(self) -> Self {
        (self.0.detach(), self.1.detach())
    }

    /// Returns the gradients of both values; `None` if neither has one. If only one value has a gradient, the
    /// other gradient is zero, or the value itself if it consists of integers or booleans.
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

    fn map(self, mapper: &mut impl ValueMapper) -> Self {
        (self.0.map(mapper), self.1.map(mapper))
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

    fn with_context_of(self, other: &Self) -> Self {
        (self.0.with_context_of(&other.0), self.1.with_context_of(&other.1))
    }

    fn has_context_of(&self, other: &Self) -> bool {
        self.0.has_context_of(&other.0) && self.1.has_context_of(&other.1)
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

#[cfg(test)]
mod tests {
    use burn::tensor::Int;

    use super::*;

    type List = Vec<Tensor<2>>;

    fn tensor(rows: [[f32; 2]; 2]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    fn numbers(value: impl Value) -> Vec<Vec<f64>> {
        value.into_data().iter().map(|data| data.iter::<f64>().collect()).collect()
    }

    #[test]
    fn values_of_several_tensors_round_trip() {
        let device = Device::flex();
        let [a, b, c] = [1.0, 3.0, 5.0].map(|first| tensor([[first, 2.0], [first, 4.0]]));
        let list = vec![a.clone(), b];
        let before: (List, Tensor<2>) = (list.clone(), c.clone());
        let data = before.clone().into_data();
        let after = <(List, Tensor<2>)>::from_data(data, &device, DType::F32);
        assert_eq!((after.0.len(), numbers(after)), (2, numbers(before)));
        let before: (Tensor<2>, List) = (c, list);
        let data = before.clone().into_data();
        let after = <(Tensor<2>, List)>::from_data(data, &device, DType::F64);
        assert_eq!(after.1[0].dtype(), DType::F64);
        assert_eq!(numbers(after), numbers(before.clone()));
        assert_eq!(before.shape().components(), [vec![2], vec![2], vec![2]]);
        // Samples are selected and joined in all tensors.
        let parts = [0..1, 1..2].map(|samples| before.clone().part(samples));
        assert_eq!(parts[1].samples(), 1);
        assert_eq!(numbers(<(Tensor<2>, List)>::join(parts.into())), numbers(before));
    }

    #[test]
    fn products_and_gradients_are_those_of_all_tensors() {
        let leaf = |first| tensor([[first, 2.0], [first, 4.0]]).leaf();
        let x = (leaf(1.0), vec![leaf(3.0), leaf(5.0)]);
        let (a, b) = (x.0.clone(), x.1.clone());
        // The second tensor of the list does not take part.
        let y =
            (a.clone() * a, vec![b[0].clone().mul_scalar(3.0), tensor([[0.0; 2]; 2]).constant()]);
        let ones = || tensor([[1.0; 2]; 2]);
        let cotangent = (ones(), vec![ones(), ones()]);
        let mut gradients = Activation::pull_back(y.vjp(), cotangent).unwrap();
        let found = x.take_gradient(&mut gradients).unwrap();
        let expected = vec![vec![2.0, 4.0, 2.0, 8.0], vec![3.0; 4], vec![0.0; 4]];
        assert_eq!(numbers(found), expected);
        assert!(x.take_gradient(&mut gradients).is_none());
    }

    #[test]
    fn integers_beside_floats_have_no_gradient() {
        let indices = Tensor::<1, Int>::from_data([4, 7], &Device::flex());
        let x = (tensor([[1.0, 2.0], [3.0, 4.0]]), indices).leaf();
        let mut gradients = x.0.clone().powi_scalar(2).sum().backward();
        let gradient = x.take_gradient(&mut gradients).unwrap();
        assert_eq!(numbers(gradient), [vec![2.0, 4.0, 6.0, 8.0], vec![4.0, 7.0]]);
    }
}
