use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

use super::cross_entropy::{check_smoothing, smoothed};
use super::{Loss, TargetError};

/// Largest difference from 1 of the sum of the probabilities of a sample.
const TOLERANCE: f64 = 0.01;

/// Cross entropy of class scores and class probabilities, averaged over the batch.
///
/// Output and target have the shape `[batch, classes]`. Row `i` of the target is a distribution over the classes, such as
/// the shares of the classes in a mixed image (mixup, cutmix) or the output of another network. The loss is PyTorch's
/// `F.cross_entropy(output, target, label_smoothing=ε)`: with label smoothing `ε`, the target is `1 - ε` times this
/// distribution plus `ε` divided evenly among all classes. For rows with a single 1, it is bitwise equal to
/// [`CrossEntropy`](super::CrossEntropy).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use parareal::exec::{Loss, SoftTargetCrossEntropy};
///
/// let device = Device::flex();
/// let output = Tensor::<2>::from_floats([[2.0, 2.0]], &device);
/// let target = Tensor::from_floats([[0.3, 0.7]], &device);
/// let loss = SoftTargetCrossEntropy::default().forward(output, target).into_scalar::<f32>();
/// assert!((loss - 2f32.ln()).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SoftTargetCrossEntropy {
    /// `ε`, from 0 (none) to below 1.
    pub label_smoothing: f64,
}

impl Loss<Tensor<2>> for SoftTargetCrossEntropy {
    type Target = Tensor<2>;

    fn check(&self, output: &Tensor<2>, target: &Tensor<2>) -> Result<(), TargetError> {
        check_smoothing(self.label_smoothing)?;
        let [expected, found] = [output, target].map(|tensor| tensor.dims());
        if expected != found {
            return Err(TargetError {
                expected: format!("class probabilities of shape {expected:?}"),
                found: format!("{found:?}"),
            });
        }
        let values: Vec<f64> = target.clone().into_data().iter::<f64>().collect();
        for (sample, row) in values.chunks_exact(expected[1].max(1)).enumerate() {
            if let Some(value) = row.iter().find(|value| !(0.0..=1.0 + TOLERANCE).contains(*value))
            {
                return Err(TargetError {
                    expected: "class probabilities in [0, 1]".into(),
                    found: format!("{value} at sample {sample}"),
                });
            }
            let sum: f64 = row.iter().sum();
            if (sum - 1.0).abs() > TOLERANCE {
                return Err(TargetError {
                    expected: "class probabilities that add up to 1".into(),
                    found: format!("a sum of {sum} at sample {sample}"),
                });
            }
        }
        Ok(())
    }

    fn forward(&self, output: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
        let target = target.cast(output.dtype());
        let likelihood = log_softmax(output, 1);
        let own = (likelihood.clone() * target).sum_dim(1).mean();
        smoothed(own, likelihood, self.label_smoothing)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, Int, TensorData};

    use super::super::CrossEntropy;
    use super::*;

    const SCORES: [[f64; 3]; 2] = [[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]];

    fn tensor<const B: usize>(values: [[f64; 3]; B], dtype: DType) -> Tensor<2> {
        let data = TensorData::new(values.concat(), [B, 3]);
        Tensor::from_data(data, (&Device::flex(), dtype))
    }

    fn loss_and_gradient<L: Loss<Tensor<2>>>(
        loss: &L,
        dtype: DType,
        target: L::Target,
    ) -> (f64, Vec<f64>) {
        use crate::net::Value;

        let output = tensor(SCORES, dtype).autodiff().require_grad();
        let target = target.to_device(&output.device());
        let value = loss.forward(output.clone(), target);
        let gradient = output.grad(&value.backward()).unwrap();
        let gradient = gradient.into_data().iter::<f64>().collect();
        (value.into_scalar::<f64>(), gradient)
    }

