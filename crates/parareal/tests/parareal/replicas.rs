//! Replicas with parts of a batch compute the same step as a single copy with the whole batch.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Tensor};
use parareal::exec::{ExecError, StateKind, Update};
use parareal::net::{Cuts, Init, PararealNetwork, Sequential, layer};
use parareal_autodiff::sum_over_replicas;
use parareal_testing::{
    AnyExecutor, CLASSES, DenseNet, FEATURES, assert_executors_agree, batch, builder, executors,
    init, start,
};

fn dimensions() -> Vec<usize> {
    vec![6, 6, 6, 9, 9, 5, 5, 5, 7, 7, 7]
}

fn replicated(
    cuts: &Cuts,
    seed: u64,
    dtype: DType,
    workers: usize,
    replicas: usize,
) -> AnyExecutor<DenseNet> {
    let net = DenseNet::residual(dimensions());
    let builder = builder().workers(workers).replicas(replicas).segment_units(2);
    start(builder, &net, cuts, &init(seed, dtype))
}

#[test]
fn replicas_compute_the_step_of_one_chain_on_the_joined_batch() {
    let net = DenseNet::residual(dimensions());
    for dtype in [DType::F32, DType::F64] {
        for (subnetworks, workers, replicas) in [(1, 1, 2), (2, 2, 2), (3, 2, 3), (4, 4, 2)] {
            let cuts = Cuts::even(10, subnetworks).unwrap();
            let (mut sequential, _) = executors(&net, &cuts, &init(1, dtype), 1);
            let mut threads = replicated(&cuts, 1, dtype, workers, replicas);
            // With 13 samples, the parts have different sizes.
            let batch = |step| batch(100 + step, 13, dtype);
            assert_executors_agree(&mut *sequential, &mut *threads, batch, dtype);
        }
    }
}

#[test]
fn gradients_of_all_replicas_are_clipped_together() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 3).unwrap();
    let (mut sequential, _) = executors(&net, &cuts, &init(1, DType::F64), 1);
    let mut threads = replicated(&cuts, 1, DType::F64, 2, 2);
    for step in 0..3 {
        let (input, labels) = batch(step, 9, DType::F64);
        let update = Update { clip_norm: Some(0.1), ..Update::plain(0.1) };
        let expected = sequential.train_step_with(input.clone(), labels.clone(), update).unwrap();
        let found = threads.train_step_with(input, labels, update).unwrap();
        let (found, expected) = (found.gradient_norm.unwrap(), expected.gradient_norm.unwrap());
        assert!(expected > 0.1 && (found - expected).abs() < 1e-12 * expected);
    }
}

#[test]
fn samples_are_spread_over_all_replicas() {
    let cuts = Cuts::even(10, 2).unwrap();
    let mut threads = replicated(&cuts, 1, DType::F64, 2, 3);
    let (input, labels) = batch(1, 2, DType::F64);
    // Inference on two samples uses two of the three replicas. In training, one replica would have no sample.
    assert_eq!(threads.infer(input.clone()).unwrap().dims()[0], 2);
    let error = threads.train_step(input, labels, 0.1).unwrap_err();
    assert_eq!(error, ExecError::Batch { samples: 2, replicas: 3, micro_batches: 1 });
    // Training continues after the error.
    let (input, labels) = batch(1, 3, DType::F64);
    threads.train_step(input, labels, 0.1).unwrap();
}

#[test]
fn a_batch_that_cannot_be_trained_on_in_one_replica_updates_none() {
    for (subnetworks, workers) in [(1, 1), (2, 2), (3, 2)] {
        let cuts = Cuts::even(10, subnetworks).unwrap();
        let mut threads = replicated(&cuts, 1, DType::F32, workers, 2);
        let (input, labels) = batch(1, 6, DType::F32);
        // Only the second replica gets these labels.
        let wrong = Tensor::cat(
            vec![labels.clone().narrow(0, 0, 5), Tensor::from_data([9], &Device::flex())],
            0,
        );
        let nan = input.clone().narrow(0, 5, 1).mul_scalar(f32::NAN);
        let nan = Tensor::cat(vec![input.clone().narrow(0, 0, 5), nan], 0);
        let weights = |threads: &mut AnyExecutor<DenseNet>| {
            let (weights, optimizer) =
                (threads.read(StateKind::Weights), threads.read(StateKind::Optimizer));
            [weights.unwrap(), optimizer.unwrap()].concat()
        };
        threads.train_step(input.clone(), labels.clone(), 0.1).unwrap();
        let before = weights(&mut threads);
        let update = Update { clip_norm: Some(0.1), ..Update::plain(0.1) };
        let error = threads.train_step_with(input.clone(), wrong.clone(), update).unwrap_err();
        let message = "expected class numbers from 0 to 3, found class 9 at sample 2".to_string();
        assert_eq!(error, ExecError::Target(message));
        let error = threads.train_step_with(nan, labels.clone(), update).unwrap_err();
        assert!(matches!(error, ExecError::LossNotFinite { loss } if loss.is_nan()), "{error}");
        let error = threads.gradients(input.clone(), wrong).unwrap_err();
        assert!(matches!(error, ExecError::Target(_)), "{error}");
        parareal_testing::assert_all_close(&weights(&mut threads), &before, 0.0, "state");
        // The abandoned steps have no effect on the next one.
        let mut fresh = replicated(&cuts, 1, DType::F32, workers, 2);
        fresh.train_step(input.clone(), labels.clone(), 0.1).unwrap();
        let expected = fresh.train_step_with(input.clone(), labels.clone(), update).unwrap();
        let found = threads.train_step_with(input, labels, update).unwrap();
        assert_eq!(found.gradient_norm, expected.gradient_norm);
        parareal_testing::assert_all_close(
            &weights(&mut threads),
            &weights(&mut fresh),
            0.0,
            "state",
        );
    }
}

