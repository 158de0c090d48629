//! Sequences of residual units, in which every second state is computed again in the backward pass.

use burn::tensor::{DType, Device, Tensor, TensorData};
use parareal_autodiff::{WeightGradients, defer_weight_gradients};
use parareal_kernels::{
    ChannelStatistics, ConvOptions, NormStatistics, Normalization, PreactivationConv, residual,
};
use parareal_testing::relative_difference;
use rayon::ThreadPoolBuilder;

use crate::common::{EPSILON, Source};

const UNITS: usize = 4;
/// Channels within a unit, few enough that outputs are computed again, and of the states.
const CHANNELS: [usize; 2] = [12, 40];
/// The same, in whole tiles of the products of bfloat16 numbers.
const WHOLE_TILES: [usize; 2] = [16, 48];

/// Settings of a sequence.
#[derive(Clone, Copy)]
struct Sequence {
    /// The type of states and parameters. With states in bfloat16, parameters are 32-bit floats.
    dtype: DType,
    channels: [usize; 2],
    /// True if another operation is between two units, so that all states are kept.
    separated: bool,
    deferred: bool,
    batch_statistics: bool,
    /// Number of units, from the first one, whose parameters require no gradient.
    frozen: usize,
    /// True if each state is also used outside the units.
    used_twice: bool,
}

impl Default for Sequence {
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            channels: CHANNELS,
            separated: false,
            deferred: false,
            batch_statistics: true,
            frozen: 0,
            used_twice: false,
        }
    }
}

/// The parameters of a unit: weight, scale and shift of each convolution.
type Parameters = Vec<(Tensor<4>, Tensor<1>, Tensor<1>)>;

/// A sequence that was evaluated and is not differentiated yet.
struct Forward {
    input: Tensor<4>,
    parameters: Vec<Parameters>,
    output: Tensor<4>,
    loss: Tensor<1>,
}

impl Sequence {
    /// Returns the output, the gradient of the input, and those of all parameters, `None` for frozen ones.
    fn run(self) -> Vec<Option<TensorData>> {
        self.backward(self.forward())
    }

    fn forward(self) -> Forward {
        let device = Device::flex().autodiff();
        let mut source = Source::new();
        let tensor = |data| Tensor::<4>::from_data(data, (&device, self.dtype));
        let shape = [3, 8, 8, self.channels[1]];
        let input = tensor(source.normal(shape, 1.5, 2.0)).require_grad();
        let cotangent = tensor(source.normal(shape, 0.0, 1.0));
        let mut parameters = Vec::new();
        let (mut state, mut sum) = (input.clone(), Tensor::zeros([1], (&device, self.dtype)));
        for unit in 0..UNITS {
            let layers = self.unit(&mut source, unit >= self.frozen);
            let own = layers.iter().map(|layer| {
                let Normalization { scale, shift, .. } = layer.normalization.clone().unwrap();
                (layer.weight.clone(), scale, shift)
            });
            parameters.push(own.collect());
            if self.used_twice {
                sum = sum + (state.clone() * cotangent.clone()).sum();
            }
            if self.separated {
                state = state * 1.0;
            }
            (state, _) = residual(state, layers);
        }
        let loss = sum + (state.clone() * cotangent).sum();
        Forward { input, parameters, output: state, loss }
    }

    fn unit(self, source: &mut Source, tracked: bool) -> Vec<PreactivationConv> {
        let device = Device::flex().autodiff();
        let Self { dtype, batch_statistics, channels: [narrow, wide], .. } = self;
        let dtype = if dtype == DType::BF16 { DType::F32 } else { dtype };
        let layers = [(wide, narrow, 1), (narrow, narrow, 3), (narrow, wide, 1)];
        let layer = |(before, after, kernel): (usize, usize, usize)| {
            let mut vector = |mean| {
                let data = source.normal([before], mean, 0.3);
                Tensor::<1>::from_data(data, (&device, dtype))
            };
            let [scale, shift] = [1.0, 0.1].map(|mean| vector(mean).set_require_grad(tracked));
            let statistics = match batch_statistics {
                true => NormStatistics::Batch(None),
                false => {
                    let [mean, variance] = [1.0, 2.0].map(|mean| vector(mean).inner());
                    NormStatistics::Running(ChannelStatistics {
                        mean,
                        variance,
                        count: 0,
                        running: None,
                    })
                }
            };
            let weight = source.normal([after, before, kernel, kernel], 0.0, 0.3);
            let weight = Tensor::from_data(weight, (&device, dtype)).set_require_grad(tracked);
            let normalization =
                Some(Normalization { scale, shift, statistics, epsilon: EPSILON, running: None });
            let options = ConvOptions { stride: 1, padding: kernel / 2 };
            PreactivationConv { normalization, weight, options }
        };
        layers.map(layer).into()
    }

