//! Depthwise convolutions compared with Burn's own, and deferred weight gradients with immediate
//! ones.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use parareal_autodiff::{Vjp, defer_weight_gradients};
use parareal_testing::relative_difference;

use crate::common::{EPSILON, Precision, Source, rounded};
use parareal_kernels::{
    ConvOptions, NormStatistics, Normalization, PreactivationConv, conv2d, depthwise_conv2d,
    residual,
};

fn leaf<const D: usize>(data: &TensorData, dtype: DType) -> Tensor<D> {
    Tensor::from_data(data.clone(), (&Device::flex().autodiff(), dtype)).require_grad()
}

#[test]
fn depthwise_convolutions_agree_with_burn() {
    let cases = [
        ([3, 8, 8, 64], 1, true),
        ([2, 7, 5, 16], 1, false),
        ([2, 8, 8, 24], 2, false),
        ([2, 7, 9, 5], 2, true),
        ([1, 1, 1, 3], 1, false),
        ([1, 2, 1, 33], 2, true),
        // All paths over channels with sixteen lanes; pixels that no output depends on.
        ([2, 9, 7, 83], 4, true),
        ([1, 5, 5, 83], 1, true),
        // Long sums.
        ([16, 32, 32, 19], 1, false),
    ];
    for (shape, stride, with_residual) in cases {
        let [batch, height, width, channels] = shape;
        let mut source = Source::new();
        let input = rounded(source.normal(shape, 0.5, 2.0));
        let weight = source.normal([channels, 1, 3, 3], 0.0, 0.3);
        let after = [batch, height.div_ceil(stride), width.div_ceil(stride), channels];
        let [skip, along] = [0, 1].map(|_| rounded(source.normal(after, 0.0, 1.0)));
        let run = |precision: Precision| {
            let states = precision.states();
            let (input, weight) = (leaf(&input, states), leaf(&weight, precision.parameters()));
            let skip = leaf(&skip, states);
            let options = ConvOptions { stride, padding: 1 };
            let residual = with_residual.then(|| skip.clone());
            let output = depthwise_conv2d(input.clone(), weight.clone(), options, residual);
            let along = Tensor::<4>::from_data(along.clone(), &Device::flex());
            let along = along.cast(FloatDType::from(states));
            let gradients = Vjp::new(output.clone()).pull_back(along).unwrap();
            let mut found = vec![output.into_data()];
            found.extend(
                [input, weight].map(|leaf: Tensor<4>| leaf.grad(&gradients).unwrap().into_data()),
            );
            found.extend(skip.grad(&gradients).map(Tensor::into_data));
            found
        };
        let expected = run(Precision::Double);
        assert_eq!(expected.len(), 3 + usize::from(with_residual));
        // Output and input gradient are rounded once; the gradient of the residual is the cotangent.
        let roundings = [1, 1, 0, 0];
        for precision in [Precision::Single, Precision::Bfloat16] {
            let found = run(precision);
            assert_eq!(found.len(), expected.len());
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let difference = relative_difference(found, expected);
                assert!(
                    difference <= precision.tolerance(roundings[index]),
                    "{shape:?}, stride {stride}, {precision:?}, {index}: {difference:.1e}"
                );
            }
        }
    }
}

/// Returns the gradients of a residual unit, a convolution and depthwise convolutions in a row,
/// with deferred or immediate weight gradients.
fn gradients(defer: bool) -> Vec<TensorData> {
    let mut source = Source::new();
    let input: Tensor<4> = leaf(&source.normal([3, 8, 8, 16], 1.0, 2.0), DType::F32);
    let along = source.normal([3, 4, 4, 16], 0.0, 1.0);
    let mut weights = Vec::new();
    let mut weight = |shape: [usize; 4]| {
        let weight: Tensor<4> = leaf(&source.normal(shape, 0.0, 0.3), DType::F32);
        weights.push(weight.clone());
        weight
    };
    let options = |stride, padding| ConvOptions { stride, padding };
    let kernels = [weight([8, 16, 1, 1]), weight([8, 8, 3, 3]), weight([16, 8, 1, 1])];
    let (strided, own) = (weight([16, 16, 3, 3]), weight([16, 1, 3, 3]));
    let scales: Vec<Tensor<1>> = [16, 8, 8]
        .iter()
        .map(|&channels| leaf(&TensorData::ones::<f32, _>([channels]), DType::F32))
        .collect();
    let convs = kernels.into_iter().zip(&scales).map(|(weight, scale)| PreactivationConv {
        normalization: Some(Normalization {
            scale: scale.clone(),
            shift: scale.clone().inner().autodiff().mul_scalar(0.1),
            statistics: NormStatistics::Batch(None),
            epsilon: EPSILON,
            running: None,
        }),
        options: options(1, weight.dims()[2] / 2),
        weight,
    });
    let (state, _) = residual(input.clone(), convs.collect());
    let state = conv2d(state, strided, options(2, 1));
    // The same kernel is used twice, so that its gradient is a sum. A third kernel is not a leaf.
    let state = depthwise_conv2d(state.clone(), own.clone(), options(1, 1), Some(state));
    let state = depthwise_conv2d(state, own.clone(), options(1, 1), None);
    let state = depthwise_conv2d(state, own.mul_scalar(2.0), options(1, 1), None);
    let vjp = Vjp::new(state);
    let along = Tensor::from_data(along, &Device::flex());
    let (mut found, deferred) = match defer {
        true => defer_weight_gradients(|| vjp.pull_back(along).unwrap()),
        false => (vjp.pull_back(along).unwrap(), Default::default()),
    };
    assert_eq!(deferred.is_empty(), !defer);
    let mut all = vec![input.grad(&found).unwrap().into_data()];
    all.extend(scales.iter().map(|scale| scale.grad(&found).unwrap().into_data()));
    let mut later = deferred.compute();
    for (index, weight) in weights.iter().enumerate() {
        let [now, later] = [weight.grad_remove(&mut found), later.take(weight)];
        assert_eq!(later.is_some(), defer, "weight {index}");
        // The contribution of the third kernel is not deferred, because that kernel is not a leaf.
        assert_eq!(now.is_some(), !defer || index == 4, "weight {index}");
        let sum = match (now, later) {
            (Some(now), Some(later)) => now + later,
            (now, later) => now.or(later).unwrap(),
        };
        all.push(sum.into_data());
    }
    all
}

#[test]
fn deferred_weight_gradients_equal_immediate_ones() {
    let (now, later) = (gradients(false), gradients(true));
    for (index, (now, later)) in now.iter().zip(&later).enumerate() {
        // The three terms of this sum are added in a different order.
        let tolerance = if index == 8 { 1e-6 } else { 0.0 };
        let difference = relative_difference(later, now);
        assert!(difference <= tolerance, "{index}: {difference:.1e}");
    }
}

#[test]
fn a_panic_ends_the_scope_of_deferred_gradients() {
    let panicked =
        std::panic::catch_unwind(|| defer_weight_gradients(|| panic!("in a backward pass")));
    assert!(panicked.is_err());
    assert_eq!(gradients(false).len(), 9);
}
