//! Data and errors that only some ranks of an MPI program have.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parareal_testing::{ranks, sgd, test_name};
use parareal_train::prelude::*;

use crate::common::{DenseTrainer, SAMPLES, model, samples};
use crate::timelines::{assert_works, trace};

/// Returns a source of samples in memory. A batch for which `changed` returns true has the first samples of the
/// pass instead of its own.
fn drifting(
    seed: u64,
    count: usize,
    changed: impl Fn(&BatchIndex) -> bool + Send + Sync + 'static,
) -> impl Source<Input = Tensor<2>, Target = Tensor<1, Int>> {
    let data = samples(seed, count);
    from_fn(count, move |index: &BatchIndex| {
        let mut index = index.clone();
        if changed(&index) {
            index.samples = 0..index.samples.len();
        }
        data.batch(&index)
    })
}

fn checkpoints(run: &Path) -> Vec<String> {
    let entries = fs::read_dir(run.join("checkpoints")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("step-")).collect();
    names.sort();
    names
}

#[test]
fn ranks_compare_batches_before_a_checkpoint_and_after_an_evaluation() {
    ranks::on_ranks(&[3], test_name!(), || {
        let group = ProcessGroup::join().unwrap();
        let last = group.rank() == 2;
        let new = || Ok::<_, TrainError>(tempfile::tempdir().unwrap().keep());
        let folder: PathBuf = group.on_root(new).unwrap();
        let ranked = |trainer: DenseTrainer| {
            let trainer = trainer.executor(ExecutorKind::Mpi).group(group.clone());
            trainer.epochs(1).batch_size(6).threads(1).keep_checkpoints(9)
        };
        let of = |training| ranked(Trainer::new(model(sgd(), &[2, 4]), training));
        let error = of(samples(if last { 3 } else { 1 }, SAMPLES)).train(folder.join("first"));
        let expected = "the training samples differ between ranks 0 and 2; start all ranks";
        assert!(error.unwrap_err().to_string().starts_with(expected));

        // The fourth batch differs. A checkpoint is saved after every second step.
        let run = folder.join("training");
        let training = drifting(1, SAMPLES, move |index| last && index.step == 3);
        let trainer = ranked(Trainer::new(model(sgd(), &[2, 4]), training));
        let error = trainer.checkpoint_every(CheckpointEvery::Steps(2)).train(&run).unwrap_err();
        let expected = "the batches of epoch 1 differ between ranks 0 and 2; start all ranks";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(checkpoints(&run), ["step-00000002"]);

        let validation = || drifting(2, 20, move |index| last && index.step == 2);
        let trainer = of(samples(1, SAMPLES)).validation(validation());
        let error = trainer.train(folder.join("validation")).unwrap_err().to_string();
        let expected = "the validation samples differ between ranks 0 and 2; start all ranks";
        assert!(error.starts_with(expected), "{error}");

        let run = folder.join("whole");
        let trainer = of(samples(1, SAMPLES));
        trainer.train(&run).unwrap();
        let evaluate = |source: &dyn Fn() -> DenseTrainer| {
            source().evaluate(&run, CheckpointChoice::Latest).unwrap_err().to_string()
        };
        let error = evaluate(&|| of(samples(1, SAMPLES)).validation(validation()));
        let expected = "the evaluation samples differ between ranks 0 and 2; start all ranks";
        assert!(error.starts_with(expected), "{error}");
        // One rank fails, and all ranks end with an error.
        let failing = || {
            let data = samples(2, 20);
            from_fn(20, move |index: &BatchIndex| match last && index.step == 1 {
                true => Err("the file is gone".into()),
                false => data.batch(index),
            })
        };
        let error = evaluate(&|| of(samples(1, SAMPLES)).validation(failing()));
        assert_eq!(error, "rank 2: batch 1 of an evaluation: the file is gone");
        let empty = from_fn(0, |index: &BatchIndex| samples(2, 20).batch(index));
        let error = of(samples(1, SAMPLES)).evaluate_on(&run, CheckpointChoice::Latest, &empty);
        let expected = "no evaluation samples: expected at least 1";
        assert_eq!(error.unwrap_err().to_string(), expected);

        let removed = || Ok::<_, TrainError>(fs::remove_dir_all(&folder).is_ok());
        assert!(group.on_root(removed).unwrap());
        group.finish().unwrap();
    });
}

