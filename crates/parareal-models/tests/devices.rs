//! Subnetworks spread over the CPU and a Vulkan device agree with one graph on the CPU.
#![allow(clippy::print_stderr, reason = "shows which device was tested")]

mod device;

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{DType, Device, Int, Tensor};
use device::other_device;
use parareal::exec::StateKind;
use parareal_models::ImageNetwork;
use parareal_testing::{assert_all_close, assert_close, builder, init, missing, start};

const TOLERANCE: f64 = 1e-3;

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
