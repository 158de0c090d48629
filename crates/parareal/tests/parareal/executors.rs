//! The executors compute the same step, and fail together.

use std::sync::Arc;
use std::time::Duration;
#[cfg(target_os = "linux")]
use std::time::Instant;

use burn::tensor::{DType, Device, Int, Tensor};
use parareal::exec::{
    CrossEntropy, ExecError, ExecutorBuilder, Layout, LayoutError, Loss, StateKind, Update,
};
use parareal::net::{Cuts, NetError, PararealNetwork, StateDict};
use parareal_testing::{
    DenseNet, assert_all_close, assert_executors_agree, batch, builder, executors, init, sgd, start,
};

fn dimensions() -> Vec<usize> {
    vec![6, 6, 6, 9, 9, 5, 5, 5, 7, 7, 7]
}

#[test]
fn threads_and_sequential_agree() {
    for dtype in [DType::F32, DType::F64] {
        for seed in 1..=3 {
            for subnetworks in [1, 2, 3, 4, 6] {
                for workers in 1..=subnetworks {
                    let net = DenseNet::residual(dimensions());
                    let cuts = Cuts::even(10, subnetworks).unwrap();
                    let (mut sequential, mut threads) =
                        executors(&net, &cuts, &init(seed, dtype), workers);
                    let batch = |step| batch(100 * seed + step, 12, dtype);
                    assert_executors_agree(&mut *sequential, &mut *threads, batch, dtype);
                }
            }
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 4).unwrap();
    let (_, mut threads) = executors(&net, &cuts, &init(1, DType::F64), 2);
    let (input, labels) = batch(1, 5, DType::F64);
    let report = threads.gradients(input.clone(), labels.clone()).unwrap();
    let gradient = report.input.unwrap().into_data().try_into_vec::<f64>().unwrap();
    let values = input.clone().into_data().try_into_vec::<f64>().unwrap();
    let step = 1e-6;
    for (entry, &expected) in gradient.iter().enumerate() {
        let mut loss = |shift: f64| {
            let mut values = values.clone();
            values[entry] += shift;
            let data = burn::tensor::TensorData::new(values, input.dims());
            let moved = Tensor::from_data(data, (&Device::flex(), DType::F64));
            threads.gradients(moved, labels.clone()).unwrap().loss
        };
        let difference = (loss(step) - loss(-step)) / (2.0 * step);
        assert!((difference - expected).abs() < 1e-8, "entry {entry}: {difference} {expected}");
    }
}

#[test]
fn a_panic_ends_the_step_on_all_workers_and_names_its_own() {
    for (panicking_unit, worker) in [(0, 1), (5, 2), (9, 3)] {
        let mut net = DenseNet::residual(dimensions());
        net.panics = Some(panicking_unit);
        let cuts = Cuts::even(10, 3).unwrap();
        let mut threads = start(builder().workers(3), &net, &cuts, &init(1, DType::F32));
        let (input, labels) = batch(1, 5, DType::F32);
        let error = threads.train_step(input.clone(), labels.clone(), 0.1).unwrap_err();
        let message = "this unit panics".to_string();
        let (first, last) = (worker, worker);
        let expected = ExecError::Worker { worker, first, last, message };
        assert_eq!(error, expected);
        let stopped = ExecError::Stopped(Box::new(expected));
        assert_eq!(threads.train_step(input.clone(), labels, 0.1).unwrap_err(), stopped);
        assert_eq!(threads.infer(input).unwrap_err(), stopped);
    }
}

/// A loss that takes time to drop. The reference count shows how many losses are left.
#[derive(Clone)]
struct SlowToDrop {
    _counted: Arc<()>,
}

impl Loss<Tensor<2>> for SlowToDrop {
    type Target = Tensor<1, Int>;

    fn forward(&self, output: Tensor<2>, target: Self::Target) -> Tensor<1> {
        CrossEntropy::default().forward(output, target)
    }
}

impl Drop for SlowToDrop {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn no_thread_outlives_its_executor() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 10).unwrap();
    let left = Arc::new(());
    let loss = SlowToDrop { _counted: Arc::clone(&left) };
    let builder = ExecutorBuilder::new(loss, sgd()).workers(10).threads(1);
    let threads = start(builder, &net, &cuts, &init(1, DType::F32));
    // Each worker has its own loss, and dropping it is the last action on the worker's thread.
    assert_eq!(Arc::strong_count(&left), 1 + 10);
    #[cfg(target_os = "linux")]
    assert!(threads_of_worker_10() >= 2, "the worker's thread and that of its pool");
    drop(threads);
    assert_eq!(Arc::strong_count(&left), 1, "workers are left");
    // A thread pool does not wait for its threads, which end asynchronously.
    #[cfg(target_os = "linux")]
    {
        let begun = Instant::now();
        while threads_of_worker_10() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "threads of a pool are left");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Counts the threads of tenth workers. No other test of this binary has ten workers.
#[cfg(target_os = "linux")]
fn threads_of_worker_10() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.trim_end().split('.').next() == Some("parareal-10")).count()
}

