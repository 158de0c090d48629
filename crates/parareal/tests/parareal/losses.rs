//! Losses are means over the samples, so replicas with parts of different sizes compute the loss of the whole
//! batch.

use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Int, Tensor};
use parareal::exec::{
    CrossEntropy, ExecError, ExecutorBuilder, GradientReport, Loss, MeanSquaredError,
    SoftTargetCrossEntropy, StateKind, loss_fn,
};
use parareal::net::Cuts;
use parareal_testing::{
    CLASSES, DenseNet, assert_all_close, assert_close, batch, init, sgd, start,
};

const SAMPLES: usize = 7;

type Report = GradientReport<Tensor<2>, Tensor<2>>;

/// Returns the gradients of a single copy of the network and of replicas.
fn gradients<L: Loss<Tensor<2>>>(loss: &L, target: &L::Target, replicas: usize) -> [Report; 2] {
    let net = DenseNet::residual(vec![6, 6, 9, 9, 5, 7]);
    let cuts = Cuts::even(5, 2).unwrap();
    let builder = || ExecutorBuilder::new(loss.clone(), sgd()).threads(1);
    let start = |builder| start(builder, &net, &cuts, &init(1, DType::F64));
    let mut whole = start(builder().sequential());
    let mut parts = start(builder().workers(2).replicas(replicas));
    let (input, _) = batch(1, SAMPLES, DType::F64);
    let expected = whole.gradients(input.clone(), target.clone()).unwrap();
    [expected, parts.gradients(input, target.clone()).unwrap()]
}

fn assert_replicas_agree<L: Loss<Tensor<2>>>(loss: &L, target: &L::Target) {
    for replicas in [1, 2, 3] {
        let [expected, found] = gradients(loss, target, replicas);
        assert!(expected.loss > 0.0);
        assert!((found.loss - expected.loss).abs() <= 1e-12 * expected.loss);
        assert_all_close(&found.gradients, &expected.gradients, 1e-12, "gradient");
        let [found, expected] = [found, expected].map(|report| report.input.unwrap().into_data());
        assert_close(&found, &expected, 1e-12, "input gradient");
    }
}

fn values() -> Tensor<2> {
    init(5, DType::F64).normal("target", [SAMPLES, CLASSES], 1.0).val().inner()
}

#[test]
fn replicas_of_uneven_parts_compute_the_loss_of_the_whole_batch() {
    let (_, labels) = batch(1, SAMPLES, DType::F64);
    for label_smoothing in [0.0, 0.1] {
        assert_replicas_agree(&CrossEntropy { label_smoothing }, &labels);
        let probabilities = softmax(values(), 1);
        assert_replicas_agree(&SoftTargetCrossEntropy { label_smoothing }, &probabilities);
    }
    assert_replicas_agree(&MeanSquaredError, &values());
    let absolute = loss_fn(|output: Tensor<2>, target: Tensor<2>| (output - target).abs().mean());
    assert_replicas_agree(&absolute, &values());
}

#[test]
fn a_sum_over_the_samples_breaks_the_contract() {
    let sum = loss_fn(|output: Tensor<2>, target: Tensor<2>| (output - target).abs().sum());
    let [expected, found] = gradients(&sum, &values(), 2);
    assert!((found.loss - expected.loss).abs() > 0.1 * expected.loss);
}

#[test]
fn a_label_smoothing_out_of_range_ends_the_step() {
    let (_, labels) = batch(1, 6, DType::F32);
    let output = Tensor::zeros([6, CLASSES], &Device::flex());
    for label_smoothing in [-0.1, 1.0, f64::NAN] {
        let error = CrossEntropy { label_smoothing }.check(&output, &labels).unwrap_err();
        assert_eq!(error.expected, "a label smoothing in [0, 1)");
    }
}

#[test]
fn a_loss_of_several_numbers_ends_the_step() {
    let net = DenseNet::residual(vec![6, 6, 9]);
    let cuts = Cuts::even(2, 2).unwrap();
    // The mean over the samples was forgotten.
    let loss = loss_fn(|output: Tensor<2>, target: Tensor<2>| {
        (output - target).abs().mean_dim(1).squeeze_dim::<1>(1)
    });
    let builder = || ExecutorBuilder::new(loss.clone(), sgd()).threads(1);
    let threads = |replicas| builder().workers(2).replicas(replicas);
    for (builder, elements) in [(builder().sequential(), 6), (threads(1), 6), (threads(2), 3)] {
        let mut executor = start(builder, &net, &cuts, &init(1, DType::F32));
        let (input, _) = batch(1, 6, DType::F32);
        let target = Tensor::zeros([6, CLASSES], &Device::flex());
        let before = executor.state_dict(StateKind::Weights).unwrap();
        let error = executor.train_step(input, target, 0.1).unwrap_err();
        assert_eq!(error, ExecError::LossElements { elements });
        let after = executor.state_dict(StateKind::Weights).unwrap();
        assert_eq!(after.tensors(), before.tensors());
    }
}

#[test]
fn targets_of_another_shape_end_the_step() {
    let net = DenseNet::residual(vec![6, 6, 9]);
    let cuts = Cuts::even(2, 2).unwrap();
    let builder = ExecutorBuilder::new(MeanSquaredError, sgd()).workers(2);
    let mut threads = start(builder, &net, &cuts, &init(1, DType::F32));
    let (input, _) = batch(1, 3, DType::F32);
    let target = |features| Tensor::<2>::zeros([3, features], &Device::flex());
    let error = threads.train_step(input.clone(), target(1), 0.1).unwrap_err();
    let message = "expected targets of shape [3, 4], found [3, 1]".to_string();
    assert_eq!(error, ExecError::Target(message));
    threads.train_step(input, target(CLASSES), 0.1).unwrap();
}

#[test]
fn a_closure_that_computes_cross_entropy_trains_identically() {
    let closure = loss_fn(|output: Tensor<2>, labels: Tensor<1, Int>| {
        CrossEntropy::default().forward(output, labels)
    });
    let (_, labels) = batch(1, SAMPLES, DType::F64);
    let [expected, _] = gradients(&CrossEntropy::default(), &labels, 1);
    let [found, _] = gradients(&closure, &labels, 1);
    assert_eq!(found.loss, expected.loss);
    assert_all_close(&found.gradients, &expected.gradients, 0.0, "gradient");
}
