//! Subnetworks spread over the CPU and a Vulkan device agree with one graph on the CPU.
#![allow(clippy::print_stderr, reason = "shows which device was tested")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, DeviceKind, DeviceType, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, ExecError, ExecutorBuilder, StateKind, Update};
use parareal::net::{
    AnyLayer, Cuts, Init, NamedTensor, Sequential, StateDict, layer as layer_of, layer_fn,
};
use parareal::nn::{Dropout, DropoutConfig};
use parareal_kernels::Sgd;
use parareal_models::ImageNetwork;
use parareal_testing::{
    AnyExecutor, assert_all_close, assert_close, builder, init, missing, start,
};

const TOLERANCE: f64 = 1e-3;

/// Returns a software renderer if there is one, so that the test is the same on all machines with a software
/// renderer. Otherwise returns any other device.
fn other_device() -> Option<Device> {
    let there = Device::enumerate(DeviceType::Wgpu);
    let software = Device::wgpu(DeviceKind::Cpu);
    there.iter().find(|device| **device == software).or_else(|| there.iter().next()).cloned()
}

#[test]
fn subnetworks_on_two_kinds_of_devices_agree() {
    let Some(other) = other_device() else {
        missing("a Vulkan device (Debian package mesa-vulkan-drivers has one in software)");
    };
    eprintln!("on the CPU and on {:?}", other.identity());
    let cpu = Device::flex();
    // The coarse chain passes from the CPU to the other device, and from the other device to the CPU.
    agree_when_spread_over([cpu.clone(), other.clone()]);
    agree_when_spread_over([other, cpu]);
}

/// Checks that executors agree for images of one of three seeds. Where an activation is within rounding errors of
/// zero, its sign can differ between two devices, and one gradient then differs by up to 8e-3.
fn agree_when_spread_over(devices: [Device; 2]) {
    let agree = |seed| {
        let devices = devices.clone();
        catch_unwind(AssertUnwindSafe(|| assert_agreement(devices, seed))).is_ok()
    };
    assert!([3, 4, 5].into_iter().any(agree), "no agreement for any seed");
}

/// Checks three subnetworks, two on the first device and one on the second.
fn assert_agreement(devices: [Device; 2], seed: u64) {
    let net = ImageNetwork::resnet(11).unwrap().with_width(4);
    let cuts = net.default_cuts(3).unwrap();
    let start = |builder| start(builder, &net, &cuts, &init(1, DType::F32));
    let mut sequential = start(builder().sequential());
    let mut threads = start(builder().workers(2).devices(devices.clone()));

    let images = init(seed, DType::F32).normal("images", [4, 3, 32, 32], 1.0).val().inner();
    let labels: Tensor<1, Int> = Tensor::from_data([1i64, 3, 5, 7], &Device::flex());

    let expected = sequential.gradients(images.clone(), labels.clone()).unwrap();
    let found = threads.gradients(images.clone(), labels.clone()).unwrap();
    assert_eq!(found.output.device(), devices[1]);
    assert_loss(found.loss, expected.loss);
    let (output, wanted) = (found.output.into_data(), expected.output.into_data());
    assert_close(&output, &wanted, TOLERANCE, "output");
    assert_all_close(&found.gradients, &expected.gradients, TOLERANCE, "gradient");
    let (input, wanted) = (found.input.unwrap().into_data(), expected.input.unwrap().into_data());
    assert_close(&input, &wanted, TOLERANCE, "input gradient");

    for _ in 0..2 {
        let expected = sequential.train_step(images.clone(), labels.clone(), 0.01).unwrap().loss;
        let found = threads.train_step(images.clone(), labels.clone(), 0.01).unwrap().loss;
        assert_loss(found, expected);
    }
    let (state, wanted) =
        (threads.read(StateKind::Weights).unwrap(), sequential.read(StateKind::Weights).unwrap());
    assert_all_close(&state, &wanted, TOLERANCE, "state after two steps");
    let wanted = sequential.infer(images.clone()).unwrap().into_data();
    let output = threads.infer(images).unwrap().into_data();
    assert_close(&output, &wanted, TOLERANCE, "evaluation");
}

