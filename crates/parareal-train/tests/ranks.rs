//! The trainer on the ranks of an MPI program.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use burn::optim::AdamWConfig;
use burn::tensor::{DType, Int, Tensor};
use parareal_testing::layers::{batch_norm_network, signals};
use parareal_testing::{DenseNet, batch, ranks, test_name};
use parareal_train::prelude::*;

#[allow(dead_code, reason = "the tests of one process use the rest")]
#[path = "trainer/common.rs"]
mod common;

type DenseTrainer = Trainer<DenseNet, CrossEntropy>;

fn samples(seed: u64, count: usize) -> TensorDataset<Tensor<2>, Tensor<1, Int>> {
    let (inputs, classes) = batch(seed, count, DType::F32);
    TensorDataset::new(inputs, classes).unwrap()
}

fn trainer(
    training: impl Source<Input = Tensor<2>, Target = Tensor<1, Int>> + 'static,
) -> DenseTrainer {
    let cuts = Cuts::new(6, vec![2, 4]).unwrap();
    let optimizer = AdamWConfig::new().init();
    let network = DenseNet::residual(vec![8; 7]);
    Trainer::new(Model::new(network, cuts, CrossEntropy::default(), optimizer), training)
        .validation(samples(2, 20))
        .metric("accuracy", accuracy)
        .epochs(2)
        .batch_size(6)
        .learning_rate(1e-3)
        .moving_average(0.9)
        .threads(1)
}

/// Creates a temporary folder and returns its path on all ranks.
fn folder(group: &ProcessGroup) -> PathBuf {
    let new = || Ok::<_, TrainError>(tempfile::tempdir().unwrap().keep());
    group.on_root(new).unwrap()
}

/// Removes a folder on rank 0.
fn remove(group: &ProcessGroup, folder: &PathBuf) {
    let removed = || Ok::<_, TrainError>(fs::remove_dir_all(folder).is_ok());
    assert!(group.on_root(removed).unwrap());
}

#[test]
fn ranks_train_save_resume_and_evaluate_as_one_process() {
    ranks::on_ranks(&[1, 2, 3, 6], test_name!(), || {
        let group = ProcessGroup::join().unwrap();
        let replicas = if group.size() == 6 { 2 } else { 1 };
        let ranked = || {
            let trainer = trainer(samples(1, 30)).replicas(replicas).group(group.clone());
            trainer.executor(ExecutorKind::Mpi)
        };
        let folder = folder(&group);
        let (alone, together) = (folder.join("alone"), folder.join("together"));
        let expected = group
            .on_root(|| {
                let outcome = trainer(samples(1, 30)).epochs(3).workers(1).train(&alone)?;
                Ok::<_, TrainError>((outcome.validation_loss.unwrap(), outcome.metrics))
            })
            .unwrap();
        assert_eq!(ranked().train(&together).unwrap().steps, 10);
        let outcome = ranked().epochs(3).resume(&together).unwrap();
        assert_eq!((outcome.epochs, outcome.steps), (3, 15));
        let loss = outcome.validation_loss.unwrap();
        assert!((loss - expected.0).abs() < 1e-4, "{loss} {}", expected.0);
        assert_eq!(outcome.metrics, expected.1);
        let found = ranked().evaluate(&together, CheckpointChoice::Latest).unwrap();
        assert!((found.loss - loss).abs() < 1e-5);
        let error = ranked().seed(1).resume(&together).unwrap_err().to_string();
        assert!(error.contains("seed is 1, but 0 in"), "{error}");
        remove(&group, &folder);
        group.finish().unwrap();
    });
}

#[test]
fn the_first_rank_gathers_values_unless_a_rank_fails() {
    ranks::on_ranks(&[1, 3], test_name!(), || {
        let group = ProcessGroup::join().unwrap();
        let (rank, size) = (group.rank(), group.size());
        // Values of different lengths.
        let own = "x".repeat(1000 * rank);
        let gathered = group.gather::<_, TrainError>(Ok(own)).unwrap();
        let lengths: Vec<usize> = gathered.iter().map(String::len).collect();
        let expected: Vec<usize> = (0..size).map(|rank| 1000 * rank).collect();
        assert_eq!(lengths, if rank == 0 { expected } else { Vec::new() });
        for failing in 0..size {
            let error = TrainError::setting("value", rank, "expected another");
            let own = if rank == failing { Err(error) } else { Ok(rank) };
            let error = group.gather(own).unwrap_err().to_string();
            assert!(error.contains(&format!("invalid value `{failing}` for value")), "{error}");
        }
        assert_eq!(
            group.gather::<_, TrainError>(Ok(1)).unwrap().len(),
            if rank == 0 { size } else { 0 }
        );
        group.finish().unwrap();
    });
}

