//! The same run on several executors.

use std::path::Path;

use burn::optim::ModuleOptimizer;
use parareal_testing::sgd;
use parareal_train::prelude::*;
use tempfile::tempdir;

use crate::common::{DenseTrainer, adamw, epochs, sgd_trainer, trainer};

/// Returns the losses and metrics of all epochs.
fn numbers(run: &Path) -> Vec<f64> {
    let epochs = epochs(run).into_iter().flat_map(|epoch| {
        [epoch.train_loss, epoch.validation_loss.unwrap(), epoch.metrics["accuracy"]]
    });
    epochs.collect()
}

#[test]
fn all_executors_give_the_same_metrics_to_rounding() {
    let folder = tempdir().unwrap();
    for (optimizer, make) in [("sgd", sgd as fn() -> ModuleOptimizer), ("adamw", adamw)] {
        let make = || trainer(make());
        let run = |name: &str, trainer: DenseTrainer| {
            let run = folder.path().join(format!("{optimizer}-{name}"));
            trainer.learning_rate(1e-3).clip_norm(1.0).moving_average(0.9).train(&run).unwrap();
            numbers(&run)
        };
        let expected = run("sequential", make().executor(ExecutorKind::Sequential).workers(1));
        assert_eq!(expected.len(), 12);
        for (name, trainer) in [
            ("1-worker", make().workers(1)),
            ("3-workers", make().workers(3)),
            ("2-replicas", make().workers(1).replicas(2)),
            ("recomputed", make().workers(3).recompute(1)),
        ] {
            let found = run(name, trainer);
            for (found, expected) in found.iter().zip(&expected) {
                let difference = (found - expected).abs();
                assert!(difference < 1e-4, "{optimizer} {name}: {found} {expected}");
            }
        }
    }
}

#[test]
fn a_run_repeats_itself_to_the_bit() {
    let folder = tempdir().unwrap();
    let runs = ["first", "second"].map(|name| folder.path().join(name));
    runs.iter().for_each(|run| drop(sgd_trainer().train(run).unwrap()));
    crate::common::assert_same(&runs[0], &runs[1]);
}
