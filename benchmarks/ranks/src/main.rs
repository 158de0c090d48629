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
use std::sync::{Arc, Mutex};

use parareal::exec::Traffic;
use parareal_kernels::allocator::{self, MiMalloc};
use parareal_run::{EpochRecord, StepRecord};
use parareal_train::{CheckpointEvery, ExecutorKind, Observer, ProcessGroup, TrainError};
use parareal_vision::{ClassificationRun, Config, Settings};
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Steps between two checkpoints.
const EVERY: usize = 3;
/// Images in a batch: one for each replica at least.
const BATCH: usize = 24;
/// Steps of the run. The last checkpoint is part of its end.
const STEPS: usize = 3 * EVERY;

/// The traffic of a phase.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Counts {
    collectives: u64,
    messages: u64,
    sent: u64,
    reduced: u64,
    gathered: u64,
}

impl Counts {
    fn between(before: &Traffic, after: &Traffic) -> Self {
        Self {
            collectives: after.collectives - before.collectives,
            messages: after.messages - before.messages,
            sent: after.sent - before.sent,
            reduced: after.reduced - before.reduced,
            gathered: after.gathered - before.gathered,
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            collectives: self.collectives - other.collectives,
            messages: self.messages - other.messages,
            sent: self.sent - other.sent,
            reduced: self.reduced - other.reduced,
            gathered: self.gathered.saturating_sub(other.gathered),
        }
    }

    /// Returns the largest counts of any rank.
    fn largest(self, other: Self) -> Self {
        Self {
            collectives: self.collectives.max(other.collectives),
            messages: self.messages.max(other.messages),
            sent: self.sent.max(other.sent),
            reduced: self.reduced.max(other.reduced),
            gathered: self.gathered.max(other.gathered),
        }
    }
}

/// Records the traffic after each step and before the evaluation of the only epoch.
struct Recorder {
    group: ProcessGroup,
    steps: Arc<Mutex<Vec<Traffic>>>,
}

impl Observer for Recorder {
    fn on_step(&mut self, _: &StepRecord) {
        self.steps.lock().expect("no other thread panics").push(traffic(&self.group));
    }

    fn on_epoch(&mut self, _: &EpochRecord) {}
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
    let steps = Arc::default();
    run.train(&mut Recorder { group: group.clone(), steps: Arc::clone(&steps) }, &|| false)?;
    let ended = traffic(&group);
    let steps = std::mem::take(&mut *steps.lock().expect("no other thread panics"));
    let between = |step: usize| Counts::between(&steps[step - 1], &steps[step]);
    // The checkpoint after step EVERY is saved before the step after it ends.
    let step = between(EVERY - 1);
    let saved = between(EVERY).without(step);
    let phases = [
        ("join", Counts::between(&Traffic::default(), &joined)),
        ("start", Counts::between(&joined, &created)),
        ("first step", Counts::between(&created, &steps[0])),
        ("step", step),
        ("checkpoint", saved),
        ("evaluation, last checkpoint and end", Counts::between(&steps[STEPS - 1], &ended)),
    ];
    for (name, own) in phases {
        let all = group.all_gather::<_, TrainError>(Ok(own))?;
        let most = all.iter().copied().fold(Counts::default(), Counts::largest);
        if group.is_root() {
            let Counts { collectives, messages, sent, reduced, gathered } = most;
            println!(
                "| {} | {name} | {collectives} | {messages} | {sent} | {reduced} | {gathered} |",
                group.size()
            );
        }
    }
    if group.is_root() {
        std::fs::remove_dir_all(folder)?;
    }
    group.finish()?;
    Ok(())
}
