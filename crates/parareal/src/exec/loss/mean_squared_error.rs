use burn::tensor::Tensor;

use super::{Loss, TargetError};

/// Mean squared error: the mean over all elements of `(output - target)²`.
///
/// Output and target have the same shape, `[batch, ..]`, of any rank.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use parareal::exec::{Loss, MeanSquaredError};
///
/// let device = Device::flex();
/// let output = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device);
/// let target = Tensor::from_floats([[1.0, 0.0], [3.0, 2.0]], &device);
/// assert_eq!(MeanSquaredError.forward(output, target).into_scalar::<f32>(), 2.0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MeanSquaredError;

impl<const D: usize> Loss<Tensor<D>> for MeanSquaredError {
    type Target = Tensor<D>;

    fn check(&self, output: &Tensor<D>, target: &Tensor<D>) -> Result<(), TargetError> {
        let [expected, found] = [output, target].map(|tensor| tensor.dims());
        match expected == found {
            true => Ok(()),
            false => Err(TargetError {
                expected: format!("targets of shape {expected:?}"),
                found: format!("{found:?}"),
            }),
        }
    }

    fn forward(&self, output: Tensor<D>, target: Tensor<D>) -> Tensor<1> {
        let difference = output - target;
        (difference.clone() * difference).mean()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn targets_of_another_shape_are_refused() {
        let tensor = |shape: [usize; 3]| Tensor::<3>::zeros(shape, &Device::flex());
        let output = tensor([2, 3, 4]);
        assert_eq!(MeanSquaredError.check(&output, &tensor([2, 3, 4])), Ok(()));
        // Broadcasting would accept these shapes without an error.
        let error = MeanSquaredError.check(&output, &tensor([2, 1, 4])).unwrap_err();
        let message = "expected targets of shape [2, 3, 4], found [2, 1, 4]";
        assert_eq!(error.to_string(), message);
    }
}
