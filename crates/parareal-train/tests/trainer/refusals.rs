//! Invalid settings and data.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{DType, Device, Int, Tensor};
use parareal_testing::{CLASSES, batch, sgd};
use parareal_train::prelude::*;
use tempfile::tempdir;

use crate::common::{DenseTrainer, SAMPLES, model, network, samples, sgd_trainer, trainer_of};

/// Returns the error message with which a trainer refuses to start. Asserts that the message is one line and that
/// nothing was written.
#[track_caller]
fn refused(trainer: &DenseTrainer) -> String {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let error = trainer.train(&run).unwrap_err();
    let message = error.to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(!run.exists(), "{message}");
    message
}

fn bare() -> DenseTrainer {
    Trainer::new(model(sgd(), &[3]), samples(1, SAMPLES)).threads(1)
}

#[test]
fn wrong_settings_are_refused_with_one_clear_line() {
    let timeline = |name: &str| sgd_trainer().timeline(StepTimeline::new(name));
    let metric = |name: &str| sgd_trainer().metric(name, |_, _| 0.0);
    for (trainer, expected) in [
        (sgd_trainer().epochs(0), "invalid value `0` for epochs: expected at least 1"),
        (sgd_trainer().batch_size(0), "invalid value `0` for batch-size: expected at least 1"),
        (sgd_trainer().keep_checkpoints(0), "invalid value `0` for keep-checkpoints"),
        (sgd_trainer().workers(4), "invalid value `4` for workers: expected a number from 1 to 3"),
        (sgd_trainer().workers(0), "invalid value `0` for workers"),
        (sgd_trainer().threads(0), "invalid value `0` for threads"),
        (sgd_trainer().threads(1_000), "invalid value `1000` for threads"),
        (sgd_trainer().replicas(0), "invalid value `0` for replicas"),
        (
            sgd_trainer().replicas(7),
            "invalid value `7` for replicas: the last batch of an epoch has 6",
        ),
        (sgd_trainer().devices([]), "invalid value `[]` for device: expected at least one device"),
        (
            sgd_trainer().epochs(usize::MAX),
            "invalid value `18446744073709551615` for epochs: expected at most 9223372036854775807",
        ),
        (
            sgd_trainer().batch_size(usize::MAX),
            "invalid value `18446744073709551615` for batch-size: expected at most",
        ),
        (
            sgd_trainer().executor(ExecutorKind::Sequential),
            "invalid value `2` for workers: the sequential executor has a single worker",
        ),
        (
            sgd_trainer().executor(ExecutorKind::Sequential).workers(1).recompute(1),
            "invalid value `1` for recompute: the sequential executor keeps all states",
        ),
        (
            timeline("step.svg").executor(ExecutorKind::Sequential).workers(1),
            "invalid value `step.svg` for timeline: the sequential executor has no timeline; leave it unset, or use",
        ),
        (timeline("step.png"), "cannot write step.png: expected a name that ends in .json"),
        (timeline("step"), "cannot write step: expected a name that ends in .json"),
        (timeline("none/step.svg"), "cannot write none/step.svg: folder none not found"),
        (
            sgd_trainer().timeline(StepTimeline::new("step.svg").step(0)),
            "invalid value `0` for timeline-step: expected a step from 1 to 20",
        ),
        (
            sgd_trainer().timeline(StepTimeline::new("step.svg").step(21)),
            "invalid value `21` for timeline-step: expected a step from 1 to 20",
        ),
        (
            sgd_trainer().link_dtype(LinkDtype::F32),
            "invalid value `f32` for link-dtype: the executor threads",
        ),
        (
            sgd_trainer().clip_norm(-1.0),
            "invalid value `-1.0` for clip-norm: expected a positive number",
        ),
        (sgd_trainer().moving_average(1.5), "invalid value `1.5` for moving-average"),
        (sgd_trainer().learning_rate(-0.1), "invalid value `-0.1` for learning-rate"),
        (
            sgd_trainer().learning_rate(Schedule::cosine(f64::NAN)),
            "invalid value `NaN` for learning-rate",
        ),
        (sgd_trainer().patience(0), "invalid value `0` for patience"),
        (
            sgd_trainer().checkpoint_every(CheckpointEvery::Steps(0)),
            "invalid value `0` for checkpoint-every",
        ),
        (
            sgd_trainer().best(Objective::highest("recall")),
            "invalid value `highest recall` for best: expected one of loss, accuracy",
        ),
        (
            sgd_trainer().best(Objective::error()),
            "invalid value `lowest error` for best: expected one of loss",
        ),
        (metric("accuracy"), "invalid value `accuracy` for metric: another metric has this name"),
        (metric("loss"), "invalid value `loss` for metric: the loss has this name"),
        (metric(""), "invalid value `` for metric: expected a name of 1 to 64"),
        (metric("a\nb"), "invalid value `a\\nb` for metric: expected a name"),
        (
            bare().metric("a", |_, _| 0.0),
            "invalid value `a` for metric: requires validation samples",
        ),
        (bare().patience(3), "invalid value `3` for patience: requires validation samples"),
        (
            bare().best(Objective::highest("loss")),
            "invalid value `highest loss` for best: requires validation",
        ),
    ] {
        let message = refused(&trainer);
        assert!(message.starts_with(expected), "{message}");
    }
    #[cfg(not(feature = "mpi"))]
    {
        let message = refused(&sgd_trainer().executor(ExecutorKind::Mpi));
        assert!(message.contains("built without MPI"), "{message}");
    }
}

