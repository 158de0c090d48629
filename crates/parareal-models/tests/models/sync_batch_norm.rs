//! Replicas with synchronized batch normalization compute the step of one network on the joined batch.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use parareal::exec::ExecError;
use parareal_models::{CoarseKind, ImageNetwork, UnitKind};
use parareal_testing::{assert_close, assert_executors_agree, builder, init, start};

use crate::executors::batch_of_size;

/// With 6 images, the parts of four replicas have different sizes.
const REPLICAS: [usize; 2] = [2, 4];

/// Compares a network on the joined batch with its replicas.
fn check(net: &ImageNetwork, subnetworks: usize, workers: usize) {
    let (cuts, dtype) = (net.default_cuts(subnetworks).unwrap(), DType::F64);
    let start = |builder| start(builder, net, &cuts, &init(1, dtype));
    for replicas in REPLICAS {
        let mut whole = start(builder().sequential());
        let replicated = builder().workers(workers).threads(1).replicas(replicas);
        let mut synchronized = start(replicated.segment_units(2).sync_batch_norm());
        let batch = |step| batch_of_size(net.image_size(), step, 3, dtype);
        assert_executors_agree(&mut *whole, &mut *synchronized, batch, dtype);
    }
}

#[test]
fn replicas_of_each_kind_of_unit_compute_the_step_of_one_network() {
    for kind in UnitKind::CONVOLUTIONAL {
        let net = ImageNetwork::resnet(11).unwrap().with_width(2);
        check(&net.with_coarse_kind(CoarseKind::Units(kind)), 3, 2);
    }
}

#[test]
fn replicas_of_other_networks_compute_the_step_of_one_network() {
    for (name, size, width, subnetworks) in [
        ("resnet-20", 32, 4, 1),
        ("wide-resnet-10-2", 32, 3, 3),
        ("vgg16", 32, 4, 2),
        ("resnet50", 64, 2, 2),
    ] {
        let net = ImageNetwork::sized(name.parse().unwrap(), size).unwrap();
        let net = net.with_width(width).with_coarse_kind(CoarseKind::Auto);
        check(&net, subnetworks, subnetworks.min(2));
    }
}

/// The fused operations, in one pass of a narrow network. In wider ones or after several steps, a value passes a ReLU
/// in only one of the two networks.
#[test]
fn replicas_agree_in_single_precision() {
    for kind in UnitKind::CONVOLUTIONAL {
        let net = ImageNetwork::resnet(11).unwrap().with_width(2);
        let net = net.with_coarse_kind(CoarseKind::Units(kind));
        let cuts = net.default_cuts(3).unwrap();
        let start = |builder| start(builder, &net, &cuts, &init(1, DType::F32));
        let (images, labels) = batch_of_size(32, 0, 3, DType::F32);
        let mut whole = start(builder().sequential());
        let expected = whole.gradients(images.clone(), labels.clone()).unwrap();
        for replicas in REPLICAS {
            let replicated = builder().workers(2).threads(1).replicas(replicas);
            let mut synchronized = start(replicated.sync_batch_norm());
            let found = synchronized.gradients(images.clone(), labels.clone()).unwrap();
            assert!((found.loss - expected.loss).abs() < 1e-5);
            for (found, expected) in found.gradients.iter().zip(&expected.gradients) {
                assert_close(&found.data, &expected.data, 1e-4, &found.name);
            }
        }
    }
}

/// The statistics of a micro-batch are those of the images that all replicas compute at the same time.
#[test]
fn micro_batches_of_replicas_are_those_of_one_network() {
    let net = ImageNetwork::resnet(11).unwrap().with_width(2);
    let cuts = net.default_cuts(2).unwrap();
    let start = |builder| start(builder, &net, &cuts, &init(1, DType::F64));
    let mut whole = start(builder().sequential().accumulate(2));
    let replicated = builder().workers(2).threads(1).replicas(2).accumulate(2);
    let mut synchronized = start(replicated.sync_batch_norm());
    let (images, labels) = batch_of_size(32, 1, 3, DType::F64);
    let select = |order: [i64; 4]| {
        let order = Tensor::<1, Int>::from_data(order, &Device::flex());
        (images.clone().select(0, order.clone()), labels.clone().select(0, order))
    };
    let (images, labels) = select([0, 2, 1, 3]);
    let expected = whole.gradients(images, labels).unwrap();
    // The replicas have the images 0 and 1, and 2 and 3.
    let (images, labels) = select([0, 1, 2, 3]);
    let found = synchronized.gradients(images, labels).unwrap();
    assert!((found.loss - expected.loss).abs() < 1e-12);
    for (found, expected) in found.gradients.iter().zip(&expected.gradients) {
        assert_close(&found.data, &expected.data, 1e-10, &found.name);
    }
}

/// The other replica does not wait for sums of the backward pass, and no replica is updated.
#[test]
fn a_target_that_is_invalid_in_one_replica_ends_the_step_in_all() {
    let net = ImageNetwork::resnet(11).unwrap().with_width(2);
    for (subnetworks, micro_batches) in [(1, 1), (2, 1), (2, 2)] {
        let cuts = net.default_cuts(subnetworks).unwrap();
        let new = || {
            let builder = builder().workers(subnetworks).threads(1).replicas(2);
            let builder = builder.accumulate(micro_batches).sync_batch_norm();
            start(builder, &net, &cuts, &init(1, DType::F32))
        };
        let (images, labels) = batch_of_size(32, 1, 3, DType::F32);
        for wrong in [0, 5] {
            let mut executor = new();
            let mut classes: Vec<i64> = labels.to_data().iter::<i64>().collect();
            classes[wrong] = 10;
            let classes = Tensor::from_data(TensorData::new(classes, [6]), &Device::flex());
            let error = executor.train_step(images.clone(), classes, 0.1);
            assert!(matches!(error, Err(ExecError::Target(_))));
            let (mut fresh, batch) = (new(), (images.clone(), labels.clone()));
            let [found, expected] = [&mut executor, &mut fresh].map(|executor| {
                executor.train_step(batch.0.clone(), batch.1.clone(), 0.1).unwrap()
            });
            assert_eq!(found.loss, expected.loss);
        }
    }
}

#[test]
fn recomputed_units_are_synchronized_again() {
    let net = ImageNetwork::resnet(29).unwrap().with_width(2);
    let cuts = net.default_cuts(2).unwrap();
    let start = |builder| start(builder, &net, &cuts, &init(1, DType::F32));
    let replicated = || builder().workers(2).threads(1).replicas(2).sync_batch_norm();
    let mut kept = start(replicated().segment_units(2));
    let mut recomputed = start(replicated().recompute(2));
    let batch = |step| batch_of_size(32, step, 3, DType::F32);
    assert_executors_agree(&mut *kept, &mut *recomputed, batch, DType::F32);
}

/// Without synchronization, the statistics are those of a replica.
#[test]
fn replicas_differ_from_one_network_otherwise() {
    let net = ImageNetwork::resnet(11).unwrap().with_width(2);
    let cuts = net.default_cuts(2).unwrap();
    let (images, labels) = batch_of_size(32, 1, 3, DType::F64);
    let losses = [false, true].map(|synchronized| {
        let builder = builder().workers(2).replicas(2);
        let builder = if synchronized { builder.sync_batch_norm() } else { builder };
        let mut executor = start(builder, &net, &cuts, &init(1, DType::F64));
        executor.gradients(images.clone(), labels.clone()).unwrap().loss
    });
    assert!((losses[0] - losses[1]).abs() > 1e-3, "{losses:?}");
}
