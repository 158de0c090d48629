//! The executors on small networks.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use burn::module::ParamGroup;
use burn::optim::ModuleOptimizer;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, ExecutorBuilder, StateKind, Update};
use parareal::net::{Cuts, FeedForward, NamedTensor, StateDict};
use parareal::timeline::Activity;
use parareal_kernels::Sgd;
use parareal_models::{CoarseKind, ImageNetwork, UnitKind};
use parareal_testing::{
    AnyExecutor, assert_all_close, assert_close, assert_executors_agree, assert_follows_program,
    assert_messages_are_sent_first, builder, executors, init, relative_difference, start,
};

fn batch(seed: u64, channels: usize, dtype: DType) -> (Tensor<4>, Tensor<1, Int>) {
    batch_of_size(32, seed, channels, dtype)
}

pub(crate) fn batch_of_size(
    size: usize,
    seed: u64,
    channels: usize,
    dtype: DType,
) -> (Tensor<4>, Tensor<1, Int>) {
    let images = init(seed, dtype).normal("images", [6, channels, size, size], 1.0).val().inner();
    let labels: Vec<i64> = (0..6).map(|i| (3 * i + seed as i64) % 10).collect();
    (images, Tensor::from_data(TensorData::new(labels, [6]), &Device::flex()))
}

fn check(net: &ImageNetwork, cuts: &Cuts, workers: usize, seed: u64) {
    // A 1×1 convolution of a single channel multiplies it by a constant, which the normalization after it
    // cancels. The gradient of the weight is then nearly zero and cannot be compared in single precision.
    for (dtype, channels) in [(DType::F32, 3), (DType::F64, 3), (DType::F64, 1)] {
        let net = &net.clone().with_in_channels(channels);
        let (mut sequential, mut threads) = executors(net, cuts, &init(seed, dtype), workers);
        let size = net.image_size();
        let batch = |step| batch_of_size(size, 100 * seed + step, channels, dtype);
        assert_executors_agree(&mut *sequential, &mut *threads, batch, dtype);
    }
}

#[test]
fn threads_and_sequential_agree() {
    let settings = [
        (1, CoarseKind::Auto, 1),
        (2, UnitKind::Basic.into(), 2),
        (3, UnitKind::Basic.into(), 3),
        (4, UnitKind::Bottleneck.into(), 2),
        (6, CoarseKind::Auto, 3),
        (3, UnitKind::Depthwise.into(), 3),
        (3, UnitKind::Coarsened.into(), 2),
        (3, UnitKind::Half.into(), 3),
        (3, UnitKind::Quarter.into(), 2),
        (3, UnitKind::Grouped.into(), 3),
        (6, UnitKind::None.into(), 3),
    ];
    for (seed, (subnetworks, kind, workers)) in (1..).zip(settings) {
        let net = ImageNetwork::resnet(20).unwrap().with_width(2).with_coarse_kind(kind);
        let cuts = net.default_cuts(subnetworks).unwrap();
        check(&net, &cuts, workers, seed);
    }
}

#[test]
fn threads_and_sequential_agree_on_wide_networks() {
    for (seed, (subnetworks, kind)) in
        (1..).zip([(2, CoarseKind::Auto), (3, UnitKind::Basic.into())])
    {
        let net = ImageNetwork::wide_resnet(10, 2).unwrap().with_width(3).with_coarse_kind(kind);
        check(&net, &net.default_cuts(subnetworks).unwrap(), 2, seed);
    }
}

/// Not over five steps of ResNet-50, whose 50 layers with a ReLU after each addition magnify rounding errors. In double precision,
/// both executors compute its reference's gradients (`reference.rs`). `original_units.rs` compares its units in single precision.
#[test]
fn threads_and_sequential_agree_on_other_networks() {
    for (seed, (name, size, width, cuts)) in [
        ("vgg16", 32, 3, vec![2, 8]),
        ("vit-tiny-8", 32, 6, vec![4, 8]),
        ("vit-small-4", 64, 5, vec![7]),
    ]
    .into_iter()
    .enumerate()
    {
        let net = ImageNetwork::sized(name.parse().unwrap(), size).unwrap().with_width(width);
        check(&net, &Cuts::new(net.units(), cuts).unwrap(), 2, seed as u64);
    }
}

