//! Residual units as one operation, compared with Burn's own operations in double precision.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use parareal_autodiff::Vjp;
use parareal_kernels::{
    ChannelStatistics, ConvOptions, NormStatistics, Normalization, PreactivationConv, residual,
};
use parareal_testing::relative_difference;

use crate::common::{EPSILON, Precision, Source, rounded};

/// A residual unit of two to four convolutions that keeps its shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit<'a> {
    /// Numbers of channels outside the unit and between its convolutions.
    pub(crate) channels: [usize; 2],
    pub(crate) kernels: &'a [usize],
    pub(crate) batch_statistics: bool,
}

/// The results of a unit.
pub(crate) struct Found {
    pub(crate) output: TensorData,
    /// The gradients of the input, then of weight, scale and shift of each layer.
    pub(crate) gradients: Vec<Option<TensorData>>,
    pub(crate) statistics: Vec<TensorData>,
}

impl Unit<'_> {
    fn run(&self, precision: Precision, tracked: impl Fn(usize) -> bool) -> Found {
        self.run_on(&Device::flex(), precision, tracked)
    }

    /// Runs the unit. `tracked` returns true for the numbers of the operands that get a gradient.
    pub(crate) fn run_on(
        &self,
        plain: &Device,
        precision: Precision,
        tracked: impl Fn(usize) -> bool,
    ) -> Found {
        let dtype = precision.parameters();
        let Self { channels: [from, narrow], kernels, batch_statistics } = *self;
        let device = plain.clone().autodiff();
        let mut source = Source::new();
        fn leaf<const D: usize>(
            data: TensorData,
            device: &Device,
            dtype: DType,
            tracked: bool,
        ) -> Tensor<D> {
            Tensor::from_data(data, (device, dtype)).set_require_grad(tracked)
        }
        let input = rounded(source.normal([3, 8, 8, from], 1.5, 2.0));
        let cotangent = rounded(source.normal([3, 8, 8, from], 0.0, 1.0));
        let mut leaves = Vec::new();
        let mut convs = Vec::new();
        for (index, &kernel) in kernels.iter().enumerate() {
            let before = if index == 0 { from } else { narrow };
            let after = if index + 1 == kernels.len() { from } else { narrow };
            let wanted = [1, 2, 3].map(|operand| tracked(3 * index + operand));
            let weight = source.normal([after, before, kernel, kernel], 0.0, 0.3);
            let weight: Tensor<4> = leaf(weight, &device, dtype, wanted[0]);
            let scale = source.normal([before], 1.0, 0.3);
            let scale: Tensor<1> = leaf(scale, &device, dtype, wanted[1]);
            let shift = source.normal([before], 0.1, 0.3);
            let shift: Tensor<1> = leaf(shift, &device, dtype, wanted[2]);
            let statistics = match batch_statistics {
                true => NormStatistics::Batch(None),
                false => {
                    let [mean, variance] = [1.0, 1.5].map(|mean| {
                        let data = source.normal([before], mean, 0.1);
                        Tensor::from_data(data, (plain, dtype))
                    });
                    NormStatistics::Running(ChannelStatistics {
                        mean,
                        variance,
                        count: 0,
                        running: None,
                    })
                }
            };
            leaves.push((weight.clone(), scale.clone(), shift.clone()));
            let normalization =
                Some(Normalization { scale, shift, statistics, epsilon: EPSILON, running: None });
            let options = ConvOptions { stride: 1, padding: kernel / 2 };
            convs.push(PreactivationConv { normalization, weight, options });
        }
        let input: Tensor<4> = leaf(input, &device, precision.states(), tracked(0));
        // The unit is between other operations, as in a network, so the gradient of its output may
        // be changed in place.
        let (output, statistics) = residual(input.clone() * 1.0, convs);
        let cotangent = Tensor::<4>::from_data(cotangent, plain);
        let cotangent = cotangent.cast(FloatDType::from(precision.states()));
        let all = Vjp::new(output.clone() * 1.0).pull_back(cotangent).unwrap();
        let mut gradients = vec![input.grad(&all).map(Tensor::into_data)];
        for (weight, scale, shift) in leaves {
            gradients.push(weight.grad(&all).map(Tensor::into_data));
            gradients.push(scale.grad(&all).map(Tensor::into_data));
            gradients.push(shift.grad(&all).map(Tensor::into_data));
        }
        let statistics = statistics.into_iter();
        let statistics = statistics.flat_map(|found| [found.mean, found.variance]);
        let statistics = statistics.map(Tensor::into_data).collect();
        Found { output: output.into_data(), gradients, statistics }
    }
}

