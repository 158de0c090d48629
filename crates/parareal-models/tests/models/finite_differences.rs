//! Gradients compared with central differences of the loss, in double precision. Tests the formulas of whole networks. In
//! double precision they consist of Burn's operations; the fused ones are compared with these in `parareal-kernels` and in
//! `executors.rs`.

use burn::tensor::{DType, TensorData};
use parareal::exec::StateKind;
use parareal::net::StateDict;
use parareal_models::{ImageNetwork, UnitKind};
use parareal_testing::{builder, init, start};

use crate::executors::batch_of_size;

/// Length of the step in each direction. With 1e-6, signs of some inputs of ReLUs change, and derivatives with them by a hundredth.
const STEP: f64 = 1e-8;

/// Returns a number for each element of a tensor, from -1 to 1: a direction with no relation to the gradient.
fn direction(len: usize) -> impl Iterator<Item = f64> {
    (1..=len).map(|index| (0.7 * index as f64).sin())
}

#[test]
fn gradients_of_every_coarse_unit_agree_with_central_differences() {
    for kind in UnitKind::CONVOLUTIONAL {
        let net = ImageNetwork::resnet(11).unwrap().with_width(2).with_coarse_kind(kind);
        let net = net.with_coarse_units(Some(2));
        let cuts = net.default_cuts(3).unwrap();
        let mut executor = start(builder().sequential(), &net, &cuts, &init(1, DType::F64));
        let (images, labels) = batch_of_size(net.image_size(), 1, 3, DType::F64);
        let weights = executor.state_dict(StateKind::Weights).unwrap();
        let report = executor.gradients(images.clone(), labels.clone()).unwrap();

        // Derivatives along the interfaces and the units are also compared separately: in the sum over all parameters, a small
        // error of one part could stay below the tolerance.
        for part in ["interfaces.", "units.", ""] {
            let moved = report.gradients.iter().filter(|tensor| tensor.name.starts_with(part));
            let terms = moved.clone().flat_map(|tensor| {
                let values = tensor.data.iter::<f64>();
                values.zip(direction(tensor.data.num_elements())).map(|(a, b)| a * b)
            });
            let derivative: f64 = terms.sum();
            let mut loss = |step: f64| {
                let mut tensors = weights.tensors().clone();
                for tensor in moved.clone() {
                    let before = &tensors[&tensor.name];
                    let along = direction(before.num_elements());
                    let values = before.iter::<f64>().zip(along).map(|(a, b)| a + step * b);
                    let after = TensorData::new(values.collect(), before.shape().clone());
                    tensors.insert(tensor.name.clone(), after);
                }
                let state = StateDict::new(cuts.clone(), tensors);
                executor.write(StateKind::Weights, state).unwrap();
                executor.gradients(images.clone(), labels.clone()).unwrap().loss
            };
            let difference = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
            let error = (derivative - difference).abs() / derivative.abs();
            assert!(error <= 1e-5, "{kind}, {part}: {derivative} and {difference}, {error:.1e}");
        }
    }
}