/// Single precision uses the fused operations, double precision Burn's operations. If an input of a ReLU is
/// so close to zero that its sign differs, gradients differ by up to a tenth. So it is sufficient that
/// one of a dozen seeds agrees, and that those before it differ by no more than twice as much.
#[test]
fn fused_and_composed_operations_agree_at_widths_that_fill_no_vector() {
    for width in [6, 21] {
        for kind in UnitKind::CONVOLUTIONAL {
            let net = ImageNetwork::resnet(11).unwrap().with_width(width).with_coarse_kind(kind);
            let cuts = net.default_cuts(3).unwrap();
            let gradients = |seed, dtype| {
                let mut executor = start(builder().sequential(), &net, &cuts, &init(seed, dtype));
                let (images, labels) = batch(1, 3, dtype);
                executor.gradients(images, labels).unwrap().gradients
            };
            let worst = |seed| {
                let [single, double] = [DType::F32, DType::F64].map(|dtype| gradients(seed, dtype));
                assert_eq!(single.len(), double.len());
                let pairs = single.iter().zip(&double);
                let apart = pairs.map(|(a, b)| relative_difference(&a.data, &b.data));
                apart.fold(0.0, f64::max)
            };
            let bounded =
                |apart: &f64| assert!(*apart <= 0.2, "width {width}, {kind}: {apart:.1e}");
            let agrees = (1..=12).map(worst).inspect(bounded).any(|apart| apart <= 2e-5);
            assert!(agrees, "width {width}, {kind}");
        }
    }
}

/// The fused operations defer weight gradients until the cotangent has been sent.
#[test]
fn steps_with_deferred_gradients_follow_the_program() {
    let net = ImageNetwork::resnet(29).unwrap().with_width(2).with_coarse_kind(UnitKind::Basic);
    let cuts = net.default_cuts(6).unwrap();
    for (workers, replicas, recompute) in [(3, 1, false), (2, 1, true), (2, 2, false)] {
        let builder = builder().workers(workers).replicas(replicas);
        let builder = if recompute { builder.recompute(1) } else { builder.segment_units(1) };
        let mut executor = start(builder, &net, &cuts, &init(1, DType::F32));
        for step in 0..3 {
            let (images, labels) = batch(step, 3, DType::F32);
            let report = executor.train_step(images, labels, 1e-3).unwrap();
            let program = executor.program().unwrap();
            assert_follows_program(program, &report.trace);
            assert_messages_are_sent_first(program, &report.trace);
            let spans = report.timeline.spans;
            let deferred = spans.iter().filter(|own| own.activity == Activity::ChainWeights);
            let deferred: HashSet<_> = deferred.map(|own| own.subnetwork).collect();
            // The first worker does not defer any gradients.
            let first = executor.layout().subnetworks_of(0).end;
            assert_eq!(deferred, (first..6).collect());
        }
    }
}

#[test]
fn recomputed_units_give_the_same_gradients_and_statistics() {
    let net = ImageNetwork::resnet(29).unwrap().with_width(2);
    let cuts = net.default_cuts(2).unwrap();
    for units in [1, 3, 9] {
        parareal_testing::assert_recomputing_is_exact(
            &net,
            &cuts,
            &init(1, DType::F32),
            units,
            |step| batch(step, 3, DType::F32),
        );
    }
}

#[test]
fn executors_agree_on_uneven_cuts_and_interfaces_over_two_halvings() {
    let net = ImageNetwork::resnet(20).unwrap().with_width(2);
    check(&net, &Cuts::new(6, vec![1]).unwrap(), 2, 7);
    check(&net, &Cuts::new(6, vec![2, 5]).unwrap(), 3, 8);
}