    /// Values of PyTorch 2.15 in float64:
    ///
    /// ```python
    /// output = torch.tensor([[1, 2, 0.5], [0, -1, 3]], dtype=torch.float64, requires_grad=True)
    /// target = torch.tensor([[0.7, 0, 0.3], [0.25, 0.5, 0.25]], dtype=torch.float64)
    /// loss = F.cross_entropy(output, target, label_smoothing=0.1)  # and 0
    /// print(loss.item(), torch.autograd.grad(loss, output)[0].tolist())
    /// ```
    #[test]
    fn losses_and_gradients_are_those_of_pytorch() {
        let target = [[0.7, 0.0, 0.3], [0.25, 0.5, 0.25]];
        let expected = [
            (
                0.0,
                2.2151263439326874,
                [
                    -0.23438805118892547,
                    0.3142658596058812,
                    -0.07987780841695576,
                    -0.10169368871101306,
                    -0.2414260872272398,
                    0.3431197759382529,
                ],
            ),
            (
                0.1,
                2.1784596772660203,
                [
                    -0.21605471785559216,
                    0.29759919293921455,
                    -0.08154447508362243,
                    -0.10586035537767974,
                    -0.23309275389390646,
                    0.3389531092715862,
                ],
            ),
        ];
        for (label_smoothing, expected, gradient) in expected {
            let loss = SoftTargetCrossEntropy { label_smoothing };
            let target = tensor(target, DType::F64);
            assert_eq!(loss.check(&tensor(SCORES, DType::F64), &target), Ok(()));
            let (found, found_gradient) = loss_and_gradient(&loss, DType::F64, target);
            assert!((found - expected).abs() < 1e-14, "{found}");
            for (found, expected) in found_gradient.iter().zip(gradient) {
                assert!((found - expected).abs() < 1e-14, "{found_gradient:?}");
            }
        }
    }

    #[test]
    fn mixed_targets_are_a_mean_of_two_losses() {
        let labels = |labels: [i64; 2]| {
            Tensor::<1, Int>::from_data(TensorData::new(labels.to_vec(), [2]), &Device::flex())
        };
        for label_smoothing in [0.0, 0.2] {
            let hard = CrossEntropy { label_smoothing };
            let (first, first_gradient) = loss_and_gradient(&hard, DType::F64, labels([0, 2]));
            let (second, second_gradient) = loss_and_gradient(&hard, DType::F64, labels([1, 0]));
            let target = tensor([[0.35, 0.65, 0.0], [0.65, 0.0, 0.35]], DType::F64);
            let soft = SoftTargetCrossEntropy { label_smoothing };
            let (found, gradient) = loss_and_gradient(&soft, DType::F64, target);
            assert!((found - (0.35 * first + 0.65 * second)).abs() < 1e-14);
            for (element, found) in gradient.iter().enumerate() {
                let expected = 0.35 * first_gradient[element] + 0.65 * second_gradient[element];
                assert!((found - expected).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn targets_with_one_class_each_are_labels_to_the_last_bit() {
        for dtype in [DType::F32, DType::F64] {
            for label_smoothing in [0.0, 0.1] {
                let labels = Tensor::<1, Int>::from_data([1, 0], &Device::flex());
                let hard = CrossEntropy { label_smoothing };
                let expected = loss_and_gradient(&hard, dtype, labels);
                let target = tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], DType::F32);
                let soft = SoftTargetCrossEntropy { label_smoothing };
                assert_eq!(loss_and_gradient(&soft, dtype, target), expected);
            }
        }
    }

    #[test]
    fn targets_that_are_no_distributions_are_refused() {
        let output = tensor(SCORES, DType::F64);
        let refused = |target: Tensor<2>| {
            SoftTargetCrossEntropy::default().check(&output, &target).unwrap_err().to_string()
        };
        let shape = "expected class probabilities of shape [2, 3], found [1, 3]";
        assert_eq!(refused(tensor([[1.0, 0.0, 0.0]], DType::F64)), shape);
        let negative = tensor([[1.0, 0.0, 0.0], [1.5, -0.5, 0.0]], DType::F64);
        let range = "expected class probabilities in [0, 1], found 1.5 at sample 1";
        assert_eq!(refused(negative), range);
        let sum = tensor([[0.5, 0.0, 0.0], [1.0, 0.0, 0.0]], DType::F64);
        let message =
            "expected class probabilities that add up to 1, found a sum of 0.5 at sample 0";
        assert_eq!(refused(sum), message);
        let not_a_number = tensor([[f64::NAN, 0.0, 1.0], [1.0, 0.0, 0.0]], DType::F64);
        assert!(refused(not_a_number).contains("found NaN at sample 0"));
        let loss = SoftTargetCrossEntropy { label_smoothing: 1.0 };
        assert!(loss.check(&output, &output).unwrap_err().expected.contains("label smoothing"));
    }
}
