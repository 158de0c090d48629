//! Complete runs.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::nn::{Linear, LinearConfig};
use parareal_run::{EpochRecord, StepRecord};
use parareal_testing::sgd;
use parareal_train::prelude::*;
use tempfile::tempdir;

use crate::common::{SAMPLES, adamw, best, epochs, samples, sgd_trainer, trainer};

#[test]
fn training_improves_loss_and_metric_of_other_samples() {
    let folder = tempdir().unwrap();
    for (name, trainer) in [("sgd", sgd_trainer().learning_rate(0.05)), ("adamw", trainer(adamw()))]
    {
        let run = folder.path().join(name);
        let outcome = trainer.epochs(12).train(&run).unwrap();
        let epochs = epochs(&run);
        assert_eq!((outcome.epochs, outcome.steps, epochs.len()), (12, 12 * 5, 12));
        let (first, last) = (&epochs[0], &epochs[11]);
        assert!(last.train_loss < 0.7 * first.train_loss, "{name}: {first:?} {last:?}");
        assert!(last.validation_loss.unwrap() < 0.9 * first.validation_loss.unwrap());
        assert!(last.metrics["accuracy"] > 0.6, "{name}: {last:?}");
        assert_eq!(outcome.validation_loss, last.validation_loss);
        assert_eq!(outcome.metrics, last.metrics);
        assert!(!outcome.interrupted && !outcome.out_of_patience);
    }
}

#[test]
fn evaluations_of_a_checkpoint_are_those_of_its_epoch() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let trainer = sgd_trainer().moving_average(0.9);
    trainer.train(&run).unwrap();
    let epochs = epochs(&run);
    for (choice, epoch) in [(CheckpointChoice::Step(10), 2), (CheckpointChoice::Latest, 4)] {
        let found = trainer.evaluate(&run, choice).unwrap();
        let expected = &epochs[epoch - 1];
        assert_eq!((found.epoch, found.step, found.samples), (epoch, 5 * epoch, 20));
        assert_eq!(Some(found.loss), expected.validation_loss);
        assert_eq!(found.metrics, expected.metrics);
    }
    // The means do not depend on the batch size.
    let found = trainer.evaluate(&run, CheckpointChoice::Latest).unwrap();
    let others = sgd_trainer().batch_size(7).evaluate(&run, CheckpointChoice::Latest).unwrap();
    assert!((found.loss - others.loss).abs() < 1e-6);
    assert!((found.metrics["accuracy"] - others.metrics["accuracy"]).abs() < 1e-12);
    let test = trainer.evaluate_on(&run, CheckpointChoice::Best, &samples(9, 11)).unwrap();
    assert_eq!(test.samples, 11);
    // The loaded network is the one that was evaluated.
    let network = trainer.load(&run, CheckpointChoice::Latest).unwrap();
    let (inputs, _) = parareal_testing::batch(2, 20, burn::tensor::DType::F32);
    let classes = inputs.clone().argmax(1).reshape([20]);
    let right = accuracy(network.forward(inputs), classes);
    assert!((right - found.metrics["accuracy"]).abs() < 1e-12);
}

#[test]
fn samples_may_come_from_a_device_that_tracks_gradients() {
    let folder = tempdir().unwrap();
    let losses = [false, true].map(|tracks| {
        let batches = move |count| {
            from_fn(count, move |index: &BatchIndex| {
                let (inputs, targets) = samples(1, count).batch(index)?;
                Ok((if tracks { inputs.autodiff() } else { inputs }, targets))
            })
        };
        let (inputs, targets) = parareal_testing::batch(2, 20, burn::tensor::DType::F32);
        let inputs = if tracks { inputs.autodiff() } else { inputs };
        let kept = TensorDataset::new(inputs, targets).unwrap();
        let trainer = Trainer::new(crate::common::model(sgd(), &[3]), batches(SAMPLES));
        let run = folder.path().join(tracks.to_string());
        let trainer = trainer.validation(batches(20)).epochs(1).threads(1);
        let outcome = trainer.train(&run).unwrap();
        let test = trainer.evaluate_on(&run, CheckpointChoice::Latest, &kept).unwrap();
        (outcome.train_loss, outcome.validation_loss, test.loss)
    });
    assert_eq!(losses[0], losses[1]);
}