#[test]
fn a_loss_that_is_not_finite_updates_no_parameter() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 3).unwrap();
    let (mut sequential, mut threads) = executors(&net, &cuts, &init(1, DType::F32), 3);
    let (input, labels) = batch(1, 5, DType::F32);
    let broken = input.clone().mul_scalar(f32::NAN);
    for executor in [&mut sequential, &mut threads] {
        let before = executor.read(StateKind::Weights).unwrap();
        let error = executor.train_step(broken.clone(), labels.clone(), 0.1).unwrap_err();
        assert!(matches!(error, ExecError::LossNotFinite { loss } if loss.is_nan()));
        let after = executor.read(StateKind::Weights).unwrap();
        parareal_testing::assert_all_close(&after, &before, 0.0, "weights");
        // Training continues.
        assert!(executor.train_step(input.clone(), labels.clone(), 0.1).unwrap().loss.is_finite());
    }
}

#[test]
fn loaded_weights_are_used() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 3).unwrap();
    let (mut source, _) = executors(&net, &cuts, &init(1, DType::F32), 1);
    let (mut sequential, mut threads) = executors(&net, &cuts, &init(2, DType::F32), 2);
    let (input, _) = batch(1, 5, DType::F32);
    let expected = source.infer(input.clone()).unwrap().into_data();
    let weights = source.state_dict(StateKind::Weights).unwrap();
    let serial = Cuts::even(10, 1).unwrap();
    let (mut serial, _) = executors(&net, &serial, &init(1, DType::F32), 1);
    for executor in [&mut sequential, &mut threads] {
        executor.infer(input.clone()).unwrap();
        let before = executor.read(StateKind::Weights).unwrap();
        executor.write(StateKind::Weights, StateDict::new(cuts.clone(), [])).unwrap_err();
        for part in [StateKind::Weights, StateKind::Optimizer, StateKind::Average] {
            // State with different cuts is rejected for every kind, even if it is empty.
            let other = serial.state_dict(part).unwrap();
            let error = executor.write(part, other).unwrap_err();
            let found = NetError::OtherCuts { expected: vec![4, 7], found: vec![] };
            assert_eq!(error, ExecError::Net(found));
        }
        assert_all_close(&executor.read(StateKind::Weights).unwrap(), &before, 0.0, "weights");
        executor
            .write(StateKind::Weights, serial.state_dict(StateKind::Weights).unwrap().units_only())
            .unwrap();
        executor.write(StateKind::Weights, weights.clone()).unwrap();
        let found = executor.infer(input.clone()).unwrap().into_data();
        parareal_testing::assert_close(&found, &expected, 1e-6, "output");
    }
}

#[test]
fn times_of_subnetworks_fit_into_the_step() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 4).unwrap();
    let (_, mut threads) = executors(&net, &cuts, &init(1, DType::F32), 2);
    let (input, labels) = batch(1, 50, DType::F32);
    let report = threads.train_step(input, labels, 0.1).unwrap();
    assert_eq!(report.subnetworks.len(), 4);
    for (index, time) in report.subnetworks.iter().enumerate() {
        assert!(time.fine > Duration::ZERO && time.fine + time.coarse < report.duration);
        assert_eq!(time.coarse > Duration::ZERO, index > 0);
    }
}

