//! Networks of Burn's layers, interrupted and resumed, on all executors.

use burn::tensor::DType;
use parareal_testing::LayerNet;
use parareal_testing::layers::{
    batch_norm_network, sentences, signal_network, signals, token_network,
};
use parareal_train::prelude::*;
use tempfile::tempdir;

use crate::common::{adamw, epochs};
use crate::resuming::assert_resumes;

/// Returns a trainer for a network in three subnetworks, with AdamW.
fn trainer<N: Coarsen<Output = Tensor<2>>>(
    network: N,
    batch: fn(u64) -> (N::Input, Tensor<1, Int>),
) -> Trainer<N, CrossEntropy> {
    let cuts = Cuts::even(network.units(), 3).unwrap();
    let model = Model::new(network, cuts, CrossEntropy::default(), adamw());
    let data = |seed| {
        let (inputs, targets) = batch(seed);
        TensorDataset::new(inputs, targets).unwrap()
    };
    Trainer::new(model, data(1))
        .validation(data(2))
        .epochs(4)
        .batch_size(6)
        .learning_rate(0.01)
        .seed(3)
        .workers(2)
        .threads(1)
        .keep_checkpoints(100)
}

fn thirty_signals(seed: u64) -> (Tensor<3>, Tensor<1, Int>) {
    signals(seed, 30, DType::F32)
}

#[test]
fn layer_normalization_with_adamw() {
    assert_resumes(&|| trainer(signal_network(), thirty_signals).moving_average(0.9));
}

#[test]
fn batch_normalization_with_adamw() {
    assert_resumes(&|| trainer(batch_norm_network(), thirty_signals));
    assert_resumes(&|| trainer(batch_norm_network(), thirty_signals).moving_average(0.9));
    assert_resumes(&|| trainer(batch_norm_network(), thirty_signals).replicas(2));
    assert_resumes(&|| trainer(batch_norm_network(), thirty_signals).recompute(1));
    // A pool of several threads, any of which may run a step.
    assert_resumes(&|| {
        trainer(batch_norm_network(), thirty_signals)
            .executor(ExecutorKind::Sequential)
            .workers(1)
            .threads(2)
    });
}

#[test]
fn dropout_with_adamw() {
    let make = || {
        let network = LayerNet { units: 5, dropout: 0.3 };
        trainer(network, |seed| parareal_testing::batch(seed, 30, DType::F32))
    };
    assert_resumes(&make);
    assert_resumes(&|| make().recompute(2));
    assert_resumes(&|| make().replicas(2));
}

#[test]
fn embeddings_with_adamw() {
    assert_resumes(&|| trainer(token_network(), |seed| sentences(seed, 30)));
}

#[test]
fn executors_agree_on_losses_and_statistics() {
    let folder = tempdir().unwrap();
    let losses = |name: &str, make: &dyn Fn() -> Trainer<_, CrossEntropy>| -> Vec<f64> {
        let run = folder.path().join(name);
        make().train(&run).unwrap();
        let epochs = epochs(&run);
        epochs.iter().flat_map(|it| [it.train_loss, it.validation_loss.unwrap()]).collect()
    };
    let make = || trainer(batch_norm_network(), thirty_signals).learning_rate(1e-3);
    let expected = losses("sequential", &|| make().executor(ExecutorKind::Sequential).workers(1));
    for workers in 1..=3 {
        let found = losses(&format!("threads-{workers}"), &|| make().workers(workers));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-4 * expected, "{found} {expected}");
        }
    }
}
