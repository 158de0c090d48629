//! The running statistics of `burn::nn::BatchNorm` are up to date after a step, although Burn postpones their
//! updates.

use burn::tensor::{DType, Tensor, TensorData};
use parareal::exec::{StateKind, Update};
use parareal::net::{Cuts, NamedTensor};
use parareal_testing::{
    AnyExecutor, LayerNet, assert_all_close, assert_close, assert_executors_agree,
    assert_recomputing_is_exact, batch, builder, executors_with, init, sgd, start,
};

type Any = AnyExecutor<LayerNet>;

const NET: LayerNet = LayerNet { units: 5, dropout: 0.0 };

fn cuts() -> Cuts {
    Cuts::even(5, 3).unwrap()
}

/// Returns executors of the network: sequential, with workers, with recomputation, and with replicas.
fn executors(seed: u64) -> Vec<(&'static str, Any)> {
    let threads = |workers| builder().workers(workers).threads(2);
    let builders = vec![
        ("sequential", builder().sequential().threads(4)),
        ("one worker", threads(1).segment_units(1)),
        ("three workers", threads(3).segment_units(1)),
        ("recomputation", threads(2).recompute(1)),
        ("replicas", threads(2).segment_units(1).replicas(2)),
    ];
    let start = |builder| start(builder, &NET, &cuts(), &init(seed, DType::F64));
    builders.into_iter().map(|(name, builder)| (name, start(builder))).collect()
}

fn step(executor: &mut Any, step: u64) {
    let (input, labels) = batch(step, 8, DType::F64);
    let update = Update { average_decay: Some(0.5), ..Update::plain(0.05) };
    executor.train_step_with(input, labels, update).unwrap();
}

fn values(tensors: &[NamedTensor], name: &str) -> Vec<f64> {
    let found = tensors.iter().find(|tensor| tensor.name == name);
    found.unwrap_or_else(|| panic!("no {name}")).data.iter::<f64>().collect()
}

#[test]
fn threads_and_sequential_agree() {
    for dtype in [DType::F32, DType::F64] {
        for workers in 1..=3 {
            let (mut sequential, mut threads) =
                executors_with(&NET, &cuts(), &init(1, dtype), workers, 4, &sgd());
            let batch = |step| batch(100 + step, 12, dtype);
            assert_executors_agree(&mut *sequential, &mut *threads, batch, dtype);
        }
    }
}

#[test]
fn recomputation_counts_each_batch_once() {
    for units in [1, 2] {
        assert_recomputing_is_exact(&NET, &cuts(), &init(1, DType::F32), units, |step| {
            batch(step, 12, DType::F32)
        });
    }
}

/// Returns the mean and the biased variance, as in Burn, of `x W` over some of the samples.
fn moments(input: &Tensor<2>, weight: &[f64], part: std::ops::Range<usize>) -> [Vec<f64>; 2] {
    let [_, features] = input.dims();
    let outputs = weight.len() / features;
    let x: Vec<f64> = input.clone().into_data().iter::<f64>().collect();
    let entry = |sample: usize, output: usize| {
        let terms = (0..features).map(|k| x[sample * features + k] * weight[k * outputs + output]);
        terms.sum::<f64>()
    };
    let count = part.len() as f64;
    let mean: Vec<f64> = (0..outputs)
        .map(|output| part.clone().map(|sample| entry(sample, output)).sum::<f64>() / count)
        .collect();
    let variance = (0..outputs).map(|output| {
        let squares = part.clone().map(|sample| (entry(sample, output) - mean[output]).powi(2));
        squares.sum::<f64>() / count
    });
    let variance = variance.collect();
    [mean, variance]
}

#[test]
fn statistics_are_up_to_date_right_after_a_step() {
    for (name, mut executor) in executors(1) {
        // Before the first step, the mean is 0 and the variance is 1.
        let mut expected = [vec![0.0; 6], vec![1.0; 6]];
        let mut average: Option<Vec<f64>> = None;
        for number in 0..3 {
            let before = executor.read(StateKind::Weights).unwrap();
            let (input, _) = batch(number, 8, DType::F64);
            let weight = values(&before, "interfaces.2.preprocessing.linear.weight");
            // Replicas have equal parts of the batch, and their statistics are averaged.
            let size = if name == "replicas" { 4 } else { 8 };
            let parts = (0..8).step_by(size).map(|start| start..start + size);
            let count = parts.len() as f64;
            let mut moved = [vec![0.0; 6], vec![0.0; 6]];
            for part in parts {
                for (into, new) in moved.iter_mut().zip(moments(&input, &weight, part)) {
                    into.iter_mut().zip(new).for_each(|(into, new)| *into += new / count);
                }
            }
            for (expected, new) in expected.iter_mut().zip(moved) {
                expected.iter_mut().zip(new).for_each(|(old, new)| *old = 0.9 * *old + 0.1 * new);
            }
            step(&mut executor, number);
            let after = executor.read(StateKind::Weights).unwrap();
            for (what, expected) in ["running_mean", "running_var"].iter().zip(&expected) {
                let found = values(&after, &format!("interfaces.2.preprocessing.norm.{what}"));
                for (found, expected) in found.iter().zip(expected) {
                    let difference = (found - expected).abs();
                    assert!(difference < 1e-12, "{name}, {what} after step {number}");
                }
            }
            // The moving average is updated with the statistics of the same step.
            let mean = &expected[0];
            let next = match average {
                Some(old) => old.iter().zip(mean).map(|(old, new)| (old + new) / 2.0).collect(),
                None => mean.clone(),
            };
            let found = executor.read(StateKind::Average).unwrap();
            let found = values(&found, "interfaces.2.preprocessing.norm.running_mean");
            for (found, expected) in found.iter().zip(&next) {
                assert!((found - expected).abs() < 1e-12, "{name}, average after step {number}");
            }
            average = Some(next);
        }
    }
}

#[test]
fn a_restored_state_continues_bit_for_bit() {
    for ((name, mut whole), (_, mut resumed)) in executors(1).into_iter().zip(executors(2)) {
        (0..2).for_each(|number| step(&mut whole, number));
        // Earlier batches of the new executor have no effect.
        step(&mut resumed, 7);
        for kind in [StateKind::Weights, StateKind::Optimizer, StateKind::Average] {
            resumed.write(kind, whole.state_dict(kind).unwrap()).unwrap();
        }
        let [loaded, expected] =
            [&mut resumed, &mut whole].map(|e| e.read(StateKind::Weights).unwrap());
        assert_all_close(&loaded, &expected, 0.0, name);
        for number in 2..4 {
            step(&mut whole, number);
            step(&mut resumed, number);
        }
        for kind in [StateKind::Weights, StateKind::Average] {
            let [found, expected] = [&mut resumed, &mut whole].map(|e| e.read(kind).unwrap());
            assert_all_close(&found, &expected, 0.0, name);
        }
        let (input, _) = batch(9, 5, DType::F64);
        let [found, expected]: [TensorData; 2] =
            [&mut resumed, &mut whole].map(|e| e.infer(input.clone()).unwrap().into_data());
        assert_close(&found, &expected, 0.0, name);
    }
}
