//! A training process that is killed repeatedly.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use burn::tensor::DType;
use parareal_testing::layers::{batch_norm_network, signals};
use parareal_testing::test_name;
use parareal_train::prelude::*;
use tempfile::tempdir;

use crate::common::{adamw, assert_same, tensor_files};

/// Environment variable with the folder of the run, set in the process that trains.
const RUN: &str = "PARAREAL_TEST_KILLED_RUN";
/// Time after which a process is considered to hang.
const DEADLINE: Duration = Duration::from_secs(120);

/// Slows down steps, so that a kill falls between the first and the last one.
struct Slow;

impl Observer for Slow {
    fn on_step(&mut self, _: &StepRecord) {
        sleep(Duration::from_millis(8));
    }
}

/// Resumes the run in a folder, or starts it again if it was killed before the first checkpoint.
fn train(run: &Path) {
    let network = batch_norm_network();
    let cuts = Cuts::even(network.units(), 3).unwrap();
    let model = Model::new(network, cuts, CrossEntropy::default(), adamw());
    let samples = |seed, count| {
        let (inputs, targets) = signals(seed, count, DType::F32);
        TensorDataset::new(inputs, targets).unwrap()
    };
    // 60 steps, with checkpoints after steps 3, 5, 8, 10, ..
    let trainer = Trainer::new(model, samples(1, 30))
        .validation(samples(2, 20))
        .epochs(12)
        .batch_size(6)
        .learning_rate(Schedule::cosine(0.01))
        .moving_average(0.9)
        .seed(3)
        .workers(2)
        .threads(1)
        .checkpoint_every(CheckpointEvery::Steps(3))
        .keep_checkpoints(100);
    let outcome = if checkpoints(run) > 0 {
        trainer.resume_with(run, &mut Slow, &|| false)
    } else {
        if run.exists() {
            fs::remove_dir_all(run).unwrap();
        }
        trainer.train_with(run, &mut Slow, &|| false)
    };
    assert_eq!(outcome.unwrap().steps, 60);
}

/// Returns the number of checkpoints of a run.
fn checkpoints(run: &Path) -> usize {
    let Ok(entries) = fs::read_dir(run.join("checkpoints")) else { return 0 };
    let named = entries.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("step-")
    });
    named.count()
}

/// Returns the number of lines in the metrics of a run.
fn lines(run: &Path) -> usize {
    let bytes = fs::read(run.join("metrics.jsonl")).unwrap_or_default();
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

fn start(name: &str, run: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(RUN, run)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns a number below `limit` that differs between runs of the test.
fn random(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish() % limit
}

/// Waits until a process has written more lines of metrics, or has ended.
fn wait_for_lines(child: &mut Child, run: &Path, more: usize) {
    let (before, begun) = (lines(run), Instant::now());
    // A resumed run first removes the lines after its last checkpoint.
    let mut least = before;
    while child.try_wait().unwrap().is_none() {
        let now = lines(run);
        least = least.min(now);
        if now >= least + more {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "the run makes no progress");
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_run_killed_several_times_ends_with_the_same_bytes() {
    let name = test_name!();
    if let Some(run) = std::env::var_os(RUN) {
        return train(Path::new(&run));
    }
    let folder = tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|it| folder.path().join(it));
    assert!(start(name, &whole).wait().unwrap().success());
    let mut kills = 0;
    for _ in 0..4 {
        let mut child = start(name, &killed);
        wait_for_lines(&mut child, &killed, 1 + random(5) as usize);
        sleep(Duration::from_millis(random(30)));
        // SIGKILL, which no process can handle.
        child.kill().unwrap();
        let status = child.wait().unwrap();
        kills += usize::from(status.code().is_none());
    }
    assert!(kills > 0, "the run ended before any kill");
    assert!(start(name, &killed).wait().unwrap().success());
    // Weights, optimizer and average of three subnetworks in each checkpoint.
    assert_eq!(tensor_files(&whole).len(), 9 * 24);
    assert_same(&killed, &whole);
}