#[test]
fn a_rank_that_stops_before_it_joins_ends_all_ranks() {
    let name = test_name!();
    if !ranks::is_rank() {
        let ended = ranks::run_test(3, name);
        assert_eq!(ended.code, Some(7), "{}", ended.errors);
        assert!(ended.errors.contains("rank 1 "), "{}", ended.errors);
        assert!(ended.errors.contains("has not responded for 3 s"), "{}", ended.errors);
        return;
    }
    // The number of the rank is not known before.
    let variable = ranks::Launcher::used().rank_variable();
    if std::env::var(variable).unwrap() == "1" {
        let _world = parareal::exec::World::init().unwrap();
        ranks::stop();
    }
    let report = |error: TrainError| {
        #[allow(clippy::print_stderr, reason = "it is what the test reads")]
        {
            eprintln!("{error}");
        }
        7
    };
    drop(ProcessGroup::join_watched(Duration::from_secs(3), report));
    panic!("joined without rank 1");
}

#[test]
fn a_timeline_has_the_workers_of_all_ranks_and_the_first_rank_writes_it() {
    ranks::on_ranks(&[2, 4], test_name!(), || {
        let group = ProcessGroup::join().unwrap();
        let new = || Ok::<_, TrainError>(tempfile::tempdir().unwrap().keep());
        let folder: PathBuf = group.on_root(new).unwrap();
        let (replicas, run) = (group.size() / 2, folder.join("run"));
        let trainer = |timeline: Option<StepTimeline>| {
            let trainer = Trainer::new(model(sgd(), &[2, 4]), samples(1, SAMPLES));
            let trainer = trainer.executor(ExecutorKind::Mpi).group(group.clone());
            let trainer = trainer.epochs(1).batch_size(6).threads(1).replicas(replicas);
            match timeline {
                Some(timeline) => trainer.timeline(timeline),
                None => trainer,
            }
        };
        let file = folder.join("step.json");
        let timeline = || StepTimeline::new(&file).step(4);
        let error = trainer((group.rank() != 1).then(timeline)).train(&run).unwrap_err();
        let expected = format!("timeline is {} on rank 0 but not set on rank 1", file.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        let none = StepTimeline::new(folder.join("none/step.json"));
        let error = trainer(Some(none)).train(&run).unwrap_err().to_string();
        assert!(error.starts_with("rank 0: cannot write"), "{error}");
        assert!(error.ends_with(&format!("folder {} not found", folder.join("none").display())));
        assert!(!run.exists() && !file.exists());

        let outcome = trainer(Some(timeline())).train(&run).unwrap();
        assert_eq!(outcome.notes, Vec::<String>::new());
        // Only rank 0 reads the file, because it removes the folder without waiting for the others.
        if group.rank() == 0 {
            let (title, rows) = trace(&file);
            let ranks = match replicas {
                1 => "2 ranks of 1 worker",
                _ => "4 ranks of 1 worker for 2 replicas",
            };
            assert_eq!(title, format!("network of 6 units, N = 3, executor mpi, {ranks}, step 4"));
            for replica in 0..replicas {
                for (worker, subnetworks) in [(1, &[1, 2][..]), (2, &[3])] {
                    assert_works(&rows[&format!("device {}", 2 * replica + worker)], subnetworks);
                }
            }
        }

        let removed = || Ok::<_, TrainError>(fs::remove_dir_all(&folder).is_ok());
        assert!(group.on_root(removed).unwrap());
        group.finish().unwrap();
    });
}
