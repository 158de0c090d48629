use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

use super::{Loss, TargetError};

/// Cross entropy of class scores, averaged over the batch.
///
/// The output has the shape `[batch, classes]`, and the target `[batch]` contains class numbers from 0. With
/// label smoothing `ε` (Szegedy et al., 2016; PyTorch's convention), the target distribution of an image is
/// `1 - ε` at its class plus `ε` divided evenly among all classes. Targets of several classes need
/// [`SoftTargetCrossEntropy`](super::SoftTargetCrossEntropy).
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossEntropy {
    /// `ε`, from 0 (none) to below 1.
    pub label_smoothing: f64,
}

impl Loss<Tensor<2>> for CrossEntropy {
    type Target = Tensor<1, Int>;

    fn check(&self, output: &Tensor<2>, target: &Self::Target) -> Result<(), TargetError> {
        check_smoothing(self.label_smoothing)?;
        let classes = output.dims()[1] as i64;
        let labels = target.clone().into_data();
        let wrong =
            labels.iter::<i64>().enumerate().find(|(_, label)| !(0..classes).contains(label));
        match wrong {
            Some((sample, label)) => Err(TargetError {
                expected: format!("class numbers from 0 to {}", classes - 1),
                found: format!("class {label} at sample {sample}"),
            }),
            None => Ok(()),
        }
    }

    fn forward(&self, output: Tensor<2>, target: Self::Target) -> Tensor<1> {
        let likelihood = log_softmax(output, 1);
        let own = likelihood.clone().gather(1, target.unsqueeze_dim(1)).mean();
        smoothed(own, likelihood, self.label_smoothing)
    }
}

/// Checks that a label smoothing is in [0, 1).
pub(super) fn check_smoothing(label_smoothing: f64) -> Result<(), TargetError> {
    match (0.0..1.0).contains(&label_smoothing) {
        true => Ok(()),
        false => Err(TargetError {
            expected: "a label smoothing in [0, 1)".into(),
            found: label_smoothing.to_string(),
        }),
    }
}

/// Returns the loss with label smoothing. `own` is the mean log-likelihood of the targets, and `likelihood` contains the
/// log-likelihoods of all classes.
pub(super) fn smoothed(own: Tensor<1>, likelihood: Tensor<2>, label_smoothing: f64) -> Tensor<1> {
    let loss = match label_smoothing > 0.0 {
        true => {
            own.mul_scalar(1.0 - label_smoothing) + likelihood.mean().mul_scalar(label_smoothing)
        }
        false => own,
    };
    loss.neg()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};

    use super::*;

    #[test]
    fn smoothing_mixes_in_all_classes_evenly() {
        let device = Device::flex();
        let scores = [[1.0f64, 2.0, 0.5], [0.0, -1.0, 3.0]];
        let data = TensorData::new(scores.concat(), [2, 3]);
        let output = Tensor::<2>::from_data(data, (&device, DType::F64));
        let target = Tensor::from_data(TensorData::new(vec![1i64, 0], [2]), &device);
        let likelihood = |image: usize, class: usize| {
            scores[image][class] - scores[image].iter().map(|score| score.exp()).sum::<f64>().ln()
        };
        for label_smoothing in [0.0, 0.1] {
            let image = |image: usize, own: usize| {
                let even: f64 = (0..3).map(|class| likelihood(image, class) / 3.0).sum();
                -((1.0 - label_smoothing) * likelihood(image, own) + label_smoothing * even)
            };
            let expected = f64::midpoint(image(0, 1), image(1, 0));
            let loss = CrossEntropy { label_smoothing }.forward(output.clone(), target.clone());
            assert!((loss.into_scalar::<f64>() - expected).abs() < 1e-12);
        }
    }
}