fn assert_loss(found: f64, expected: f64) {
    // The comparison also fails if a loss is NaN.
    assert!((found / expected - 1.0).abs() <= TOLERANCE, "loss {found}, expected {expected}");
}

/// A training run on one device, with steps that are not replayed in between. Returns the losses, all states at the end, and outputs.
fn run(net: &ImageNetwork, subnetworks: usize, workers: usize, replays: bool) -> Run {
    let device = other_device().expect("checked by the caller");
    let cuts = net.default_cuts(subnetworks).unwrap();
    let optimizer =
        Sgd { momentum: 0.9, weight_decay: 1e-3, joins_launches: true, ..Sgd::default() };
    let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer);
    let builder = builder.devices([device]).workers(workers);
    let builder = if replays { builder.launch_graphs() } else { builder };
    let mut executor = start(builder, net, &cuts, &init(1, DType::F32));
    let batch = |seed: u64, samples: usize| {
        let images = init(seed, DType::F32).normal("images", [samples, 3, 32, 32], 1.0);
        let labels: Vec<_> = (0..samples as i64).map(|image| (image + seed as i64) % 10).collect();
        let labels =
            Tensor::<1, Int>::from_data(TensorData::new(labels, [samples]), &Device::flex());
        (images.val().inner(), labels)
    };
    let (mut losses, mut outputs, mut replayed) = (Vec::new(), Vec::new(), Vec::new());
    let plain = Update::plain(0.05);
    let clipped = Update { clip_norm: Some(0.5), ..Update::plain(0.02) };
    let averaged = Update { average_decay: Some(0.9), ..clipped };
    let mut step = |executor: &mut AnyExecutor<ImageNetwork>, seed, samples, update: Update| {
        let (images, labels) = batch(seed, samples);
        let learning_rate = update.learning_rate / (1 + seed % 3) as f64;
        let update = Update { learning_rate, ..update };
        let report = executor.train_step_with(images, labels, update).unwrap();
        losses.push(report.loss);
        replayed.push(report.is_replayed);
        losses.extend(report.gradient_norm);
        outputs.push(report.output.into_data());
    };
    for seed in 0..5 {
        step(&mut executor, seed, 4, plain);
    }
    // Another shape once, and an evaluation.
    step(&mut executor, 5, 3, plain);
    let evaluated = executor.infer(batch(6, 4).0).unwrap().into_data();
    for seed in 6..9 {
        step(&mut executor, seed, 4, plain);
    }
    for seed in 20..24 {
        step(&mut executor, seed, 4, clipped);
    }
    // Targets that do not fit.
    let (images, labels) = batch(8, 4);
    let refused = executor.train_step_with(images, labels * 100 + 50, plain);
    assert!(matches!(refused, Err(ExecError::Target(_))), "{:?}", refused.err());
    // A moving average begins: parameters move to other memory.
    for seed in 9..14 {
        step(&mut executor, seed, 4, averaged);
    }
    let (images, labels) = batch(14, 4);
    let gradients = executor.gradients(images, labels).unwrap().gradients;
    // State that is loaded, and another shape for good.
    let weights = executor.read(StateKind::Weights).unwrap();
    let weights = StateDict::from_named(cuts, weights);
    executor.write(StateKind::Weights, weights).unwrap();
    for seed in 15..20 {
        step(&mut executor, seed, 3, averaged);
    }
    let kinds = [StateKind::Weights, StateKind::Optimizer, StateKind::Average];
    let states = kinds.map(|kind| executor.read(kind).unwrap());
    outputs.push(evaluated);
    Run { losses, outputs, gradients, states, replayed }
}

