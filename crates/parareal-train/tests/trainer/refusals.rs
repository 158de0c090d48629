//! Settings and data that nothing can be trained with.

use burn::tensor::{DType, Device, Int, Tensor};
use parareal_testing::{batch, sgd};
use parareal_train::prelude::*;
use tempfile::tempdir;

use crate::common::{DenseTrainer, SAMPLES, model, samples, sgd_trainer, trainer_of};

/// The one line with which a trainer refuses to start. Nothing is left in its folder.
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
    let metric = |name: &str| sgd_trainer().metric(name, |_, _| 0.0);
    for (trainer, expected) in [
        (sgd_trainer().epochs(0), "epochs is 0: at least 1 is expected"),
        (sgd_trainer().batch_size(0), "batch-size is 0: at least 1 is expected"),
        (sgd_trainer().keep_checkpoints(0), "keep-checkpoints is 0"),
        (sgd_trainer().workers(4), "workers is 4: there are 3 subnetworks"),
        (sgd_trainer().workers(0), "workers is 0"),
        (sgd_trainer().threads(0), "threads is 0"),
        (sgd_trainer().threads(1_000), "threads is 1000"),
        (sgd_trainer().replicas(0), "replicas is 0"),
        (sgd_trainer().replicas(7), "replicas is 7: the last batch of an epoch has 6"),
        (sgd_trainer().devices([]), "device is an empty list: at least one device is expected"),
        (
            sgd_trainer().epochs(usize::MAX),
            "epochs is 18446744073709551615: at most 9223372036854775807",
        ),
        (sgd_trainer().batch_size(usize::MAX), "batch-size is 18446744073709551615: at most"),
        (
            sgd_trainer().executor(ExecutorKind::Sequential),
            "workers is 2: the sequential executor has one worker",
        ),
        (
            sgd_trainer().executor(ExecutorKind::Sequential).workers(1).recompute(1),
            "recompute is 1: the sequential executor keeps all states",
        ),
        (sgd_trainer().link_dtype(LinkDtype::F32), "link-dtype is f32: the executor threads"),
        (sgd_trainer().clip_norm(-1.0), "clip-norm is -1.0: a positive number"),
        (sgd_trainer().moving_average(1.5), "moving-average is 1.5"),
        (sgd_trainer().learning_rate(-0.1), "learning-rate is -0.1"),
        (sgd_trainer().learning_rate(Schedule::cosine(f64::NAN)), "learning-rate is NaN"),
        (sgd_trainer().patience(0), "patience is 0"),
        (sgd_trainer().checkpoint_every(CheckpointEvery::Steps(0)), "checkpoint-every is 0"),
        (
            sgd_trainer().best(Objective::highest("recall")),
            "best is highest recall: expected one of: loss, accuracy",
        ),
        (sgd_trainer().best(Objective::error()), "best is lowest error: expected one of: loss"),
        (metric("accuracy"), "metric is accuracy: there is one with this name already"),
        (metric("loss"), "metric is loss: this is the name of the loss"),
        (metric(""), "metric is : a name of 1 to 64"),
        (metric("a\nb"), "metric is a\\nb: a name"),
        (bare().metric("a", |_, _| 0.0), "metric is a: it needs validation samples"),
        (bare().patience(3), "patience is 3: it needs validation samples"),
        (bare().best(Objective::highest("loss")), "best is highest loss: it needs validation"),
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
    assert_eq!(message, "inputs is of shape [5]: the network takes samples of shape [3]");
    let of = |samples: usize, returned: usize| {
        let source = from_fn(samples, move |_: &BatchIndex| Ok(batch(1, returned, DType::F32)));
        Trainer::new(model(sgd(), &[3]), source).threads(1)
    };
    let message = refused(&of(0, 1));
    assert_eq!(message, "training samples is 0: at least 1 is expected");
    let message = refused(&of(8, 9));
    assert!(
        message.contains("returned 9 inputs and 9 targets for batch 0 of a pass: 8"),
        "{message}"
    );
    let message =
        refused(&of(8, 8).validation(from_fn(0, |_: &BatchIndex| Ok(batch(1, 1, DType::F32)))));
    assert_eq!(message, "validation samples is 0: at least 1 is expected");
    let failing = from_fn(8, |_: &BatchIndex| -> Result<(Tensor<2>, Tensor<1, Int>), _> {
        Err("the file is gone".into())
    });
    let message = refused(&Trainer::new(model(sgd(), &[3]), failing));
    assert_eq!(message, "the file is gone");
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
    assert_eq!(error, "the disk is on fire");
    assert_eq!(make(false).resume(&run).unwrap().steps, 10);
}

#[test]
fn a_target_that_does_not_fit_is_an_error() {
    let folder = tempdir().unwrap();
    let device = Device::flex();
    let (inputs, _) = batch(1, 8, DType::F32);
    let wrong =
        || TensorDataset::new(inputs.clone(), Tensor::<1, Int>::full([8], 9, &device)).unwrap();
    let error = trainer_of(model(sgd(), &[3]), wrong()).train(folder.path().join("a")).unwrap_err();
    assert!(error.to_string().contains("class 9 at sample 0"), "{error}");
    let validated = sgd_trainer().validation(wrong());
    let error = validated.train(folder.path().join("b")).unwrap_err();
    assert!(error.to_string().contains("class 9 at sample 0"), "{error}");
}

#[test]
fn a_rate_that_is_not_a_number_is_an_error() {
    let folder = tempdir().unwrap();
    let schedule = Schedule::from_fn(|epoch, _, _| if epoch > 1 { f64::NAN } else { 1e-3 });
    let error = sgd_trainer().learning_rate(schedule).train(folder.path().join("run")).unwrap_err();
    assert!(error.to_string().starts_with("the learning rate is NaN: "), "{error}");
}

#[test]
fn a_run_that_diverges_says_so() {
    let folder = tempdir().unwrap();
    let schedule = Schedule::from_fn(|epoch, _, _| if epoch > 1 { 1e30 } else { 1e-3 });
    let error = sgd_trainer().learning_rate(schedule).train(folder.path().join("run")).unwrap_err();
    assert!(error.to_string().contains("the run has diverged"), "{error}");
    assert!(!error.is_bad_input());
}