#[test]
fn a_panic_in_one_replica_ends_all() {
    let mut net = DenseNet::residual(dimensions());
    net.panics = Some(5);
    let cuts = Cuts::even(10, 2).unwrap();
    let mut threads = start(builder().workers(2).replicas(2), &net, &cuts, &init(1, DType::F32));
    let (input, labels) = batch(1, 5, DType::F32);
    let message = threads.train_step(input, labels, 0.1).unwrap_err().to_string();
    assert!(message.contains("this unit panics"), "{message}");
}

/// The other replica waits within an operation for a sum that never comes.
#[test]
fn a_panic_in_one_replica_ends_those_that_wait_for_its_sums() {
    let linear = |from, to, init: &Init| LinearConfig::new(from, to).init(init.device());
    let sample = Tensor::<2>::zeros([1, FEATURES], &Device::flex());
    let net =
        Sequential::stem(sample, move |init| layer(linear(FEATURES, 6, init), Linear::forward))
            .units(4, move |_, init| {
                layer(linear(6, 6, init), |unit, x: Tensor<2>| {
                    let y = unit.forward(x.clone());
                    let is_broken = y.clone().contains_nan().into_scalar::<bool>();
                    assert!(!is_broken, "this unit panics");
                    let mean = sum_over_replicas(y.clone().sum_dim(0)).div_scalar(5.0);
                    x + (y - mean).tanh()
                })
            })
            .head(move |init| layer(linear(6, CLASSES, init), Linear::forward))
            .unwrap();
    let cuts = Cuts::even(4, 2).unwrap();
    let builder = builder().workers(2).replicas(2).sync_batch_norm();
    let mut threads = start(builder, &net, &cuts, &init(1, DType::F32));
    let (input, labels) = batch(1, 5, DType::F32);
    // Only the second replica gets this sample.
    let broken = input.clone().narrow(0, 4, 1).mul_scalar(f32::NAN);
    let input = Tensor::cat(vec![input.narrow(0, 0, 4), broken], 0);
    let message = threads.train_step(input, labels, 0.1).unwrap_err().to_string();
    assert!(message.contains("this unit panics"), "{message}");
}

/// An average of equal numbers may differ from the number, because 4/7 x + 3/7 x may be rounded.
#[test]
fn frozen_weights_stay_as_they_are_in_all_replicas() {
    let linear = |from, to, init: &Init| LinearConfig::new(from, to).init(init.device());
    let sample = Tensor::<2>::zeros([1, FEATURES], &Device::flex());
    let net =
        Sequential::stem(sample, move |init| layer(linear(FEATURES, 6, init), Linear::forward))
            .units(4, move |index, init| {
                let unit = linear(6, 6, init);
                let unit = if index == 1 { unit.no_grad() } else { unit };
                layer(unit, |unit, x: Tensor<2>| x.clone() + unit.forward(x).tanh())
            })
            .head(move |init| layer(linear(6, CLASSES, init), Linear::forward))
            .unwrap();
    let cuts = Cuts::even(4, 2).unwrap();
    let network = PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).unwrap();
    let before = network.state_dict();
    let mut threads = builder().workers(2).replicas(2).start(network).unwrap();
    for step in 0..5 {
        let (input, labels) = batch(step, 7, DType::F32);
        threads.train_step(input, labels, 0.05).unwrap();
    }
    for tensor in threads.read(StateKind::Weights).unwrap() {
        let is_frozen = tensor.name.starts_with("units.1.");
        let is_same = tensor.data == before.tensors()[&tensor.name];
        assert_eq!(is_same, is_frozen, "{}", tensor.name);
    }
}
