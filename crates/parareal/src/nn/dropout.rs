use burn::config::Config;
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param};
use burn::tensor::{Tensor, TensorData};
use rand_chacha::rand_core::Rng;

use crate::random;

/// Configuration of a [`Dropout`] layer.
#[derive(Config, Debug)]
pub struct DropoutConfig {
    /// The probability that an element becomes zero, in `[0, 1)`.
    pub prob: f64,
}

impl DropoutConfig {
    /// Creates the layer.
    ///
    /// # Panics
    /// If the probability is not finite or not in `[0, 1)`.
    pub fn init(&self) -> Dropout {
        assert!(
            self.prob.is_finite() && (0.0..1.0).contains(&self.prob),
            "the dropout probability must be in [0, 1), got {}",
            self.prob
        );
        Dropout { prob: self.prob, training: Param::from_bool(true) }
    }
}

/// Dropout with masks that depend on the seed, the step, the replica and the position in the network.
///
/// Sets each element to zero with probability `prob` during training, and multiplies the other elements by
/// `1 / (1 - prob)` ([Srivastava et al., 2014](https://jmlr.org/papers/v15/srivastava14a.html)). The
/// interface is the same as that of `burn::nn::Dropout`.
///
/// In an executor, a mask is a function of
///
/// - the seed of the [`Init`](crate::net::Init) that the network was built with,
/// - the number of the training step ([`Executor::step`](crate::exec::Executor::step)),
/// - the replica,
/// - the index of the unit in the whole network, or the preprocessing, postprocessing or interface module,
///   and
/// - the number of random layers that this unit or module has already applied in the same pass.
///
/// So all executors drop the same elements. A unit that is recomputed
/// ([`ExecutorBuilder::recompute`](crate::exec::ExecutorBuilder::recompute)) drops the same elements again,
/// and a resumed run drops the same elements as an uninterrupted one. A unit must apply the layer on the
/// thread that calls the unit.
///
/// Outside an executor, on a device with automatic differentiation, masks depend on a counter of the current
/// thread.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use parareal::nn::DropoutConfig;
///
/// let dropout = DropoutConfig::new(0.5).init();
/// let input = Tensor::<2>::ones([4, 8], &Device::flex());
/// // Nothing is dropped on a device without automatic differentiation.
/// assert_eq!(dropout.forward(input.clone()).to_data(), input.to_data());
/// let output = dropout.forward(input.autodiff()).into_data();
/// assert!(output.iter::<f32>().all(|value| value == 0.0 || value == 2.0));
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Dropout {
    // This must be the first field: it distinguishes the `Debug` output from that of Burn's layer, which
    // networks reject.
    /// True if the layer is in training. [`Module::freeze`] sets it to false.
    pub training: Param<Flag>,
    /// The probability that an element becomes zero.
    pub prob: f64,
}

impl Dropout {
    /// Applies the layer. Returns the input in evaluation mode, if the layer is frozen, or if `prob` is 0.
    ///
    /// # Shapes
    /// The input has any shape. The output has the same shape.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        if !self.training.is_enabled() || !input.device().is_autodiff() || self.prob == 0.0 {
            return input;
        }
        let keep = 1.0 - self.prob;
        // An element is kept if a random 32-bit number is below this threshold.
        let threshold = (keep * 2.0f64.powi(32)).round() as u64;
        let shape = input.shape();
        let mut rng = random::rng();
        let draw = |_| f32::from(u8::from(u64::from(rng.next_u32()) < threshold));
        let mask: Vec<f32> = (0..shape.num_elements()).map(draw).collect();
        let target = (&input.device(), input.dtype());
        let mask = Tensor::<D>::from_data(TensorData::new(mask, shape), target);
        input * mask.mul_scalar(1.0 / keep)
    }
}

impl ModuleDisplay for Dropout {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let content = content.add("prob", &self.prob);
        match self.training.is_enabled() {
            true => content.optional(),
            false => content.add("training", &self.training).optional(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;

    fn ones(dtype: DType) -> Tensor<3> {
        Tensor::ones([20, 50, 100], (&Device::flex(), dtype)).autodiff()
    }

    fn values(tensor: Tensor<3>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    #[test]
    fn elements_are_kept_at_the_right_rate_and_scaled() {
        for prob in [0.1, 0.5, 0.9] {
            let dropout = DropoutConfig::new(prob).init();
            for (dtype, precision) in [(DType::F64, 1e-15), (DType::F32, 1e-6), (DType::F16, 1e-2)]
            {
                let values = values(dropout.forward(ones(dtype)));
                let kept: Vec<_> = values.iter().filter(|value| **value != 0.0).collect();
                let scale = 1.0 / (1.0 - prob);
                assert!(kept.iter().all(|value| (**value / scale - 1.0).abs() < precision));
                // Six standard deviations.
                let deviation = (prob * (1.0 - prob) / values.len() as f64).sqrt();
                let rate = kept.len() as f64 / values.len() as f64;
                assert!((rate - (1.0 - prob)).abs() < 6.0 * deviation, "{prob}: {rate}");
            }
        }
    }

    #[test]
    fn gradients_pass_where_elements_are_kept() {
        let input = ones(DType::F32).require_grad();
        let output = DropoutConfig::new(0.25).init().forward(input.clone());
        let gradients = output.clone().sum().backward();
        assert_eq!(values(input.grad(&gradients).unwrap()), values(output));
    }

    #[test]
    fn two_layers_and_two_calls_drop_different_elements() {
        let [first, second] = [0, 1].map(|_| DropoutConfig::new(0.5).init());
        let outputs =
            [&first, &first, &second].map(|layer| values(layer.forward(ones(DType::F32))));
        assert!(outputs[0] != outputs[1] && outputs[1] != outputs[2] && outputs[0] != outputs[2]);
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_dropped() {
        let dropout = DropoutConfig::new(0.5).init();
        std::thread::spawn(move || {
            let input = ones(DType::F32);
            let frozen = dropout.clone().freeze().forward(input.clone());
            let evaluated = dropout.forward(input.clone().inner());
            let without = DropoutConfig::new(0.0).init().forward(input.clone());
            let trained = dropout.clone().valid().train().forward(input.clone());
            let expected = values(input);
            for output in [frozen, evaluated, without] {
                assert_eq!(values(output), expected);
            }
            // The first mask of the thread.
            let first = std::thread::spawn(move || values(dropout.forward(ones(DType::F32))));
            assert_eq!(values(trained), first.join().unwrap());
        })
        .join()
        .unwrap();
    }

    #[test]
    #[should_panic(expected = "must be in [0, 1), got 1")]
    fn a_probability_of_one_is_refused() {
        DropoutConfig::new(1.0).init();
    }

    #[test]
    fn it_is_displayed_as_that_of_burn() {
        let [ours, theirs] = [
            DropoutConfig::new(0.5).init().to_string(),
            burn::nn::DropoutConfig::new(0.5).init().to_string(),
        ];
        assert_eq!(ours, theirs);
        let [ours, theirs] = [
            DropoutConfig::new(0.5).init().freeze().to_string(),
            burn::nn::DropoutConfig::new(0.5).init().freeze().to_string(),
        ];
        assert_eq!(ours, theirs);
    }
}