#[test]
fn recomputed_units_give_the_same_gradients() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 3).unwrap();
    for units in [1, 2, 3, usize::MAX] {
        parareal_testing::assert_recomputing_is_exact(
            &net,
            &cuts,
            &init(1, DType::F32),
            units,
            |step| batch(step, 12, DType::F32),
        );
    }
}

#[test]
fn impossible_numbers_of_workers_are_refused() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 3).unwrap();
    for workers in [0, 4] {
        let expected = LayoutError::Workers { workers, subnetworks: 3 };
        assert_eq!(Layout::threads(3, workers, 1), Err(expected.clone()));
        let network = PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).unwrap();
        let refused = builder().workers(workers).start(network).map(|_| ()).unwrap_err();
        assert_eq!(refused, ExecError::Layout(expected));
    }
}

#[test]
fn workers_hold_the_given_numbers_of_subnetworks() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 4).unwrap();
    let threads = |held: &[usize]| {
        let network = PararealNetwork::build(&net, &cuts, &init(1, DType::F64)).unwrap();
        builder().subnetworks_per_worker(held).start(network)
    };
    let (mut sequential, _) = executors(&net, &cuts, &init(1, DType::F64), 1);
    let (input, labels) = batch(1, 8, DType::F64);
    let expected = sequential.gradients(input.clone(), labels.clone()).unwrap();
    for held in [[3, 1], [1, 3]] {
        let found = threads(&held).unwrap().gradients(input.clone(), labels.clone()).unwrap();
        assert_all_close(&found.gradients, &expected.gradients, 1e-10, "gradient");
    }
    for held in [&[2, 1][..], &[2, 3], &[1, 1, 1]] {
        let refused = threads(held).map(|_| ()).unwrap_err();
        let expected = LayoutError::OtherNetwork { layout: held.iter().sum(), network: 4 };
        assert_eq!(refused, ExecError::Layout(expected));
    }
}

#[test]
fn a_long_gradient_is_clipped_over_all_workers() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 3).unwrap();
    let (input, labels) = batch(1, 12, DType::F64);
    for workers in [1, 3] {
        let (mut sequential, mut threads) = executors(&net, &cuts, &init(1, DType::F64), workers);
        let report = threads.gradients(input.clone(), labels.clone()).unwrap();
        let squares = report
            .gradients
            .iter()
            .map(|gradient| gradient.data.iter::<f64>().map(|value| value * value).sum::<f64>());
        let norm = squares.sum::<f64>().sqrt();
        let before = threads.read(StateKind::Weights).unwrap();
        // In the first step, the momentum is the gradient itself.
        let update = Update { clip_norm: Some(norm / 4.0), ..Update::plain(1.0) };
        for executor in [&mut threads, &mut sequential] {
            let (input, labels) = (input.clone(), labels.clone());
            let report = executor.train_step_with(input, labels, update).unwrap();
            assert!((report.gradient_norm.unwrap() / norm - 1.0).abs() < 1e-12);
        }
        let after = threads.read(StateKind::Weights).unwrap();
        assert_all_close(&after, &sequential.read(StateKind::Weights).unwrap(), 1e-12, "clipped");
        let moved = before.iter().zip(&after).filter(|(before, _)| before.trainable);
        let squares = moved.flat_map(|(before, after)| {
            let pairs = before.data.iter::<f64>().zip(after.data.iter::<f64>());
            pairs.map(|(before, after)| (before - after).powi(2)).collect::<Vec<_>>()
        });
        let step = squares.sum::<f64>().sqrt();
        assert!((step / (norm / 4.0) - 1.0).abs() < 1e-5, "{step} {norm}");

        // A gradient with a smaller norm is not changed.
        let update = Update { clip_norm: Some(1e6), ..Update::plain(0.1) };
        let (input, labels) = (input.clone(), labels.clone());
        threads.train_step_with(input.clone(), labels.clone(), update).unwrap();
        sequential.train_step(input, labels, 0.1).unwrap();
        let found = threads.read(StateKind::Weights).unwrap();
        assert_all_close(
            &found,
            &sequential.read(StateKind::Weights).unwrap(),
            1e-12,
            "not clipped",
        );
    }
}

