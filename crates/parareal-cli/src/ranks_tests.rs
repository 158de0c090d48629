use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use parareal_run::{EpochRecord, StepRecord};
use parareal_train::{CheckpointEvery, ExecutorKind, Observer, ProcessGroup};
use parareal_vision::{ClassificationRun, Config, Settings};

use super::together;
use crate::Ending;

#[path = "../../parareal/tests/common/mpi.rs"]
mod mpi;

/// What a rank is to do, and where.
const LIFE: &str = "PARAREAL_TEST_LIFE";
const FOLDER: &str = "PARAREAL_TEST_FOLDER";

/// Panics behind a step, on one rank.
struct Panics(Option<usize>);

impl Observer for Panics {
    fn on_step(&mut self, record: &StepRecord) {
        assert!(Some(record.step) != self.0, "nobody watches step {}\nany more", record.step);
    }

    fn on_epoch(&mut self, _: &EpochRecord) {}
}

/// Six steps, a checkpoint behind each.
fn settings() -> Settings {
    Settings {
        executor: Some(ExecutorKind::Mpi),
        depth: Some(11),
        subnetworks: Some(3),
        limit_train: Some(48),
        limit_test: Some(20),
        epochs: Some(2),
        batch_size: Some(16),
        learning_rate: Some(0.05),
        checkpoint_every: Some(CheckpointEvery::Steps(1)),
        ..Settings::default()
    }
}

/// The weights behind the last step.
fn weights(run: &Path) -> Vec<Vec<u8>> {
    let file =
        |j: usize| format!("checkpoints/step-00000006/subnetwork-{j:02}.weights.safetensors");
    (1..=3).map(|j| fs::read(run.join(file(j))).unwrap()).collect()
}

#[test]
fn a_panic_of_one_rank_is_told_once_and_the_run_goes_on() {
    let name = "ranks::tests::a_panic_of_one_rank_is_told_once_and_the_run_goes_on";
    if mpi::is_rank() {
        let variable = |name| std::env::var(name).unwrap();
        return live(&variable(LIFE), Path::new(&variable(FOLDER)));
    }
    let folder = tempfile::tempdir().unwrap();
    let start = |life: &str, output: &str| {
        let mut command: Command = mpi::as_ranks(3, name)?;
        command.env(LIFE, life).env(FOLDER, folder.path().join(output));
        Some(mpi::wait(command))
    };
    let Some(whole) = start("whole", "whole") else { return };
    assert!(whole.status.success(), "{}", whole.errors);
    for rank in 0..3 {
        let ended = start(&rank.to_string(), "run").unwrap();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.errors);
        // The checkpoint before the panic is no older.
        let saved = folder.path().join("run/checkpoints/step-00000003");
        let time = fs::metadata(saved).unwrap().modified().unwrap().elapsed().unwrap();
        assert!(time < Duration::from_secs(10), "{time:?}");
        let lines: Vec<_> =
            ended.errors.lines().filter(|line| line.starts_with("error: ")).collect();
        let expected = format!("error: rank {rank}: nobody watches step 4\\nany more");
        assert_eq!(lines, [expected], "{}", ended.errors);
        let ended = start("resume", "run").unwrap();
        assert!(ended.status.success(), "{}", ended.errors);
        assert!(ended.output.contains("resumes after step 3"), "{}", ended.output);
        let [found, expected] = ["run", "whole"].map(|name| folder.path().join(name));
        assert!(weights(&found) == weights(&expected), "other weights");
        fs::remove_dir_all(found).unwrap();
    }
}

/// What a rank does.
fn live(life: &str, folder: &Path) {
    let group = ProcessGroup::join().unwrap();
    let panics = life.parse() == Ok(group.rank());
    let ended = together(&group, || {
        let run = match life {
            "resume" => ClassificationRun::resume(&group, folder, Settings::default())?,
            _ => ClassificationRun::create(
                &group,
                Config::resolve_with(&group, settings())?,
                Some(folder.to_path_buf()),
            )?,
        };
        if group.leads() {
            #[allow(clippy::print_stdout, reason = "it is what the test reads")]
            {
                println!("resumes after step {}", run.run().steps_done());
            }
        }
        run.train(&mut Panics(panics.then_some(4)), &|| false)?;
        Ok(Ending::Done)
    });
    assert!(ended.is_ok());
}
