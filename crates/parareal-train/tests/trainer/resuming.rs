//! Runs that are interrupted and resumed.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdafactorConfig, AdamConfig, AdamWConfig, AdanConfig, LambConfig, LionConfig,
    ModuleOptimizer, MuonConfig, RmsPropConfig, SgdConfig,
};
use parareal_run::{EpochRecord, StepRecord};
use parareal_testing::sgd;
use parareal_train::prelude::*;
use parareal_train::{Decay, LearningRate};
use tempfile::tempdir;

use crate::common::{
    DenseTrainer, SAMPLES, adamw, assert_same, copy, epochs, lines, model, samples, sgd_trainer,
    trainer, trainer_of,
};

/// Trains until a step is done, and then stops the run.
fn train_until<N>(step: usize, trainer: &Trainer<N, CrossEntropy>, run: &Path) -> Outcome
where
    N: Coarsen<Output = Tensor<2>>,
{
    let done = Cell::new(0);
    let outcome = trainer.train_with(run, &mut Counter(&done), &|| done.get() >= step).unwrap();
    assert!(outcome.interrupted && outcome.steps == step);
    outcome
}

/// Records the last step.
struct Counter<'a>(&'a Cell<usize>);

impl Observer for Counter<'_> {
    fn on_step(&mut self, record: &StepRecord) {
        self.0.set(record.step);
    }

    fn on_epoch(&mut self, _: &EpochRecord) {}
}

/// Copies the folder of a run at a step, in the state that a kill at that moment would leave.
struct CopyAt<'a> {
    step: usize,
    run: &'a Path,
    to: &'a Path,
}

impl Observer for CopyAt<'_> {
    fn on_step(&mut self, record: &StepRecord) {
        if record.step == self.step {
            copy(self.run, self.to);
        }
    }

    fn on_epoch(&mut self, _: &EpochRecord) {}
}

/// Asserts that a stopped run and a killed run, both resumed, end like an uninterrupted one.
pub(crate) fn assert_resumes<N>(make: &dyn Fn() -> Trainer<N, CrossEntropy>)
where
    N: Coarsen<Output = Tensor<2>>,
{
    let folder = tempdir().unwrap();
    let [whole, stopped, killed] = ["whole", "stopped", "killed"].map(|it| folder.path().join(it));
    // Checkpoints after steps 3, 5, 8, 10, ..; the run is killed after step 14.
    let make = || make().checkpoint_every(CheckpointEvery::Steps(3));
    let mut kill = CopyAt { step: 14, run: &whole, to: &killed };
    make().train_with(&whole, &mut kill, &|| false).unwrap();
    make().resume(&killed).unwrap();
    assert_same(&killed, &whole);

    train_until(8, &make(), &stopped);
    assert!(format!("{:?}", lines(&stopped).last()).contains("Interrupted { step: 8 }"));
    let outcome = make().resume(&stopped).unwrap();
    assert!(!outcome.interrupted && outcome.epochs == 4);
    assert_same(&stopped, &whole);
}

#[test]
fn a_resumed_run_with_sgd_ends_as_an_undisturbed_one() {
    assert_resumes(&|| {
        sgd_trainer().learning_rate(Schedule::cosine(0.05).warmup(0.5)).clip_norm(0.3)
    });
}

#[test]
fn a_resumed_run_with_adamw_average_and_clipping_ends_as_an_undisturbed_one() {
    assert_resumes(&|| trainer(adamw()).moving_average(0.99).clip_norm(0.3));
}

#[test]
fn a_resumed_run_with_a_scheduler_of_burn_ends_as_an_undisturbed_one() {
    let config = CosineAnnealingLrSchedulerConfig::new(0.05, 20).with_min_lr(0.001);
    assert_resumes(&|| trainer(adamw()).learning_rate(config.clone()));
    let by_steps = |epoch, step, _| 0.01 / (1 + epoch + step) as f64;
    assert_resumes(&|| sgd_trainer().learning_rate(Schedule::from_fn(by_steps)));
}

#[test]
fn a_resumed_run_with_batches_of_a_function_ends_as_an_undisturbed_one() {
    assert_resumes(&|| {
        let batches = from_fn(SAMPLES, |index: &BatchIndex| {
            let Pass::Training { seed, epoch } = index.pass else { panic!("{:?}", index.pass) };
            let key = 100 * seed + 10 * epoch as u64 + index.step as u64;
            let count = index.samples.len();
            Ok(parareal_testing::batch(key, count, burn::tensor::DType::F32))
        });
        Trainer::new(model(sgd(), &[2, 4]), batches)
            .validation(samples(2, 20))
            .epochs(4)
            .batch_size(crate::common::BATCH)
            .learning_rate(0.01)
            .threads(1)
            .keep_checkpoints(100)
    });
}

