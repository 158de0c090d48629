//! AdamW that can leave out biases and normalizations from weight decay.

use burn::optim::{AdamWConfig, AdamWState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use crate::sgd::decay_of_rank;

/// Adam with decoupled weight decay (Loshchilov, Hutter, arXiv 1711.05101), with PyTorch's conventions:
///
/// ```text
/// m ← beta1 · m + (1 - beta1) · gradient
/// v ← beta2 · v + (1 - beta2) · gradient²               m and v start from zero
/// parameter ← (1 - learning_rate · weight_decay) · parameter
///             - learning_rate · m / (1 - beta1ᵗ) / (√(v / (1 - beta2ᵗ)) + epsilon)
/// ```
///
/// A step uses the operations of Burn's `AdamW`.
///
/// ```
/// use burn::optim::ModuleOptimizer;
/// use parareal_kernels::AdamW;
///
/// let adamw = AdamW { weight_decay: 0.05, ..AdamW::default() };
/// let optimizer: ModuleOptimizer = adamw.into();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Decay of the mean of the gradients, in [0, 1).
    pub beta1: f64,
    /// Decay of the mean of the squared gradients, in [0, 1).
    pub beta2: f64,
    /// Constant that is added to the denominator.
    pub epsilon: f64,
    /// Weight decay per unit of the learning rate.
    pub weight_decay: f64,
    /// True if weight decay leaves out parameters of one dimension: biases, and scale and shift of a
    /// normalization.
    pub decay_weights_only: bool,
}

impl Default for AdamW {
    /// PyTorch's values, without weight decay.
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decay_weights_only: false,
        }
    }
}

impl AdamW {
    /// Returns Burn's optimizer for parameters of `rank` dimensions.
    fn for_rank(&self, rank: usize) -> burn::optim::AdamW {
        let weight_decay = decay_of_rank(self.weight_decay, self.decay_weights_only, rank);
        AdamWConfig::new()
            .with_beta_1(self.beta1 as f32)
            .with_beta_2(self.beta2 as f32)
            .with_epsilon(self.epsilon as f32)
            .with_weight_decay(weight_decay as f32)
            .build()
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        self.for_rank(D).step(learning_rate, parameter, gradient, state)
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        burn::optim::AdamW::to_device(state, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    #[test]
    fn three_steps_are_those_of_pytorch() {
        // torch.optim.AdamW([p], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.05) of PyTorch 2.15 in
        // float64, with p = (1, -2, 0.5) and these gradients.
        let gradients = [[0.5, -1.0, 0.25], [1.0, 1.0, -1.0], [-0.5, 0.0, 2.0]];
        let expected = [0.748157548, -1.880461787, 0.412239967];
        let adamw = AdamW { beta2: 0.99, weight_decay: 0.05, ..AdamW::default() };
        let device = Device::flex();
        let (mut parameter, mut state) =
            (Tensor::<1>::from_floats([1.0, -2.0, 0.5], &device), None);
        for gradient in gradients {
            let gradient = Tensor::from_floats(gradient, &device);
            (parameter, state) = adamw.step(0.1, parameter, gradient, state);
        }
        for (found, expected) in values(parameter).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
        }
    }

    #[test]
    fn weight_decay_can_leave_out_vectors() {
        let adamw = AdamW { weight_decay: 0.5, decay_weights_only: true, ..AdamW::default() };
        let ones = || Tensor::<1>::ones([4], &Device::flex());
        let (vector, _) = adamw.step(1.0, ones(), ones().zeros_like(), None);
        assert_eq!(values(vector), [1.0; 4]);
        let matrix = || ones().reshape([2, 2]);
        let (matrix, _) = adamw.step::<2>(1.0, matrix(), matrix().zeros_like(), None);
        assert_eq!(values(matrix), [0.5; 4]);
    }
}