    fn backward(self, forward: Forward) -> Vec<Option<TensorData>> {
        let Forward { input, parameters, output, loss } = forward;
        let (gradients, mut later) = match self.deferred {
            false => (loss.backward(), WeightGradients::default()),
            true => {
                let (gradients, later) = defer_weight_gradients(|| loss.backward());
                assert!(!later.is_empty());
                (gradients, later.compute())
            }
        };
        let mut found =
            vec![Some(output.into_data()), input.grad(&gradients).map(Tensor::into_data)];
        for (weight, scale, shift) in parameters.into_iter().flatten() {
            let gradient = later.take(&weight).or_else(|| weight.grad(&gradients));
            found.push(gradient.map(Tensor::into_data));
            found.push(scale.grad(&gradients).map(Tensor::into_data));
            found.push(shift.grad(&gradients).map(Tensor::into_data));
        }
        found
    }
}

#[track_caller]
fn assert_same_bits(found: &[Option<TensorData>], expected: &[Option<TensorData>]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        match (found, expected) {
            (Some(found), Some(expected)) => found.assert_eq(expected, true),
            _ => assert_eq!(found, expected),
        }
    }
}

#[test]
fn gradients_are_those_of_kept_states_to_the_bit() {
    for (dtype, channels) in
        [(DType::F32, CHANNELS), (DType::BF16, CHANNELS), (DType::BF16, WHOLE_TILES)]
    {
        for batch_statistics in [true, false] {
            for frozen in [0, 1, 2, UNITS] {
                for used_twice in [false, true] {
                    let sequence = Sequence {
                        dtype,
                        channels,
                        batch_statistics,
                        frozen,
                        used_twice,
                        ..Sequence::default()
                    };
                    let kept = Sequence { separated: true, ..sequence }.run();
                    assert_same_bits(&sequence.run(), &kept);
                    if frozen < UNITS {
                        let deferred = Sequence { deferred: true, ..sequence };
                        assert_same_bits(&deferred.run(), &kept);
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_agree_with_composed_operations() {
    let expected = Sequence { dtype: DType::F64, ..Sequence::default() }.run();
    let found = Sequence::default().run();
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference = relative_difference(found.as_ref().unwrap(), expected.as_ref().unwrap());
        assert!(difference <= 1e-5, "tensor {index} differs by {difference:.1e}");
    }
}

#[test]
fn graphs_of_one_thread_do_not_disturb_each_other() {
    let sequence = Sequence::default();
    let expected = sequence.run();
    let (first, second) = (sequence.forward(), sequence.forward());
    assert_same_bits(&sequence.backward(first), &expected);
    assert_same_bits(&sequence.backward(second), &expected);
}

#[test]
fn the_backward_pass_may_run_on_other_threads() {
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, another) = (pool(1), pool(1));
    let sequence = Sequence::default();
    let expected = one.install(|| sequence.run());
    let forward = one.install(|| sequence.forward());
    assert_same_bits(&another.install(|| sequence.backward(forward)), &expected);
    // Sums over pixels depend on the number of threads.
    let forward = one.install(|| sequence.forward());
    let found = pool(2).install(|| sequence.backward(forward));
    for (found, expected) in found.iter().zip(&expected) {
        let difference = relative_difference(found.as_ref().unwrap(), expected.as_ref().unwrap());
        assert!(difference <= 1e-5, "{difference:.1e}");
    }
}