#[test]
fn data_that_does_not_fit_is_refused_with_one_clear_line() {
    let device = Device::flex();
    let inputs = Tensor::<2>::zeros([4, 5], &device);
    let wide = TensorDataset::new(inputs, Tensor::<1, Int>::zeros([4], &device)).unwrap();
    let message = refused(&Trainer::new(model(sgd(), &[3]), wide));
    assert_eq!(
        message,
        "batch 0 of training epoch 1: the inputs have shape [5], but the network expects samples of shape [3]"
    );
    let of = |samples: usize, returned: usize| {
        let source = from_fn(samples, move |_: &BatchIndex| Ok(batch(1, returned, DType::F32)));
        Trainer::new(model(sgd(), &[3]), source).threads(1)
    };
    let message = refused(&of(0, 1));
    assert_eq!(message, "invalid value `0` for number of training samples: expected at least 1");
    let message = refused(&of(8, 9));
    let returned = "the source returned 9 inputs and 9 targets: expected 8 of each";
    assert_eq!(message, format!("batch 0 of training epoch 1: {returned}"));
    let message =
        refused(&of(8, 8).validation(from_fn(0, |_: &BatchIndex| Ok(batch(1, 1, DType::F32)))));
    assert_eq!(message, "no validation samples: expected at least 1");
    let failing = from_fn(8, |_: &BatchIndex| -> Result<(Tensor<2>, Tensor<1, Int>), _> {
        Err("the file is gone".into())
    });
    let message = refused(&Trainer::new(model(sgd(), &[3]), failing));
    assert_eq!(message, "batch 0 of training epoch 1: the file is gone");
}

#[test]
fn what_cannot_be_computed_is_refused_before_anything_is_written() {
    let broken = sgd_trainer().metric("broken", |_, _| panic!("no metric"));
    assert!(refused(&broken).contains("the metric `broken` panicked: no metric"));
    let device = Device::flex();
    let inputs = Tensor::<2>::full([4, 3], f32::NAN, &device);
    let data = TensorDataset::new(inputs, Tensor::<1, Int>::zeros([4], &device)).unwrap();
    let message = refused(&Trainer::new(model(sgd(), &[3]), data));
    assert!(message.contains("the loss is NaN before any training"), "{message}");
}

