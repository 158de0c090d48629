//! Sequences of residual units, of whose states every second one is computed again in the backward pass.

use burn::tensor::{DType, Device, Tensor, TensorData};
use parareal_autodiff::{WeightGradients, defer_weight_gradients};
use parareal_kernels::{ConvOptions, NormStatistics, Normalization, PreactivationConv, residual};
use parareal_testing::relative_difference;

use crate::common::{EPSILON, Source};

const UNITS: usize = 4;
/// Few enough that outputs are computed again.
const NARROW: usize = 12;
const WIDE: usize = 40;

/// The output, and the gradients of the input and of all parameters.
type Found = Vec<TensorData>;

/// How the units are run.
#[derive(Clone, Copy, Default)]
struct Mode {
    /// Another operation is between two units, so all states are kept.
    separated: bool,
    deferred: bool,
}

fn run(dtype: DType, Mode { separated, deferred }: Mode) -> Found {
    let device = Device::flex().autodiff();
    let mut source = Source::new();
    let leaf = |data: TensorData| Tensor::<1>::from_data(data, (&device, dtype)).require_grad();
    let shape = [3, 8, 8, WIDE];
    let input = Tensor::<4>::from_data(source.normal(shape, 1.5, 2.0), (&device, dtype));
    let input = input.require_grad();
    let cotangent = Tensor::<4>::from_data(source.normal(shape, 0.0, 1.0), (&device, dtype));
    let (mut weights, mut others) = (Vec::new(), Vec::new());
    let mut state = input.clone();
    for _ in 0..UNITS {
        let layers = [(WIDE, NARROW, 1), (NARROW, NARROW, 3), (NARROW, WIDE, 1)];
        let layers = layers.map(|(before, after, kernel)| {
            let weight = source.normal([after, before, kernel, kernel], 0.0, 0.3);
            let weight = Tensor::<4>::from_data(weight, (&device, dtype)).require_grad();
            let scale = leaf(source.normal([before], 1.0, 0.3));
            let shift = leaf(source.normal([before], 0.1, 0.3));
            weights.push(weight.clone());
            others.extend([scale.clone(), shift.clone()]);
            let statistics = NormStatistics::Batch(None);
            let normalization = Some(Normalization { scale, shift, statistics, epsilon: EPSILON });
            let options = ConvOptions { stride: 1, padding: kernel / 2 };
            PreactivationConv { normalization, weight, options }
        });
        if separated {
            state = state * 1.0;
        }
        (state, _) = residual(state, layers.into());
    }
    let output = state.clone().into_data();
    let backward = || (state * cotangent).sum().backward();
    let (gradients, mut later) = match deferred {
        false => (backward(), WeightGradients::default()),
        true => {
            let (gradients, later) = defer_weight_gradients(backward);
            assert!(!later.is_empty());
            (gradients, later.compute())
        }
    };
    let weights = weights.iter().map(|weight| {
        let gradient = later.take(weight).or_else(|| weight.grad(&gradients));
        gradient.unwrap().into_data()
    });
    let others = others.iter().map(|other| other.grad(&gradients).unwrap().into_data());
    let input = input.grad(&gradients).unwrap().into_data();
    [output, input].into_iter().chain(weights).chain(others).collect()
}

#[test]
fn gradients_are_those_of_kept_states_to_the_bit() {
    let kept = run(DType::F32, Mode { separated: true, deferred: false });
    for deferred in [false, true] {
        let found = run(DType::F32, Mode { separated: false, deferred });
        assert_eq!(found.len(), kept.len());
        for (found, kept) in found.iter().zip(&kept) {
            found.assert_eq(kept, true);
        }
    }
}

#[test]
fn gradients_agree_with_composed_operations() {
    let expected = run(DType::F64, Mode::default());
    let found = run(DType::F32, Mode::default());
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference = relative_difference(found, expected);
        assert!(difference <= 1e-5, "tensor {index} differs by {difference:.1e}");
    }
}