/// Records the last step of this rank.
struct Counter<'a>(&'a Cell<usize>);

impl Observer for Counter<'_> {
    fn on_step(&mut self, record: &StepRecord) {
        self.0.set(record.step);
    }
}

#[test]
fn a_resumed_run_with_batch_normalization_ends_with_the_same_bytes() {
    ranks::on_ranks(&[2, 3, 6], test_name!(), || {
        let group = ProcessGroup::join().unwrap();
        let replicas = if group.size() == 3 { 1 } else { 2 };
        let make = || {
            let network = batch_norm_network();
            let cuts = Cuts::even(network.units(), 3).unwrap();
            let loss = CrossEntropy::default();
            let model = Model::new(network, cuts, loss, common::adamw());
            let samples = |seed, count| {
                let (inputs, targets) = signals(seed, count, DType::F32);
                TensorDataset::new(inputs, targets).unwrap()
            };
            Trainer::new(model, samples(1, 30))
                .validation(samples(2, 20))
                .metric("accuracy", accuracy)
                .epochs(3)
                .batch_size(6)
                .learning_rate(Schedule::cosine(0.01))
                .moving_average(0.9)
                .threads(1)
                .checkpoint_every(CheckpointEvery::Steps(3))
                .keep_checkpoints(100)
                .executor(ExecutorKind::Mpi)
                .replicas(replicas)
                .group(group.clone())
        };
        let folder = folder(&group);
        let (whole, stopped) = (folder.join("whole"), folder.join("stopped"));
        assert_eq!(make().train(&whole).unwrap().steps, 15);
        let step = Cell::new(0);
        let stop = || step.get() >= 8;
        let outcome = make().train_with(&stopped, &mut Counter(&step), &stop).unwrap();
        assert!(outcome.interrupted && outcome.steps == 8, "{outcome:?}");
        let outcome = make().resume(&stopped).unwrap();
        assert!(!outcome.interrupted && outcome.steps == 15, "{outcome:?}");
        let same = || {
            // Weights, optimizer and average of three subnetworks, after steps 3, 5, 8, 10, 13 and 15.
            assert_eq!(common::tensor_files(&whole).len(), 9 * 6);
            common::assert_same(&stopped, &whole);
            Ok::<_, TrainError>(())
        };
        group.on_root(same).unwrap();
        remove(&group, &folder);
        group.finish().unwrap();
    });
}

#[test]
fn ranks_with_other_data_or_settings_are_refused() {
    ranks::on_ranks(&[3], test_name!(), || {
        let group = ProcessGroup::join().unwrap();
        let last = group.rank() == 2;
        let folder = folder(&group);
        let refused = |trainer: DenseTrainer| {
            let trainer = trainer.executor(ExecutorKind::Mpi).group(group.clone());
            trainer.train(folder.join("run")).unwrap_err().to_string()
        };
        let error = refused(trainer(samples(if last { 3 } else { 1 }, 30)));
        assert!(
            error.starts_with("the training samples differ between ranks 0 and 2; "),
            "{error}"
        );
        let error = refused(trainer(samples(1, 30)).seed(if last { 3 } else { 1 }));
        assert!(error.contains("on rank 0 but") && error.contains("on rank 2"), "{error}");
        let error = refused(trainer(samples(1, 30)).epochs(if last { 0 } else { 1 }));
        assert!(error.contains("rank 2: invalid value `0` for epochs"), "{error}");
        // Nothing was written so far. Later batches are compared at the end of their epoch.
        let data = samples(1, 30);
        let drifting = from_fn(30, move |index: &BatchIndex| {
            let mut index = index.clone();
            if let (Pass::Training { epoch: 2, .. }, 3, true) = (index.pass, index.step, last) {
                index.samples = 0..6;
            }
            data.batch(&index)
        });
        let error = refused(trainer(drifting));
        assert!(
            error.starts_with("the batches of epoch 2 differ between ranks 0 and 2; "),
            "{error}"
        );
        remove(&group, &folder);
        group.finish().unwrap();
    });
}