/// Burn's optimizers find the group of a parameter by its path, which includes the variants of enums.
#[test]
fn a_restored_state_keeps_the_optimizers_of_parameter_groups() {
    let net = ImageNetwork::resnet(20).unwrap().with_width(2).with_coarse_kind(UnitKind::Basic);
    let cuts = net.default_cuts(2).unwrap();
    let sgd = |momentum| Sgd { momentum, ..Sgd::default() };
    let optimizer = ModuleOptimizer::from(sgd(0.9));
    let optimizer = optimizer.with_group(ParamGroup::from_predicate("Bottleneck"), sgd(0.5), None);
    let executor = || {
        let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer.clone());
        start(builder.sequential().threads(1), &net, &cuts, &init(1, DType::F32))
    };
    let steps = |executor: &mut AnyExecutor<ImageNetwork>, steps: Range<u64>| {
        for step in steps {
            let (images, labels) = batch(step, 3, DType::F32);
            executor.train_step(images, labels, 0.05).unwrap();
        }
    };
    let (mut whole, mut restored) = (executor(), executor());
    steps(&mut whole, 0..2);
    restored.write(StateKind::Weights, whole.state_dict(StateKind::Weights).unwrap()).unwrap();
    restored.write(StateKind::Optimizer, whole.state_dict(StateKind::Optimizer).unwrap()).unwrap();
    for executor in [&mut whole, &mut restored] {
        steps(executor, 2..4);
    }
    let weights = |executor: &mut AnyExecutor<ImageNetwork>| {
        let tensors = executor.read(StateKind::Weights).unwrap().into_iter();
        tensors.map(|tensor| (tensor.name, tensor.data)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(weights(&mut restored), weights(&mut whole));
}

/// Updates a moving average, elementwise: `a + (1 - decay) (θ - a)`.
fn follow(average: &mut [NamedTensor], now: &[NamedTensor], decay: f64) {
    for (average, now) in average.iter_mut().zip(now) {
        let pairs = average.data.iter::<f64>().zip(now.data.iter::<f64>());
        let values: Vec<f64> = pairs.map(|(a, now)| decay * a + (1.0 - decay) * now).collect();
        average.data = TensorData::new(values, average.data.shape().clone());
    }
}

#[test]
fn moving_averages_follow_parameters_and_statistics_and_are_used_for_inference() {
    let net = ImageNetwork::resnet(20).unwrap().with_width(2);
    let cuts = net.default_cuts(3).unwrap();
    let (mut sequential, mut threads) = executors(&net, &cuts, &init(1, DType::F64), 2);
    let mut averages = Vec::new();
    for executor in [&mut threads, &mut sequential] {
        assert!(executor.read(StateKind::Average).unwrap().is_empty());
        let mut expected = Vec::new();
        for step in 0..4 {
            let (images, labels) = batch(step, 3, DType::F64);
            let update = Update { average_decay: Some(0.6), ..Update::plain(0.1) };
            executor.train_step_with(images, labels, update).unwrap();
            let now = executor.read(StateKind::Weights).unwrap();
            match step {
                0 => expected = now,
                _ => follow(&mut expected, &now, 0.6),
            }
        }
        let found = executor.read(StateKind::Average).unwrap();
        assert!(found.iter().any(|tensor| tensor.name.ends_with("running_var")));
        assert_all_close(&found, &expected, 1e-12, "average");

        // The network with these weights has the same output.
        let (images, _) = batch(9, 3, DType::F64);
        let evaluated = executor.infer(images.clone()).unwrap().into_data();
        let average = StateDict::from_named(cuts.clone(), found.clone());
        let own = executor.state_dict(StateKind::Weights).unwrap();
        executor.write(StateKind::Weights, average.clone()).unwrap();
        assert!(executor.read(StateKind::Average).unwrap().is_empty());
        assert_close(
            &executor.infer(images.clone()).unwrap().into_data(),
            &evaluated,
            1e-12,
            "as weights",
        );
        executor.write(StateKind::Weights, own).unwrap();
        assert_ne!(executor.infer(images.clone()).unwrap().into_data(), evaluated);
        executor.write(StateKind::Average, average).unwrap();
        assert_eq!(executor.infer(images).unwrap().into_data(), evaluated);
        let again = executor.read(StateKind::Average).unwrap();
        assert_all_close(&again, &found, 0.0, "carried over");
        averages.push(found);

        // An incomplete average is rejected.
        let half = [("preprocessing.weight".to_string(), again[0].data.clone())];
        let half = StateDict::new(cuts.clone(), half);
        executor.write(StateKind::Average, half).unwrap_err();
        assert_eq!(executor.read(StateKind::Average).unwrap().len(), again.len());
    }
    assert_all_close(&averages[0], &averages[1], 1e-10, "threads and sequential");
}
