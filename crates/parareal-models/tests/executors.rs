//! Both executors on small ResNets: images, batch normalization, halvings and all.

#[path = "../../parareal/tests/common/mod.rs"]
mod common;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use common::{assert_executors_agree, executors, init};
use parareal::net::Cuts;
use parareal_models::resnet::{CoarseKind, ResNet};

fn batch(seed: u64, channels: usize, dtype: DType) -> (Tensor<4>, Tensor<1, Int>) {
    let images = init(seed, dtype).normal("images", [6, channels, 32, 32], 1.0).val().inner();
    let labels: Vec<i64> = (0..6).map(|i| (3 * i + seed as i64) % 10).collect();
    (images, Tensor::from_data(TensorData::new(labels, [6]), &Device::flex()))
}

fn check(net: &ResNet, cuts: &Cuts, workers: usize, seed: u64) {
    // Of a single channel, a 1×1 convolution is a multiple, and the normalization behind it takes
    // it back: all but nothing is left of its weights' gradient, nothing in single precision.
    for (dtype, channels) in [(DType::F32, 3), (DType::F64, 3), (DType::F64, 1)] {
        let net = &net.clone().with_in_channels(channels);
        let (mut sequential, mut threads) = executors(net, cuts, &init(seed, dtype), workers);
        let batch = |step| batch(100 * seed + step, channels, dtype);
        assert_executors_agree(&mut sequential, &mut threads, batch, dtype);
    }
}

#[test]
fn threads_and_sequential_agree() {
    let settings = [
        (1, CoarseKind::Auto, 1),
        (2, CoarseKind::Basic, 2),
        (3, CoarseKind::Basic, 3),
        (4, CoarseKind::Bottleneck, 2),
        (6, CoarseKind::Auto, 3),
    ];
    for (seed, (subnetworks, kind, workers)) in (1..).zip(settings) {
        let net = ResNet::new(20).unwrap().with_width(2).with_coarse_kind(kind);
        let cuts = net.default_cuts(subnetworks).unwrap();
        check(&net, &cuts, workers, seed);
    }
}

#[test]
fn units_computed_again_give_the_same_gradients_and_statistics() {
    let net = ResNet::new(29).unwrap().with_width(2);
    let cuts = net.default_cuts(2).unwrap();
    for units in [1, 3, 9] {
        common::assert_recomputing_is_exact(&net, &cuts, &init(1, DType::F32), units, |step| {
            batch(step, 3, DType::F32)
        });
    }
}

#[test]
fn uneven_cuts_and_jumps_over_two_halvings_agree() {
    let net = ResNet::new(20).unwrap().with_width(2);
    check(&net, &Cuts::new(6, vec![1]).unwrap(), 2, 7);
    check(&net, &Cuts::new(6, vec![2, 5]).unwrap(), 3, 8);
}