#[test]
fn an_error_of_the_source_ends_the_run_and_it_can_be_resumed() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let make = |fails: bool| {
        let data = samples(1, SAMPLES);
        let source = from_fn(SAMPLES, move |index: &BatchIndex| match index.pass {
            Pass::Training { epoch: 2, .. } if fails && index.step == 2 => {
                Err("the disk is on fire".into())
            }
            _ => data.batch(index),
        });
        Trainer::new(model(sgd(), &[2, 4]), source).batch_size(6).epochs(2).threads(1)
    };
    let error = make(true).train(&run).unwrap_err().to_string();
    assert_eq!(error, "batch 2 of training epoch 2: the disk is on fire");
    assert_eq!(make(false).resume(&run).unwrap().steps, 10);
}

#[test]
fn a_target_that_does_not_fit_is_refused_before_anything_is_written() {
    let device = Device::flex();
    let (inputs, _) = batch(1, 8, DType::F32);
    let wrong =
        || TensorDataset::new(inputs.clone(), Tensor::<1, Int>::full([8], 9, &device)).unwrap();
    let message = refused(&trainer_of(model(sgd(), &[3]), wrong()));
    assert!(message.starts_with("batch 0 of training epoch 1: the target does"), "{message}");
    assert!(message.contains("class 9 at sample 0"), "{message}");
    let message = refused(&sgd_trainer().validation(wrong()));
    assert!(message.starts_with("batch 0 of an evaluation: the target does"), "{message}");
    assert!(message.contains("class 9 at sample 0"), "{message}");
}

/// Trains a network with a custom loss and regression targets, and returns the error.
fn error_with_loss(
    loss: impl Loss<Tensor<2>, Target = Tensor<2>>,
    targets: f32,
    validation: f32,
) -> String {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let data = |seed, value| {
        let (inputs, _) = batch(seed, 12, DType::F32);
        let targets = Tensor::<2>::full([12, CLASSES], value, &Device::flex());
        TensorDataset::new(inputs, targets).unwrap()
    };
    let cuts = Cuts::new(6, vec![3]).unwrap();
    let model = Model::new(network(), cuts, loss, sgd());
    let trainer = Trainer::new(model, data(1, targets)).validation(data(2, validation));
    let error = trainer.epochs(1).threads(1).train(&run).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    // Files are written only if the first batches were accepted.
    assert_eq!(run.exists(), !error.starts_with("batch 0 of training epoch 1"), "{error}");
    error
}

#[test]
fn a_loss_that_cannot_be_computed_is_refused_before_anything_is_written() {
    let elements =
        loss_fn(|output: Tensor<2>, target: Tensor<2>| (output - target).mean_dim(1).reshape([-1]));
    let message = error_with_loss(elements, 0.0, 0.0);
    let expected = "batch 0 of training epoch 1: the loss has 4 elements: expected a single number";
    assert!(message.starts_with(expected), "{message}");
    let panicking = loss_fn(|_: Tensor<2>, _: Tensor<2>| -> Tensor<1> { panic!("no\nsuch loss") });
    let message = error_with_loss(panicking, 0.0, 0.0);
    let expected = "batch 0 of training epoch 1: the network or the loss panicked: no\\nsuch loss";
    assert_eq!(message, expected);
    let wide = TensorDataset::new(
        batch(1, 8, DType::F64).0,
        Tensor::<1, Int>::zeros([8], &Device::flex()),
    );
    let message = refused(&trainer_of(model(sgd(), &[3]), wide.unwrap()));
    assert!(message.starts_with("batch 0 of training epoch 1: the network or"), "{message}");
}

#[test]
fn a_loss_that_is_not_finite_is_not_mistaken_for_an_output() {
    let message = error_with_loss(MeanSquaredError, 0.0, 1e30);
    let expected =
        "the loss for the validation samples is not finite after step 1 (loss inf): the run";
    assert!(message.starts_with(expected), "{message}");
}