#[test]
fn invalid_batches_and_updates_are_refused_and_change_no_parameter() {
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 3).unwrap();
    let (mut sequential, mut threads) = executors(&net, &cuts, &init(1, DType::F32), 3);
    let mut replicas = start(builder().workers(2).replicas(2), &net, &cuts, &init(1, DType::F32));
    let (input, labels) = batch(1, 5, DType::F32);
    let plain = Update::plain(0.1);
    let rate = |learning_rate| Update::plain(learning_rate);
    let clip = |norm| Update { clip_norm: Some(norm), ..plain };
    let decay = |decay| Update { average_decay: Some(decay), ..plain };
    let labelled = |label: i32| {
        let wrong = Tensor::from_data([label], &Device::flex());
        Tensor::cat(vec![labels.clone().narrow(0, 0, 4), wrong], 0)
    };
    let more = Tensor::cat(vec![labels.clone(), labels.clone()], 0);
    let fewer = labels.clone().narrow(0, 0, 4);
    let faults = [
        (
            fewer,
            plain,
            "the batch has 5 samples and 4 targets: expected one target for each sample",
        ),
        (
            more,
            plain,
            "the batch has 5 samples and 10 targets: expected one target for each sample",
        ),
        (
            labelled(4),
            plain,
            "the target does not fit the output: expected class numbers from 0 to 3, found class 4 at sample",
        ),
        (
            labelled(-1),
            plain,
            "the target does not fit the output: expected class numbers from 0 to 3, found class -1 at sample",
        ),
        (
            labels.clone(),
            rate(f64::NAN),
            "invalid value `NaN` for the learning rate: expected a finite number of at least 0",
        ),
        (labels.clone(), rate(f64::INFINITY), "invalid value `inf` for the learning rate"),
        (labels.clone(), rate(-0.1), "invalid value `-0.1` for the learning rate"),
        (
            labels.clone(),
            clip(f64::NAN),
            "invalid value `NaN` for the gradient clipping norm: expected a positive number",
        ),
        (labels.clone(), clip(-1.0), "invalid value `-1` for the gradient clipping norm"),
        (labels.clone(), clip(0.0), "invalid value `0` for the gradient clipping norm"),
        (
            labels.clone(),
            decay(f64::NAN),
            "invalid value `NaN` for the decay of the moving average: expected a number in [0, 1]",
        ),
        (labels.clone(), decay(1.5), "invalid value `1.5` for the decay of the moving average"),
        (labels.clone(), decay(-0.5), "invalid value `-0.5` for the decay of the moving average"),
    ];
    for executor in [&mut sequential, &mut threads, &mut replicas] {
        let before = executor.read(StateKind::Weights).unwrap();
        for (labels, update, expected) in &faults {
            let refused = executor.train_step_with(input.clone(), labels.clone(), *update);
            let error = refused.map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            if *update == plain {
                let refused = executor.gradients(input.clone(), labels.clone());
                assert_eq!(refused.map(|_| ()).unwrap_err().to_string(), error);
            }
        }
        let none = Tensor::<2>::zeros([0, parareal_testing::FEATURES], &Device::flex());
        let no_labels = Tensor::<1, burn::tensor::Int>::zeros([0], &Device::flex());
        let refused = executor.train_step(none.clone(), no_labels, 0.1).map(|_| ()).unwrap_err();
        assert_eq!(refused, ExecError::EmptyBatch);
        assert_eq!(executor.infer(none).map(|_| ()).unwrap_err(), ExecError::EmptyBatch);
        assert!(
            executor.read(StateKind::Average).unwrap().is_empty()
                && executor.read(StateKind::Optimizer).unwrap().is_empty()
        );
        assert_all_close(&executor.read(StateKind::Weights).unwrap(), &before, 0.0, "weights");
        // Training continues.
        let update = Update { clip_norm: Some(f64::INFINITY), ..plain };
        let report = executor.train_step_with(input.clone(), labels.clone(), update).unwrap();
        assert!(report.gradient_norm.unwrap() > 0.0);
    }
}
