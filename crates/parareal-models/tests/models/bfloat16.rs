//! Networks with states in bfloat16.

use burn::tensor::DType;
use parareal::exec::StateKind;
use parareal_models::{CoarseKind, ImageNetwork, Precision, UnitKind};
use parareal_testing::{
    assert_all_close, assert_recomputing_is_exact, builder, executors, init, joined,
    relative_difference, start,
};

use crate::executors::batch_of_size;

/// A network, its number of subnetworks, and a bound for the relative error of its gradient in bfloat16 with one coarse
/// unit at each interface.
struct Case {
    net: ImageNetwork,
    subnetworks: usize,
    /// About 1.15 times the largest error over five batches, with products of 32-bit floats and of bfloat16 numbers.
    gradient_error: f64,
}

fn cases() -> Vec<Case> {
    let errors = [0.11, 0.1, 0.11, 0.14, 0.16, 0.12, 0.1, 0.09];
    let convolutional = UnitKind::CONVOLUTIONAL.into_iter().zip(errors);
    let convolutional = convolutional.map(|(kind, error)| ("resnet-20", 32, 8, kind.into(), error));
    let others = [
        ("resnet-20", 32, 16, CoarseKind::Auto, 0.14),
        ("wide-resnet-10-2", 32, 4, CoarseKind::Auto, 0.11),
        ("vgg16", 32, 4, CoarseKind::Auto, 0.42),
        ("resnet50", 64, 4, CoarseKind::Auto, 0.81),
        ("vit-tiny-8", 32, 6, CoarseKind::Auto, 0.02),
    ];
    assert_eq!(UnitKind::CONVOLUTIONAL.len(), errors.len());
    let all = convolutional.chain(others);
    all.map(|(name, size, width, kind, gradient_error)| {
        let net = ImageNetwork::sized(name.parse().unwrap(), size).unwrap();
        let net = net.with_width(width).with_coarse_kind(kind);
        Case { net, subnetworks: 3, gradient_error }
    })
    .collect()
}

#[test]
fn executors_agree_in_bfloat16() {
    for Case { net, subnetworks, .. } in cases() {
        let net = net.with_precision(Precision::Bf16);
        let cuts = net.default_cuts(subnetworks).unwrap();
        let (mut sequential, mut threads) = executors(&net, &cuts, &init(1, DType::F32), 2);
        let (images, labels) = batch_of_size(net.image_size(), 1, 3, DType::F32);
        let expected = sequential.gradients(images.clone(), labels.clone()).unwrap();
        let found = threads.gradients(images, labels).unwrap();
        assert!((found.loss - expected.loss).abs() <= 1e-6 * expected.loss, "{}", net.name());
        // The gradients of a state that several modules read are added, and rounded, in another order.
        assert_all_close(&found.gradients, &expected.gradients, 0.05, "gradient");
        for step in 0..3 {
            let (images, labels) = batch_of_size(net.image_size(), step, 3, DType::F32);
            sequential.train_step(images.clone(), labels.clone(), 1e-3).unwrap();
            threads.train_step(images, labels, 1e-3).unwrap();
        }
        let [expected, found] = [&mut sequential, &mut threads]
            .map(|executor| executor.read(StateKind::Weights).unwrap());
        assert!(found.iter().all(|tensor| tensor.data.dtype() == DType::F32));
        let difference = relative_difference(&joined(&found), &joined(&expected));
        assert!(difference <= 1e-3, "{}: weights differ by {difference:.1e}", net.name());
    }
}

/// States of these networks differ by about 1 % from those in double precision, so that about one in a hundred
/// values passes a ReLU in only one of the two. Where it does, the whole gradient differs: by the root of a
/// hundredth, or 10 %, at every ReLU; the fifty layers of `resnet50` add up to more. Burn's own operations
/// (`PARAREAL_KERNELS=composed`) differ as much, with the same roundings. Single operations are compared with double
/// precision, value by value, in the tests of `parareal-kernels`.
#[test]
fn bfloat16_is_close_to_double_precision() {
    for Case { net, subnetworks, gradient_error } in cases() {
        let net = net.with_coarse_units(Some(1));
        let cuts = net.default_cuts(subnetworks).unwrap();
        let gradients = |net: &ImageNetwork, dtype| {
            let mut executor = start(builder().sequential(), net, &cuts, &init(1, dtype));
            let (images, labels) = batch_of_size(net.image_size(), 1, 3, dtype);
            executor.gradients(images, labels).unwrap()
        };
        let expected = gradients(&net, DType::F64);
        let found = gradients(&net.clone().with_precision(Precision::Bf16), DType::F32);
        let output = relative_difference(&found.output.into_data(), &expected.output.into_data());
        assert!(output <= 0.1, "{}: output differs by {output:.1e}", net.name());
        let (found, expected) = (joined(&found.gradients), joined(&expected.gradients));
        let difference = relative_difference(&found, &expected);
        let told = format!("{} with {}", net.name(), net.coarse_kind());
        assert!(difference <= gradient_error, "{told}: gradients differ by {difference:.2}");
    }
}

#[test]
fn states_in_bfloat16_are_recomputed_to_the_same_bits() {
    let net = ImageNetwork::resnet(29).unwrap().with_width(4).with_precision(Precision::Bf16);
    let cuts = net.default_cuts(2).unwrap();
    for units in [1, 3] {
        let batch = |step| batch_of_size(32, step, 3, DType::F32);
        assert_recomputing_is_exact(&net, &cuts, &init(1, DType::F32), units, batch);
    }
}
