//! Networks with states in bfloat16 on CubeCL's CPU runtime agree with those on the CPU.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, ExecutorBuilder, StateKind};
use parareal_kernels::Sgd;
use parareal_models::{ImageNetwork, Precision};
use parareal_testing::{assert_close, init, joined, start};

#[test]
fn subnetworks_agree_in_bfloat16() {
    let net = ImageNetwork::resnet(11).unwrap().with_width(4).with_precision(Precision::Bf16);
    for subnetworks in [1, 3] {
        let cuts = net.default_cuts(subnetworks).unwrap();
        let start = |builder| start(builder, &net, &cuts, &init(1, DType::F32));
        let builder = ExecutorBuilder::new(CrossEntropy::default(), Sgd::default());
        let mut expected = start(builder.clone().sequential());
        let mut found = start(builder.workers(1).devices([Device::cpu()]));
        let images = init(3, DType::F32).normal("images", [4, 3, 32, 32], 1.0).val().inner();
        let labels: Tensor<1, Int> = Tensor::from_data([1i64, 3, 5, 7], &Device::flex());

        let [gradients, wanted] = [&mut found, &mut expected]
            .map(|executor| executor.gradients(images.clone(), labels.clone()).unwrap());
        let check = |found: TensorData, expected: TensorData, tolerance, what: &str| {
            assert_close(&found, &expected, tolerance, &format!("N = {subnetworks}: {what}"));
        };
        check(gradients.output.into_data(), wanted.output.into_data(), 0.02, "output");
        check(joined(&gradients.gradients), joined(&wanted.gradients), 0.2, "gradients");

        let [change, wanted] = [&mut found, &mut expected].map(|executor| {
            let before = joined(&executor.read(StateKind::Weights).unwrap());
            executor.train_step(images.clone(), labels.clone(), 0.1).unwrap();
            difference(&joined(&executor.read(StateKind::Weights).unwrap()), &before)
        });
        check(change, wanted, 0.2, "change of the state");
        let [output, wanted] =
            [&mut found, &mut expected].map(|executor| executor.infer(images.clone()).unwrap());
        check(output.into_data(), wanted.into_data(), 0.05, "evaluation");
    }
}

fn difference(a: &TensorData, b: &TensorData) -> TensorData {
    let values = a.iter::<f64>().zip(b.iter::<f64>()).map(|(a, b)| a - b);
    TensorData::new(values.collect::<Vec<f64>>(), a.shape().clone())
}
