//! Single tensors.

use std::ops::Range;

use burn::tensor::{Bool, DType, Device, FloatDType, Gradients, Int, Tensor, TensorData};

use super::super::SampleShape;
use super::super::bitwise::is_bitwise_equal;
use super::{Activation, Value, ValueMapper};

/// Returns the shape of one sample of a batch with these dimensions.
fn sample_shape<const D: usize>(dims: [usize; D]) -> SampleShape {
    dims.get(1..).unwrap_or_default().to_vec().into()
}

/// Returns the data of a value that consists of a single tensor.
fn single(data: Vec<TensorData>) -> TensorData {
    let [data] =
        <[TensorData; 1]>::try_from(data).expect("a tensor is created from the data of one tensor");
    data
}

/// Converts indices of samples to a tensor.
///
/// # Panics
/// If an index is not less than `samples`.
fn rows(indices: &[usize], samples: usize, device: &Device) -> Tensor<1, Int> {
    if let Some(wrong) = indices.iter().find(|&&index| index >= samples) {
        panic!("sample index {wrong} is out of range: there are {samples} samples");
    }
    let indices: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
    let count = indices.len();
    Tensor::from_data(TensorData::new(indices, [count]), device)
}

/// The methods of [`Value`] that are the same for tensors of all kinds.
macro_rules! value_of_one_tensor {
    () => {
        const COMPONENTS: Option<usize> = Some(1);

        fn device(&self) -> Device {
            Tensor::device(self)
        }

        fn samples(&self) -> usize {
            self.dims()[0]
        }

        fn shape(&self) -> SampleShape {
            sample_shape(self.dims())
        }

        fn part(self, samples: Range<usize>) -> Self {
            self.narrow(0, samples.start, samples.len())
        }

        fn join(parts: Vec<Self>) -> Self {
            Self::cat(parts, 0)
        }

        fn into_data(self) -> Vec<TensorData> {
            vec![Tensor::into_data(self)]
        }

        fn to_device(self, device: &Device) -> Self {
            Tensor::to_device(self, device)
        }
    };
}

impl<const D: usize> Value for Tensor<D> {
    value_of_one_tensor!();

    fn select(self, indices: &[usize]) -> Self {
        let rows = rows(indices, self.dims()[0], &Tensor::device(&self));
        Tensor::select(self, 0, rows)
    }

    fn from_data(data: Vec<TensorData>, device: &Device, dtype: DType) -> Self {
        Tensor::from_data(single(data), (device, dtype))
    }

    fn to_dtype(self, dtype: DType) -> Self {
        self.cast(dtype)
    }

    fn accumulate(self, other: Self) -> Self {
        self + other
    }

    fn leaf(self) -> Self {
        self.inner().autodiff().require_grad()
    }

    fn constant(self) -> Self {
        self.inner().autodiff()
    }

    fn detach(self) -> Self {
        Tensor::detach(self)
    }

    fn take_gradient(&self, gradients: &mut Gradients) -> Option<Self> {
        self.grad_remove(gradients)
    }

    fn zero(self) -> Self {
        self.inner().zeros_like()
    }

    fn map(self, mapper: &mut impl ValueMapper) -> Self {
        mapper.map_float(self)
    }
}

/// Implements [`Value`] for tensors that have no gradient.
macro_rules! value_without_gradient {
    ($kind:ident, $map:ident, $select:expr) => {
        impl<const D: usize> Value for Tensor<D, $kind> {
            value_of_one_tensor!();

            fn select(self, indices: &[usize]) -> Self {
                let rows = rows(indices, self.dims()[0], &Tensor::device(&self));
                $select(self, rows)
            }

            fn from_data(data: Vec<TensorData>, device: &Device, _: DType) -> Self {
                Tensor::from_data(single(data), device)
            }

            fn to_dtype(self, _: DType) -> Self {
                self
            }

            fn accumulate(self, _: Self) -> Self {
                self
            }

            fn leaf(self) -> Self {
                self
            }

            fn constant(self) -> Self {
                self
            }

            fn detach(self) -> Self {
                self
            }

            fn take_gradient(&self, _: &mut Gradients) -> Option<Self> {
                None
            }

            fn zero(self) -> Self {
                self
            }

            fn map(self, mapper: &mut impl ValueMapper) -> Self {
                mapper.$map(self)
            }
        }
    };
}

value_without_gradient!(Int, map_int, |tensor, rows| Tensor::select(tensor, 0, rows));
// On Burn's CPU backend, selecting booleans directly would return a type that operations reject.
value_without_gradient!(Bool, map_bool, |tensor: Self, rows| {
    Tensor::select(tensor.int(), 0, rows).bool()
});

impl<const D: usize> Activation for Tensor<D> {
    fn plus(self, other: Self) -> Self {
        self + other
    }

    fn minus(self, other: Self) -> Self {
        self - other
    }

    fn values(self) -> Self {
        self.inner()
    }

    fn is_repeated_by(&self, other: &Self) -> bool {
        const TOLERANCE: f64 = 1e-2;
        is_bitwise_equal(self, other).unwrap_or_else(|| {
            let square = |tensor: Self| tensor.powi_scalar(2).sum().into_scalar::<f64>();
            let difference = square(self.clone() - other.clone());
            // NaN is detected in the loss.
            difference.is_nan() || difference <= TOLERANCE * TOLERANCE * square(self.clone())
        })
    }

    fn inner_product(self, other: Self) -> Option<Tensor<1>> {
        // A sum of 16-bit floats would stop growing after a few hundred terms, and be rounded to three digits.
        let widened = |tensor: Self| match tensor.dtype() {
            DType::F16 | DType::BF16 => tensor.cast(FloatDType::F32),
            _ => tensor,
        };
        self.is_tracked().then(|| (widened(self) * widened(other).autodiff()).sum())
    }

    type Vjp = parareal_autodiff::Vjp<D>;

    fn vjp(self) -> Self::Vjp {
        Self::Vjp::new(self)
    }

    fn pull_back(vjp: Self::Vjp, cotangent: Self) -> Option<Gradients> {
        vjp.pull_back(cotangent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_products_of_16_bit_floats_are_summed_as_32_bit_floats() {
        let values = Tensor::<1>::full([100_000], 1.0, &Device::flex()).cast(FloatDType::BF16);
        let product = Activation::inner_product(Value::leaf(values.clone()), values).unwrap();
        assert_eq!(product.clone().inner().into_scalar::<f32>(), 100_000.0);
        product.backward();
    }

    #[test]
    fn samples_are_selected_by_index_in_any_order() {
        let device = Device::flex();
        let floats = Tensor::<2>::from_data([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], &device);
        let found = Value::select(floats, &[2, 0, 2]).into_data();
        found.assert_eq(&TensorData::from([[4.0f32, 5.0], [0.0, 1.0], [4.0, 5.0]]), true);
        let booleans = Tensor::<1, Bool>::from_data([true, false, false], &device);
        let found = Value::select(booleans, &[0, 2]).bool_not().into_data();
        assert_eq!(found.iter::<bool>().collect::<Vec<_>>(), [false, true]);
        let integers = Tensor::<1, Int>::from_data([7, 8, 9], &device);
        let found: Vec<i64> = Value::select(integers, &[1, 0]).into_data().iter().collect();
        assert_eq!(found, [8, 7]);
    }

    #[test]
    #[should_panic(expected = "sample index 3 is out of range: there are 3 samples")]
    fn a_sample_that_is_not_there_is_not_selected() {
        let integers = Tensor::<1, Int>::from_data([7, 8, 9], &Device::flex());
        let _ = Value::select(integers, &[0, 3]);
    }
}