#[test]
fn decisions_of_a_resumed_run_are_those_of_an_undisturbed_one() {
    let folder = tempdir().unwrap();
    let make = || {
        let objective = Objective::highest("accuracy");
        sgd_trainer().learning_rate(1e-9).best(objective).patience(3).epochs(9)
    };
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    assert_eq!(make().train(&whole).unwrap().epochs, 4);
    train_until(12, &make(), &stopped);
    let outcome = make().resume(&stopped).unwrap();
    assert_eq!((outcome.epochs, outcome.out_of_patience), (4, true));
    assert_eq!(crate::common::best(&stopped), crate::common::best(&whole));
}

#[test]
fn a_run_continues_for_more_epochs_on_another_executor() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    sgd_trainer().train(&run).unwrap();
    // The run has ended, so nothing is left to do.
    assert_eq!(sgd_trainer().resume(&run).unwrap().steps, 20);
    let longer = || sgd_trainer().epochs(6);
    let outcome =
        longer().executor(ExecutorKind::Sequential).workers(1).threads(2).resume(&run).unwrap();
    assert_eq!((outcome.epochs, outcome.steps), (6, 30));
    assert!(
        outcome.notes.iter().any(|note| note.contains("executor sequential instead of threads"))
    );
    assert_eq!(epochs(&run).len(), 6);
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("epochs = 6\n") && config.contains("executor = \"sequential\""));
    let error = sgd_trainer().epochs(3).resume(&run).unwrap_err().to_string();
    assert!(error.starts_with("invalid value `3` for epochs: expected at least 6"), "{error}");
}

/// Returns the error message of an attempt to resume a run of [`sgd_trainer`].
fn refused(run: &Path, trainer: &DenseTrainer) -> String {
    let before = fs::read_to_string(run.join("config.toml")).unwrap();
    let message = trainer.resume(run).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert_eq!(fs::read_to_string(run.join("config.toml")).unwrap(), before);
    message
}

#[test]
fn settings_of_another_run_are_refused_by_name() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    train_until(7, &sgd_trainer().setting("momentum", 0.9), &run);
    let with_samples = |training| trainer_of(model(sgd(), &[2, 4]), training);
    let wider = {
        let cuts = Cuts::new(6, vec![2, 4]).unwrap();
        let network = parareal_testing::DenseNet::residual(vec![9; 7]);
        let optimizer: ModuleOptimizer = sgd();
        trainer_of(
            Model::new(network, cuts, CrossEntropy::default(), optimizer),
            samples(1, SAMPLES),
        )
    };
    for (trainer, expected) in [
        (sgd_trainer().seed(4), "seed is 4, but 3 in"),
        (sgd_trainer().batch_size(5), "batch-size is 5, but 6 in"),
        (trainer_of(model(sgd(), &[3]), samples(1, SAMPLES)), "cuts is [3], but [2, 4] in"),
        (sgd_trainer().learning_rate(0.02), "learning-rate is \"0.02\", but \"0.01\" in"),
        (sgd_trainer().best(Objective::highest("accuracy")), "best is \"highest accuracy\""),
        (with_samples(samples(7, SAMPLES)), "the training samples differ from those"),
        (with_samples(samples(1, SAMPLES - 1)), "the training samples differ from those"),
        (sgd_trainer().validation(samples(3, 20)), "the validation samples differ from those"),
        (wider, ""),
    ] {
        let message = refused(&run, &trainer.setting("momentum", 0.9));
        assert!(message.starts_with(expected), "{message}");
        assert!(!expected.is_empty() || message.contains("to a different network"), "{message}");
    }
    let message = refused(&run, &sgd_trainer().setting("momentum", 0.5));
    assert!(message.starts_with("settings.momentum is \"0.5\", but \"0.9\" in"), "{message}");
    let message = refused(&run, &sgd_trainer());
    assert!(message.starts_with("settings.momentum is not set, but \"0.9\" in"), "{message}");
    assert_eq!(sgd_trainer().setting("momentum", 0.9).resume(&run).unwrap().epochs, 4);
}

#[test]
fn a_schedule_that_gives_other_rates_is_refused_with_the_first_step() {
    let folder = tempdir().unwrap();
    let cosine = |steps, min| -> Schedule {
        CosineAnnealingLrSchedulerConfig::new(0.05, steps).with_min_lr(min).into()
    };
    let by_epoch = |factor: f64| {
        Schedule::from_fn(move |epoch, _, _| 0.01 * if epoch > 1 { factor } else { 1.0 })
    };
    let explicit = |epochs| -> Schedule {
        LearningRate { base: 0.05, decay: Decay::Cosine, warmup_epochs: 0.0, epochs }.into()
    };
    for (name, first, other, expected) in [
        ("burn", cosine(20, 0.0), cosine(40, 0.0), "learning-rate of step 2 is "),
        (
            "function",
            by_epoch(0.5),
            by_epoch(0.25),
            "learning-rate of step 6 is 0.0025, but 0.005 in",
        ),
        (
            "explicit",
            explicit(4),
            explicit(8),
            "learning-rate is \"cosine from 0.05 over 8 epochs\"",
        ),
    ] {
        let run = folder.path().join(name);
        let make = |schedule: &Schedule| sgd_trainer().learning_rate(schedule.clone());
        train_until(8, &make(&first), &run);
        let message = refused(&run, &make(&other));
        assert!(message.starts_with(expected), "{message}");
        assert_eq!(make(&first).epochs(5).resume(&run).unwrap().steps, 25, "{name}");
    }
    // A cosine that spans the run adapts to the number of epochs.
    let run = folder.path().join("spanning");
    let make = || sgd_trainer().learning_rate(Schedule::cosine(0.05));
    train_until(8, &make(), &run);
    assert_eq!(make().epochs(5).resume(&run).unwrap().steps, 25);
}