#[test]
fn the_best_checkpoint_is_that_of_the_objective() {
    let folder = tempdir().unwrap();
    // Scores of the epochs: rising and falling, and one NaN.
    let scores = [0.2, f64::NAN, 0.6, 0.6, 0.1, 0.3];
    let scored = |objective| {
        let calls = AtomicUsize::new(0);
        // Twenty validation samples make four batches. The first call of the metric is a check before the run
        // starts.
        let score = move |_, _| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            scores[call.saturating_sub(1) / 4 % 6]
        };
        sgd_trainer().epochs(6).metric("score", score).best(objective)
    };
    for (name, objective, step) in
        [("highest", Objective::highest("score"), 15), ("lowest", Objective::lowest("score"), 25)]
    {
        let run = folder.path().join(name);
        scored(objective).keep_checkpoints(1).train(&run).unwrap();
        assert_eq!(best(&run), Some((step, "score".into())));
        let mut kept: Vec<String> = fs::read_dir(run.join("checkpoints"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("step-"))
            .collect();
        kept.sort();
        assert_eq!(kept, [format!("step-{step:08}"), "step-00000030".into()]);
        let loaded = sgd_trainer().evaluate(&run, CheckpointChoice::Best).unwrap();
        assert_eq!(loaded.step as u64, step);
    }
    let run = folder.path().join("patience");
    let outcome = scored(Objective::highest("score")).patience(2).train(&run).unwrap();
    assert_eq!((outcome.epochs, outcome.out_of_patience), (5, true));
    assert!(epochs(&run)[1].metrics["score"].is_nan());
    // Nothing is left to do, unless there is more patience.
    let resumed = sgd_trainer()
        .epochs(6)
        .metric("score", move |_, _| 0.0)
        .best(Objective::highest("score"))
        .patience(2)
        .resume(&run)
        .unwrap();
    assert_eq!((resumed.epochs, resumed.out_of_patience), (5, true));
}

#[test]
fn without_validation_there_are_no_metrics_and_no_best() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let model = crate::common::model(sgd(), &[3]);
    let trainer = Trainer::new(model, samples(1, SAMPLES)).epochs(2).threads(1);
    let outcome = trainer.train(&run).unwrap();
    assert_eq!((outcome.epochs, outcome.validation_loss), (2, None));
    assert!(outcome.metrics.is_empty() && best(&run).is_none());
    let error = trainer.evaluate(&run, CheckpointChoice::Latest).unwrap_err().to_string();
    assert_eq!(error, "no validation samples: expected at least 1");
    let error = trainer.load(&run, CheckpointChoice::Best).err().unwrap().to_string();
    assert!(error.starts_with("invalid value `best` for checkpoint: not found"), "{error}");
}

/// Records that an observer has received.
#[derive(Default)]
struct Seen {
    steps: Vec<usize>,
    epochs: Vec<usize>,
}

impl Observer for Seen {
    fn on_step(&mut self, record: &StepRecord) {
        self.steps.push(record.step);
    }

    fn on_epoch(&mut self, record: &EpochRecord) {
        assert!(record.metrics.contains_key("accuracy"));
        self.epochs.push(record.epoch);
    }
}

#[test]
fn an_observer_sees_each_step_and_each_epoch() {
    let folder = tempdir().unwrap();
    let mut seen = Seen::default();
    sgd_trainer().train_with(folder.path().join("run"), &mut seen, &|| false).unwrap();
    assert!(seen.steps.into_iter().eq(1..=20));
    assert_eq!(seen.epochs, [1, 2, 3, 4]);
}

#[test]
fn events_for_tensorboard_have_the_metrics() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    sgd_trainer().epochs(1).train(&run).unwrap();
    let events = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().path());
    let events = events.filter(|path| path.to_string_lossy().contains("tfevents"));
    let content: Vec<u8> = events.flat_map(|path| fs::read(path).unwrap()).collect();
    for tag in ["metric/accuracy", "loss/validation"] {
        assert!(content.windows(tag.len()).any(|found| found == tag.as_bytes()), "{tag}");
    }
}

#[test]
fn classes_excluded_by_infinite_scores_are_not_a_divergence() {
    let folder = tempdir().unwrap();
    let linear = |from, to, init: &Init| LinearConfig::new(from, to).init(init.device());
    let data = |seed| {
        let (inputs, _) = parareal_testing::batch(seed, 12, burn::tensor::DType::F32);
        let classes = inputs.clone().narrow(1, 0, 2).argmax(1).reshape([12]);
        (inputs, classes)
    };
    let [(inputs, classes), (others, other_classes)] = [1, 2].map(data);
    let network =
        Sequential::stem(inputs.clone(), move |init| layer(linear(3, 8, init), Linear::forward));
    let network = network
        .units(2, move |_, init| layer(linear(8, 8, init), Linear::forward))
        .head(move |init| {
            layer(linear(8, 2, init), |linear: &Linear, x: Tensor<2>| {
                let scores = linear.forward(x);
                let excluded =
                    Tensor::full([scores.dims()[0], 1], f32::NEG_INFINITY, &scores.device());
                Tensor::cat(vec![scores, excluded], 1)
            })
        })
        .unwrap();
    let model = Model::new(network, Cuts::even(2, 2).unwrap(), CrossEntropy::default(), adamw());
    let trainer = Trainer::new(model, TensorDataset::new(inputs, classes).unwrap());
    let trainer = trainer.validation(TensorDataset::new(others, other_classes).unwrap());
    let outcome = trainer.epochs(2).threads(1).train(folder.path().join("run")).unwrap();
    assert!(outcome.validation_loss.unwrap().is_finite());
}