/// Returns a source whose inputs have a different shape in one batch.
fn with_wide(pass: Pass, step: usize) -> impl Source<Input = Tensor<2>, Target = Tensor<1, Int>> {
    from_fn(12, move |index: &BatchIndex| {
        let is_same = match (index.pass, pass) {
            (Pass::Training { epoch, .. }, Pass::Training { epoch: wide, .. }) => epoch == wide,
            (Pass::Evaluation, Pass::Evaluation) => true,
            _ => false,
        };
        let (inputs, targets) = batch(1, index.samples.len(), DType::F32);
        let wide = is_same && index.step == step;
        Ok((if wide { inputs.repeat_dim(1, 2) } else { inputs }, targets))
    })
}

#[test]
fn a_later_batch_of_another_shape_is_named() {
    let folder = tempdir().unwrap();
    let run = |name: &str| folder.path().join(name);
    let reason = "the inputs have shape [6], but the network expects samples of shape [3]";
    let second = Pass::Training { seed: 0, epoch: 2 };
    let trainer = Trainer::new(model(sgd(), &[3]), with_wide(second, 1)).batch_size(4).threads(1);
    let error = trainer.train(run("training")).unwrap_err().to_string();
    assert_eq!(error, format!("batch 1 of training epoch 2: {reason}"));
    let validated = sgd_trainer().validation(with_wide(Pass::Evaluation, 1));
    let error = validated.train(run("validation")).unwrap_err().to_string();
    assert_eq!(error, format!("batch 1 of an evaluation: {reason}"));
    sgd_trainer().epochs(1).train(run("whole")).unwrap();
    let wide = with_wide(Pass::Evaluation, 1);
    let error = sgd_trainer().evaluate_on(run("whole"), CheckpointChoice::Latest, &wide);
    assert_eq!(error.unwrap_err().to_string(), format!("batch 1 of an evaluation: {reason}"));
}

#[test]
fn a_source_that_returns_another_batch_for_the_same_index_is_refused() {
    let calls = AtomicUsize::new(0);
    let source = from_fn(12, move |index: &BatchIndex| {
        let seed = calls.fetch_add(1, Ordering::Relaxed) as u64;
        Ok(batch(seed, index.samples.len(), DType::F32))
    });
    let message = refused(&Trainer::new(model(sgd(), &[3]), source).threads(1));
    let expected = "batch 0 of training epoch 1: the source returned a different batch when asked";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn an_evaluation_without_samples_and_a_folder_without_a_name_are_refused() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    sgd_trainer().epochs(1).train(&run).unwrap();
    let empty = from_fn(0, |_: &BatchIndex| Ok(batch(1, 1, DType::F32)));
    let error = sgd_trainer().evaluate_on(&run, CheckpointChoice::Latest, &empty).unwrap_err();
    assert_eq!(error.to_string(), "no evaluation samples: expected at least 1");
    for error in [sgd_trainer().train(""), sgd_trainer().resume("")] {
        let expected = "invalid value `` for folder: expected the path of a folder";
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_rate_that_is_not_a_number_is_an_error() {
    let folder = tempdir().unwrap();
    let schedule = Schedule::from_fn(|epoch, _, _| if epoch > 1 { f64::NAN } else { 1e-3 });
    let error = sgd_trainer().learning_rate(schedule).train(folder.path().join("run")).unwrap_err();
    assert!(
        error.to_string().starts_with("invalid value `NaN` for the learning rate: "),
        "{error}"
    );
}

#[test]
fn a_run_that_diverges_says_so() {
    let folder = tempdir().unwrap();
    let schedule = Schedule::from_fn(|epoch, _, _| if epoch > 1 { 1e30 } else { 1e-3 });
    let error = sgd_trainer().learning_rate(schedule).train(folder.path().join("run")).unwrap_err();
    assert!(error.to_string().contains("the run has diverged"), "{error}");
    assert!(!error.is_bad_input());
}
