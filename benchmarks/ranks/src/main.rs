//! Counts the messages, collective operations and bytes of each rank of a short run, and prints a row for each of its
//! phases.
//!
//! ```sh
//! mpirun -n RANKS target/release/ranks [REPLICAS]
//! ```
//!
//! `run` in this folder starts it with several numbers of ranks.
#![allow(clippy::print_stdout)]

use std::error::Error;

use parareal::exec::Traffic;
use parareal_kernels::allocator::{self, MiMalloc};
use parareal_run::StepRecord;
use parareal_train::{CheckpointEvery, ExecutorKind, Observer, ProcessGroup, TrainError};
use parareal_vision::{ClassificationRun, Config, Settings};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Steps between two checkpoints.
const EVERY: usize = 3;
/// Images in a batch: one for each replica at least.
const BATCH: usize = 24;
/// Steps of the run. The last checkpoint is part of its end.
const STEPS: usize = 3 * EVERY;

/// Collective operations, messages, and bytes sent, reduced and gathered.
type Counts = [u64; 5];

fn counts(traffic: &Traffic) -> Counts {
    let Traffic { collectives, messages, sent, reduced, gathered, .. } = *traffic;
    [collectives, messages, sent, reduced, gathered]
}

fn between(before: &Traffic, after: &Traffic) -> Counts {
    let [before, after] = [before, after].map(counts);
    std::array::from_fn(|k| after[k] - before[k])
}

/// Records the traffic after each step.
struct Recorder {
    group: ProcessGroup,
    steps: Vec<Traffic>,
}

impl Observer for Recorder {
    fn on_step(&mut self, _: &StepRecord) {
        self.steps.push(traffic(&self.group));
    }
}

fn traffic(group: &ProcessGroup) -> Traffic {
    group.traffic().expect("this process is a rank")
}

fn main() -> Result<()> {
    allocator::retain();
    let replicas = std::env::args().nth(1).map_or(Ok(1), |text| text.parse())?;
    let group = ProcessGroup::join()?;
    let joined = traffic(&group);
    let folder = group.on_root(|| {
        let folder = tempfile::tempdir().map_err(TrainError::file("create", "tempdir".as_ref()))?;
        Ok::<_, TrainError>(folder.keep())
    })?;
    let settings = Settings {
        executor: Some(ExecutorKind::Mpi),
        depth: Some(74),
        width: Some(4),
        subnetworks: Some(group.size() / replicas),
        replicas: Some(replicas),
        threads: Some(1),
        limit_train: Some(BATCH * STEPS),
        limit_test: Some(BATCH),
        epochs: Some(1),
        batch_size: Some(BATCH),
        checkpoint_every: Some(CheckpointEvery::Steps(EVERY)),
        ..Settings::default()
    };
    let config = Config::resolve_with(&group, settings)?;
    let run = ClassificationRun::create(&group, config, Some(folder.join("run")), None)?;
    let created = traffic(&group);
    let mut recorder = Recorder { group: group.clone(), steps: Vec::new() };
    run.train(&mut recorder, &|| false)?;
    let (ended, steps) = (traffic(&group), recorder.steps);
    let step = between(&steps[EVERY - 2], &steps[EVERY - 1]);
    // The checkpoint after step EVERY is saved before the step after it ends. The length of the times in a step varies.
    let with_checkpoint = between(&steps[EVERY - 1], &steps[EVERY]);
    let checkpoint = std::array::from_fn(|k| with_checkpoint[k].saturating_sub(step[k]));
    let phases = [
        ("join", counts(&joined)),
        ("start", between(&joined, &created)),
        ("first step", between(&created, &steps[0])),
        ("step", step),
        ("checkpoint", checkpoint),
        ("evaluation, last checkpoint and end", between(&steps[STEPS - 1], &ended)),
    ];
    for (name, own) in phases {
        let all: Vec<Counts> = group.all_gather::<_, TrainError>(Ok(own))?;
        let largest = (0..own.len()).map(|k| all.iter().map(|counts| counts[k]).max().unwrap_or(0));
        if group.is_root() {
            let cells: Vec<String> = largest.map(|count| count.to_string()).collect();
            println!("| {} | {name} | {} |", group.size(), cells.join(" | "));
        }
    }
    if group.is_root() {
        std::fs::remove_dir_all(folder)?;
    }
    group.finish()?;
    Ok(())
}