#[test]
fn samples_that_differ_after_the_first_batch_are_refused() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    train_until(7, &sgd_trainer(), &run);
    // The first batches are the same.
    let other = |seed: u64, count: usize, kept: usize| {
        let order = Pass::Training { seed: 3, epoch: 1 }.order(count);
        let order = if seed == 1 { order } else { (0..count).collect() };
        let (inputs, _) = parareal_testing::batch(seed, count, burn::tensor::DType::F32);
        let classes = inputs.clone().argmax(1).reshape([count]);
        let last = order[kept];
        let changed = inputs.clone().narrow(0, last, 1) + 1.0;
        let inputs = inputs.slice_assign([last..last + 1, 0..3], changed);
        TensorDataset::new(inputs, classes).unwrap()
    };
    let training = trainer_of(model(sgd(), &[2, 4]), other(1, SAMPLES, SAMPLES - 1));
    let message = refused(&run, &training);
    assert!(message.starts_with("the training samples differ from those"), "{message}");
    let message = refused(&run, &sgd_trainer().validation(other(2, 20, 19)));
    assert!(message.starts_with("the validation samples differ from those"), "{message}");
    assert_eq!(sgd_trainer().resume(&run).unwrap().steps, 20);
}

#[test]
fn a_source_whose_batches_do_not_depend_on_indices_alone_is_refused() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    // The first batch is always the same, the others are not.
    let make = |salt: u64| {
        let source = from_fn(SAMPLES, move |index: &BatchIndex| {
            let key = if index.step == 0 { 0 } else { salt + index.step as u64 };
            Ok(parareal_testing::batch(key, index.samples.len(), burn::tensor::DType::F32))
        });
        Trainer::new(model(sgd(), &[2, 4]), source).batch_size(6).epochs(2).threads(1)
    };
    train_until(7, &make(10), &run);
    let message = refused(&run, &make(20));
    assert!(message.starts_with("the training samples differ from those"), "{message}");
    assert_eq!(make(10).resume(&run).unwrap().steps, 10);
}

#[test]
fn a_folder_without_a_run_is_named() {
    let folder = tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let message = sgd_trainer().resume(&nowhere).unwrap_err().to_string();
    assert!(message.contains("is not the folder of a run: it has no config.toml"), "{message}");
    assert!(!nowhere.exists());
    fs::create_dir(&nowhere).unwrap();
    fs::write(nowhere.join("config.toml"), "#".repeat(300_000)).unwrap();
    let message = sgd_trainer().resume(&nowhere).unwrap_err().to_string();
    assert!(message.contains("it has more than 262144 bytes"), "{message}");
    fs::write(nowhere.join("config.toml"), "seed = \n").unwrap();
    let message = sgd_trainer().resume(&nowhere).unwrap_err().to_string();
    assert!(message.contains("config.toml is not the configuration of a run: "), "{message}");
    let message = sgd_trainer().train(&nowhere).unwrap_err().to_string();
    assert!(message.ends_with("is not an empty folder"), "{message}");
}

#[test]
fn runs_with_all_optimizers_of_burn_are_resumed_to_the_bit() {
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let optimizers: [(&str, ModuleOptimizer); 12] = [
        ("adafactor", AdafactorConfig::new().init()),
        ("adagrad", AdaGradConfig::new().init()),
        ("adam", AdamConfig::new().init()),
        ("amsgrad", AdamConfig::new().with_amsgrad(true).init()),
        ("adamw", AdamWConfig::new().init()),
        ("adan", AdanConfig::new().init()),
        ("lamb", LambConfig::new().init()),
        ("lion", LionConfig::new().init()),
        ("muon", MuonConfig::new().init()),
        ("rmsprop", RmsPropConfig::new().with_centered(true).init()),
        ("sgd", SgdConfig::new().init()),
        ("momentum", SgdConfig::new().with_momentum(Some(momentum)).init()),
    ];
    for (name, optimizer) in optimizers {
        let folder = tempdir().unwrap();
        let [whole, stopped] = ["whole", "stopped"].map(|run| folder.path().join(run));
        let make = || {
            let every = CheckpointEvery::Steps(3);
            trainer(optimizer.clone()).learning_rate(1e-3).epochs(2).checkpoint_every(every)
        };
        make().train(&whole).unwrap();
        train_until(8, &make(), &stopped);
        let resumed = make().resume(&stopped).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(resumed.steps, 10, "{name}");
        assert_same(&stopped, &whole);
    }
}
