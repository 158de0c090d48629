//! Subnetworks spread over the CPU and a Vulkan device agree with one graph on the CPU.
#![cfg(feature = "wgpu")]
#![allow(clippy::print_stderr)]

#[path = "../../parareal/tests/common/mod.rs"]
mod common;

use burn::tensor::{DType, Device, DeviceKind, DeviceType, Int, Tensor, TensorData};
use common::{assert_all_close, assert_close, init, sgd};
use parareal::exec::{CrossEntropy, Executor, Placement, Sequential, Threads};
use parareal::net::PararealNetwork;
use parareal_models::resnet::ResNet;

#[test]
fn subnetworks_on_two_kinds_of_devices_agree() {
    if Device::enumerate(DeviceType::Wgpu).is_empty() {
        eprintln!("skipped: there is no Vulkan device (a software one: mesa-vulkan-drivers)");
        return;
    }
    let net = ResNet::new(11).unwrap().with_width(4);
    let cuts = net.default_cuts(3).unwrap();
    let build = || PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).unwrap();
    let devices = [Device::flex(), Device::wgpu(DeviceKind::Cpu)];
    let mut sequential = Sequential::new(build(), CrossEntropy, &sgd(), &devices[0], 1).unwrap();
    let placement = Placement::new(devices.to_vec(), 2);
    let mut threads = Threads::new(build(), CrossEntropy, &sgd(), &placement).unwrap();

    let images = init(2, DType::F32).normal("images", [4, 3, 32, 32], 1.0).val().inner();
    let labels: Tensor<1, Int> =
        Tensor::from_data(TensorData::new(vec![1i64, 3, 5, 7], [4]), &devices[0]);
    let expected = sequential.gradients(images.clone(), labels.clone()).unwrap();
    let found = threads.gradients(images.clone(), labels.clone()).unwrap();
    assert!((found.loss / expected.loss - 1.0).abs() < 1e-3);
    assert_all_close(&found.gradients, &expected.gradients, 1e-3, "gradient");
    for _ in 0..2 {
        let expected = sequential.train_step(images.clone(), labels.clone(), 0.01).unwrap().loss;
        let found = threads.train_step(images.clone(), labels.clone(), 0.01).unwrap().loss;
        assert!((found / expected - 1.0).abs() < 1e-3);
    }
    let state = sequential.named_tensors().unwrap();
    assert_all_close(&threads.named_tensors().unwrap(), &state, 1e-3, "state");
    let expected = sequential.infer(images.clone()).unwrap().into_data();
    assert_close(&threads.infer(images).unwrap().into_data(), &expected, 1e-3, "evaluation");
}