struct Run {
    losses: Vec<f64>,
    outputs: Vec<TensorData>,
    gradients: Vec<NamedTensor>,
    states: [Vec<NamedTensor>; 3],
    replayed: Vec<bool>,
}

#[test]
fn replayed_steps_equal_launched_ones() {
    if other_device().is_none() {
        missing("a Vulkan device (Debian package mesa-vulkan-drivers has one in software)");
    }
    let net = ImageNetwork::resnet(11).unwrap().with_width(4);
    for (subnetworks, workers) in [(1, 1), (3, 1), (3, 2)] {
        let launched = run(&net, subnetworks, workers, false);
        let replayed = run(&net, subnetworks, workers, true);
        assert_eq!(
            replayed.losses, launched.losses,
            "{subnetworks} subnetworks, {workers} workers"
        );
        for (found, expected) in replayed.outputs.iter().zip(&launched.outputs) {
            found.assert_eq(expected, true);
        }
        assert_all_close(&replayed.gradients, &launched.gradients, 0.0, "gradient");
        for (found, expected) in replayed.states.iter().zip(&launched.states) {
            assert!(!expected.is_empty());
            assert_all_close(found, expected, 0.0, "state");
        }
        assert!(!launched.replayed.contains(&true));
        match workers {
            1 => {
                // The first step; another shape; clipping and an average begin; state is loaded; another shape.
                let steps = [0, 5, 9, 13, 14, 18, 19];
                let expected = (0..replayed.replayed.len()).map(|step| !steps.contains(&step));
                assert_eq!(replayed.replayed, expected.collect::<Vec<_>>());
            }
            // A recording may need memory that the step before it has not left.
            _ => assert!(replayed.replayed.iter().filter(|step| **step).count() >= 3),
        }
    }
}

/// Trains a small network with a layer in its units, and returns the error of the second step, in which launches are recorded.
fn recording_error(
    layer: impl Fn(&Init) -> AnyLayer<Tensor<2>, Tensor<2>> + Clone + Send + Sync + 'static,
) -> String {
    let device = other_device().expect("checked by the caller");
    let linear = |from, to| {
        move |init: &Init| {
            layer_of(LinearConfig::new(from, to).init(init.device()), Linear::forward)
        }
    };
    let network = Sequential::stem(Tensor::<2>::zeros([1, 2], &Device::flex()), linear(2, 4))
        .units(2, move |_, init| layer(init))
        .head(linear(4, 3))
        .unwrap();
    let builder = ExecutorBuilder::new(CrossEntropy::default(), Sgd::default());
    let builder = builder.devices([device]).workers(1).launch_graphs();
    let mut executor = start(builder, &network, &Cuts::even(2, 1).unwrap(), &init(1, DType::F32));
    let input = Tensor::<2>::from_data([[0.0, 1.0], [1.0, 0.0]], &Device::flex());
    let target = Tensor::<1, Int>::from_data([0, 2], &Device::flex());
    let mut step = || executor.train_step(input.clone(), target.clone(), 0.1);
    step().unwrap();
    let error = (0..5).find_map(|_| step().err()).expect("a step was replayed");
    let ExecError::LaunchGraphs(reason) = error else { panic!("{error}") };
    // The executor is still usable.
    executor.infer(input).unwrap();
    reason
}

#[test]
fn steps_that_cannot_be_replayed_are_refused() {
    if other_device().is_none() {
        missing("a Vulkan device (Debian package mesa-vulkan-drivers has one in software)");
    }
    let random = recording_error(|_| layer_of(DropoutConfig::new(0.5).init(), Dropout::forward));
    assert_eq!(random, "a layer draws random numbers, which each replay would repeat");
    let reads = recording_error(|_| {
        layer_fn(|state: Tensor<2>| {
            let largest: f32 = state.clone().abs().max().into_scalar();
            state / f64::from(largest)
        })
    });
    assert!(reads.contains("maybe because it reads from the GPU"), "{reads}");
}
