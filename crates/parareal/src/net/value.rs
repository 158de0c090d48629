use std::ops::Range;

use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};

use super::bitwise::is_bitwise_equal;

/// Something that a network takes in: a tensor of any rank, of floats or of integers.
///
/// The first dimension counts the samples of the batch.
pub trait Value: Clone + Send + 'static {
    /// Where the value is.
    fn device(&self) -> Device;

    /// The number of samples.
    fn samples(&self) -> usize;

    /// Some of the samples, in order.
    ///
    /// # Panics
    /// Where there are not so many.
    fn part(self, samples: Range<usize>) -> Self;

    /// Returns the samples with these indices, in this order.
    ///
    /// # Panics
    /// If there is no sample with one of the indices.
    fn select(self, indices: &[usize]) -> Self;

    /// Concatenates the samples of several values.
    ///
    /// # Panics
    /// Where there is no value, or samples differ in shape.
    fn join(parts: Vec<Self>) -> Self;

    /// The numbers, copied to the host.
    fn into_data(self) -> TensorData;

    /// Such numbers on a device, with this type there.
    ///
    /// # Panics
    /// Where they have another number of dimensions.
    fn from_data(data: TensorData, device: &Device, dtype: DType) -> Self;

    /// Adds two gradients of the same leaf.
    fn accumulate(self, other: Self) -> Self;

    /// Copies the value to a device; costs nothing where it is there already.
    fn to_device(self, device: &Device) -> Self;

    /// The value as the leaf of a new graph that keeps its gradient. Integers have none and stay
    /// as they are.
    fn leaf(self) -> Self;

    /// The value in a graph that does not ask for its gradient.
    fn constant(self) -> Self;

    /// Takes the gradient of this leaf out of `gradients`, if it has one.
    fn take_gradient(&self, gradients: &mut Gradients) -> Option<Self>;
}

/// What flows through the units and crosses an interface: a float tensor of any rank.
pub trait Activation: Value {
    /// `self + other`.
    fn plus(self, other: Self) -> Self;

    /// `self - other`.
    fn minus(self, other: Self) -> Self;

    /// The values alone, outside every graph.
    fn values(self) -> Self;

    /// Returns true if `other` can be this value computed once more: on the CPU where the values are
    /// equal bit for bit, on other devices, which may choose other kernels meanwhile, up to a
    /// relative difference of a hundredth.
    fn is_repeated_by(&self, other: &Self) -> bool;

    /// The vector-Jacobian product of a graph, without the values of its output if that can be.
    type Vjp: Send;

    /// Takes over the graph that computes this value, to be differentiated later.
    fn vjp(self) -> Self::Vjp;

    /// Returns the gradients of a graph's leaves along `cotangent`, a tensor of the output's shape
    /// outside every graph.
    ///
    /// Burn differentiates scalars, so these are the gradients of `sum(output · cotangent)`. The
    /// graph is consumed. Returns `None` if the output was in no graph, so that there is nothing to
    /// differentiate.
    fn pull_back(vjp: Self::Vjp, cotangent: Self) -> Option<Gradients>;
}

impl<const D: usize> Value for Tensor<D> {
    fn device(&self) -> Device {
        Tensor::device(self)
    }

    fn samples(&self) -> usize {
        self.dims()[0]
    }

    fn part(self, samples: Range<usize>) -> Self {
        self.narrow(0, samples.start, samples.len())
    }

    fn select(self, indices: &[usize]) -> Self {
        let rows = rows(indices, self.dims()[0], &Tensor::device(&self));
        Tensor::select(self, 0, rows)
    }

    fn join(parts: Vec<Self>) -> Self {
        Self::cat(parts, 0)
    }

    fn into_data(self) -> TensorData {
        Tensor::into_data(self)
    }

    fn from_data(data: TensorData, device: &Device, dtype: DType) -> Self {
        Tensor::from_data(data, (device, dtype))
    }

    fn accumulate(self, other: Self) -> Self {
        self + other
    }

    fn to_device(self, device: &Device) -> Self {
        Tensor::to_device(self, device)
    }

    fn leaf(self) -> Self {
        self.inner().autodiff().require_grad()
    }

    fn constant(self) -> Self {
        self.inner().autodiff()
    }

    fn take_gradient(&self, gradients: &mut Gradients) -> Option<Self> {
        self.grad_remove(gradients)
    }
}

impl<const D: usize> Value for Tensor<D, Int> {
    fn device(&self) -> Device {
        Tensor::device(self)
    }

    fn samples(&self) -> usize {
        self.dims()[0]
    }

    fn part(self, samples: Range<usize>) -> Self {
        self.narrow(0, samples.start, samples.len())
    }

    fn select(self, indices: &[usize]) -> Self {
        let rows = rows(indices, self.dims()[0], &Tensor::device(&self));
        Tensor::select(self, 0, rows)
    }

    fn join(parts: Vec<Self>) -> Self {
        Self::cat(parts, 0)
    }

    fn into_data(self) -> TensorData {
        Tensor::into_data(self)
    }

    fn from_data(data: TensorData, device: &Device, dtype: DType) -> Self {
        Tensor::from_data(data, (device, dtype))
    }

    fn accumulate(self, other: Self) -> Self {
        self + other
    }

    fn to_device(self, device: &Device) -> Self {
        Tensor::to_device(self, device)
    }

    fn leaf(self) -> Self {
        self
    }

    fn constant(self) -> Self {
        self
    }

    fn take_gradient(&self, _gradients: &mut Gradients) -> Option<Self> {
        None
    }
}

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
            // Values that are not a number show in the loss.
            difference.is_nan() || difference <= TOLERANCE * TOLERANCE * square(self.clone())
        })
    }

    type Vjp = parareal_autodiff::Vjp<D>;

    fn vjp(self) -> Self::Vjp {
        Self::Vjp::new(self)
    }

    fn pull_back(vjp: Self::Vjp, cotangent: Self) -> Option<Gradients> {
        vjp.pull_back(cotangent)
    }
}

/// Returns the indices of samples as a tensor.
///
/// # Panics
/// If one of them is not below `samples`.
fn rows(indices: &[usize], samples: usize, device: &Device) -> Tensor<1, Int> {
    let wrong = indices.iter().find(|&&index| index >= samples);
    assert!(wrong.is_none(), "sample {wrong:?} of {samples}");
    let indices: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
    let count = indices.len();
    Tensor::from_data(TensorData::new(indices, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_selected_by_index_in_any_order() {
        let device = Device::flex();
        let floats = Tensor::<2>::from_data([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], &device);
        let found = Value::select(floats, &[2, 0, 2]).into_data();
        found.assert_eq(&TensorData::from([[4.0f32, 5.0], [0.0, 1.0], [4.0, 5.0]]), true);
        let integers = Tensor::<1, Int>::from_data([7, 8, 9], &device);
        let found: Vec<i64> = Value::select(integers, &[1, 0]).into_data().iter().collect();
        assert_eq!(found, [8, 7]);
    }

    #[test]
    #[should_panic(expected = "sample Some(3) of 3")]
    fn a_sample_that_is_not_there_is_not_selected() {
        let integers = Tensor::<1, Int>::from_data([7, 8, 9], &Device::flex());
        let _ = Value::select(integers, &[0, 3]);
    }
}