#[test]
fn fused_and_composed_agree() {
    for channels in [[64, 16], [16, 64], [5, 3], [84, 21], [128, 33], [20, 20]] {
        for kernels in [&[1, 3, 1][..], &[3, 3], &[1, 1], &[3, 1, 3], &[1, 3, 3, 1]] {
            for batch_statistics in [true, false] {
                Unit { channels, kernels, batch_statistics }.check_on(&Device::flex());
            }
        }
    }
}

impl Unit<'_> {
    /// Compares the unit on a device with Burn's own operations on the CPU in double precision.
    pub(crate) fn check_on(&self, device: &Device) {
        let expected = self.run(Precision::Double, |_| true);
        let found = self.run_on(device, Precision::Single, |_| true);
        let check = |found: &TensorData, expected: &TensorData, what: &str| {
            let difference = relative_difference(found, expected);
            assert!(difference <= 1e-5, "{what} differs by {difference:.1e} in {self:?}");
        };
        check(&found.output, &expected.output, "output");
        for (found, expected) in found.statistics.iter().zip(&expected.statistics) {
            check(found, expected, "a statistic");
        }
        let gradients = found.gradients.iter().zip(&expected.gradients).enumerate();
        for (operand, (found, expected)) in gradients {
            let name = format!("the gradient of operand {operand}");
            check(found.as_ref().unwrap(), expected.as_ref().unwrap(), &name);
        }
    }
}

impl Unit<'_> {
    /// Checks the output, which is rounded as often as there are states.
    pub(crate) fn check_bfloat16_output(&self, found: &Found, expected: &Found) {
        let tolerance = Precision::Bfloat16.tolerance(2 * self.kernels.len() as u8);
        let difference = relative_difference(&found.output, &expected.output);
        assert!(difference <= tolerance, "output differs by {difference:.1e} in {self:?}");
    }

    pub(crate) fn check_bfloat16_gradients(&self, found: &Found, expected: &Found, tolerance: f64) {
        let gradients = found.gradients.iter().zip(&expected.gradients).enumerate();
        for (operand, (found, expected)) in gradients {
            let (found, expected) = (found.as_ref().unwrap(), expected.as_ref().unwrap());
            let difference = relative_difference(found, expected);
            assert!(
                difference <= tolerance,
                "the gradient of operand {operand} differs by {difference:.1e} in {self:?}"
            );
        }
    }
}

#[test]
fn each_gradient_can_be_computed_alone() {
    let unit = Unit { channels: [20, 12], kernels: &[1, 3, 1], batch_statistics: true };
    let all = unit.run(Precision::Single, |_| true).gradients;
    for wanted in 0..all.len() {
        let alone = unit.run(Precision::Single, |operand| operand == wanted).gradients;
        for (operand, gradient) in alone.iter().enumerate() {
            assert_eq!(gradient.is_some(), operand == wanted);
        }
        let (alone, all) = (alone[wanted].as_ref().unwrap(), all[wanted].as_ref().unwrap());
        alone.assert_eq(all, true);
    }
}

#[test]
fn units_in_bfloat16_agree_with_double_precision() {
    for channels in [[64, 16], [5, 3], [84, 21]] {
        for kernels in [&[1, 3, 1][..], &[3, 3], &[1, 1], &[1, 3, 3, 1]] {
            for batch_statistics in [true, false] {
                let unit = Unit { channels, kernels, batch_statistics };
                let expected = unit.run(Precision::Double, |_| true);
                let found = unit.run(Precision::Bfloat16, |_| true);
                unit.check_bfloat16_output(&found, &expected);
                // Gradients differ where a state is so close to a kink of ReLU that rounding moves it to the other side:
                // about one in a few hundred.
                unit.check_bfloat16_gradients(&found, &expected, 0.2);
            }
        }
    }
}
