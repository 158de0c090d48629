use std::fs;
use std::path::Path;

use parareal_run::{EpochRecord, StepRecord};
use parareal_testing::{ranks, test_name};
use parareal_train::{CheckpointEvery, ExecutorKind, Observer, ProcessGroup};
use parareal_vision::{ClassificationRun, Config, Settings};

use super::{are_independent, together};
use crate::ending::Ending;

/// Name of the environment variable that selects the task of a rank.
const LIFE: &str = "PARAREAL_TEST_LIFE";
const FOLDER: &str = "PARAREAL_TEST_FOLDER";

#[test]
fn independent_runs_set_another_executor() {
    let are_independent = |line: &str| are_independent(line.split(' ').map(String::from));
    for line in ["train --executor threads --x", "train --x --executor=sequential", "--executor x"]
    {
        assert!(are_independent(line), "{line}");
    }
    for line in ["train --x", "train --executor", "train --executor mpi", "train --executor=mpi"] {
        assert!(!are_independent(line), "{line}");
    }
}

/// Observer that panics after this step; `None` for never.
struct Panics(Option<usize>);

impl Observer for Panics {
    fn on_step(&mut self, record: &StepRecord) {
        assert!(Some(record.step) != self.0, "no observer is left\nfor step {}", record.step);
    }

    fn on_epoch(&mut self, _: &EpochRecord) {}
}

/// Returns settings of six steps with a checkpoint after each.
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

/// Returns the weights after the last step.
fn weights(run: &Path) -> Vec<Vec<u8>> {
    let file =
        |j: usize| format!("checkpoints/step-00000006/subnetwork-{j:02}.weights.safetensors");
    (1..=3).map(|j| fs::read(run.join(file(j))).unwrap()).collect()
}

#[test]
fn a_panic_of_one_rank_is_reported_once_and_the_run_can_be_resumed() {
    let name = test_name!();
    if ranks::is_rank() {
        let variable = |name| std::env::var(name).unwrap();
        return live(&variable(LIFE), Path::new(&variable(FOLDER)));
    }
    let folder = tempfile::tempdir().unwrap();
    let start = |life: &str, output: &str| {
        let mut command = ranks::test_command(3, name);
        command.env(LIFE, life).env(FOLDER, folder.path().join(output));
        ranks::Running::start(&mut command).wait()
    };
    start("whole", "whole").assert_done();
    for rank in 0..3 {
        let ended = start(&rank.to_string(), "run");
        assert_eq!(ended.code, Some(1), "{}", ended.errors);
        assert!(folder.path().join("run/checkpoints/step-00000003").is_dir());
        let lines = ended.error_lines();
        let expected = format!("error: rank {rank}: no observer is left\\nfor step 4");
        assert_eq!(lines, [expected], "{}", ended.errors);
        let ended = start("resume", "run");
        ended.assert_done();
        assert!(ended.output.contains("resuming after step 3"), "{}", ended.output);
        let [found, expected] = ["run", "whole"].map(|name| folder.path().join(name));
        assert!(weights(&found) == weights(&expected), "other weights");
        fs::remove_dir_all(found).unwrap();
    }
}

/// Runs the task of a rank.
fn live(life: &str, folder: &Path) {
    let group = ProcessGroup::join().unwrap();
    let panics = life.parse() == Ok(group.rank());
    let ended = together(&group, || {
        let run = match life {
            "resume" => ClassificationRun::resume(&group, folder, Settings::default(), None)?,
            _ => ClassificationRun::create(
                &group,
                Config::resolve_with(&group, settings())?,
                Some(folder.to_path_buf()),
                None,
            )?,
        };
        if group.is_root() {
            #[allow(clippy::print_stdout, reason = "it is what the test reads")]
            {
                println!("resuming after step {}", run.run().steps_done());
            }
        }
        run.train(&mut Panics(panics.then_some(4)), &|| false)?;
        Ok(Ending::Done)
    });
    assert!(matches!(ended, Ok(Ending::Done)));
}
