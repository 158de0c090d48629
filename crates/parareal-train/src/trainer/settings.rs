//! Settings of a trainer: completion, recording and comparison.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use toml::{Table, Value};

use crate::folder::config_file;
use crate::{
    CheckpointEvery, ConfigRecord, DeviceName, ExecutorKind, LinkDtype, Objective, ProcessGroup,
    RunConfig, Schedule, TrainError, WorkerRequest,
};

/// Largest size of `config.toml`, in bytes.
const LONGEST_FILE: u64 = 1 << 18;

/// Settings of a trainer before defaults are filled in.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) epochs: usize,
    pub(super) batch_size: usize,
    pub(super) learning_rate: Schedule,
    pub(super) clip_norm: Option<f64>,
    pub(super) moving_average: Option<f64>,
    pub(super) seed: u64,
    pub(super) best: Objective,
    pub(super) patience: Option<usize>,
    pub(super) executor: ExecutorKind,
    pub(super) workers: Option<usize>,
    pub(super) threads: Option<usize>,
    pub(super) replicas: usize,
    pub(super) accumulate: usize,
    pub(super) sync_batch_norm: bool,
    pub(super) launch_graphs: bool,
    pub(super) devices: Vec<DeviceName>,
    pub(super) link_dtype: Option<LinkDtype>,
    pub(super) recompute: Option<usize>,
    pub(super) checkpoint_every: CheckpointEvery,
    pub(super) keep_checkpoints: usize,
    /// Entries that the trainer only records and compares.
    pub(super) own: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 32,
            learning_rate: 1e-3.into(),
            clip_norm: None,
            moving_average: None,
            seed: 0,
            best: Objective::lowest("loss"),
            patience: None,
            executor: ExecutorKind::Threads,
            workers: None,
            threads: None,
            replicas: 1,
            accumulate: 1,
            sync_batch_norm: false,
            launch_graphs: false,
            devices: vec![DeviceName::cpu()],
            link_dtype: None,
            recompute: None,
            checkpoint_every: CheckpointEvery::Epoch,
            keep_checkpoints: 2,
            own: BTreeMap::new(),
        }
    }
}

/// Content of `config.toml`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Record {
    units: usize,
    cuts: Vec<usize>,
    epochs: usize,
    batch_size: usize,
    learning_rate: String,
    clip_norm: Option<f64>,
    moving_average: Option<f64>,
    seed: Value,
    best: String,
    patience: Option<usize>,
    executor: String,
    workers: usize,
    threads: usize,
    replicas: usize,
    /// The number of micro-batches if there are several.
    accumulate: Option<usize>,
    /// `true`, or nothing.
    sync_batch_norm: Option<bool>,
    /// `true`, or nothing.
    launch_graphs: Option<bool>,
    device: Vec<String>,
    link_dtype: String,
    recompute: Option<usize>,
    checkpoint_every: String,
    keep_checkpoints: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, String>,
}

/// Entries that must be the same when a run is resumed.
const FIXED: [&str; 11] = [
    "seed",
    "batch-size",
    "accumulate",
    "sync-batch-norm",
    "units",
    "cuts",
    "learning-rate",
    "clip-norm",
    "moving-average",
    "best",
    "settings",
];

impl Settings {
    /// Checks the settings and fills in defaults for the processes of a group.
    ///
    /// # Errors
    /// If a value is not valid ([`TrainError::Setting`]).
    pub(super) fn resolve(
        &self,
        group: &ProcessGroup,
        subnetworks: usize,
    ) -> Result<RunConfig, TrainError> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        if let Some(norm) = self.clip_norm.filter(|&norm| !positive(norm)) {
            let expected = "expected a positive number";
            return Err(TrainError::setting("clip-norm", format!("{norm:?}"), expected));
        }
        if let Some(decay) = self.moving_average.filter(|decay| !(0.0..1.0).contains(decay)) {
            let expected = "expected a number in [0, 1)";
            return Err(TrainError::setting("moving-average", format!("{decay:?}"), expected));
        }
        let zero_interval = match self.checkpoint_every {
            CheckpointEvery::Epoch => false,
            CheckpointEvery::Steps(steps) => steps == 0,
            CheckpointEvery::Minutes(minutes) => minutes == 0,
        };
        if zero_interval {
            return Err(TrainError::setting("checkpoint-every", 0, "expected at least 1"));
        }
        if self.patience == Some(0) {
            return Err(TrainError::setting("patience", 0, "expected at least 1"));
        }
        if self.devices.is_empty() {
            let expected = "expected at least one device";
            return Err(TrainError::setting("device", "[]", expected));
        }
        self.check_range()?;
        self.check_effects()?;
        let request = WorkerRequest {
            executor: self.executor,
            subnetworks,
            devices: &self.devices,
            workers: self.workers,
            threads: self.threads,
            replicas: self.replicas,
        };
        let (workers, threads) = request.resolve(group.resources())?;
        let settings = self.clone();
        Ok(RunConfig {
            epochs: settings.epochs,
            batch_size: settings.batch_size,
            learning_rate: settings.learning_rate.spanning(settings.epochs),
            clip_norm: settings.clip_norm,
            ema_decay: settings.moving_average,
            seed: settings.seed,
            executor: settings.executor,
            replicas: settings.replicas,
            accumulate: settings.accumulate,
            sync_batch_norm: settings.sync_batch_norm,
            launch_graphs: settings.launch_graphs,
            link_dtype: settings.link_dtype.unwrap_or(LinkDtype::F32),
            devices: settings.devices,
            workers,
            threads,
            recompute: settings.recompute,
            objective: settings.best,
            patience: settings.patience,
            checkpoint_every: settings.checkpoint_every,
            keep_checkpoints: settings.keep_checkpoints,
        })
    }

    /// Rejects numbers that `config.toml` cannot represent, because integers in TOML are 64-bit and signed.
    fn check_range(&self) -> Result<(), TrainError> {
        let numbers = [
            ("epochs", Some(self.epochs)),
            ("batch-size", Some(self.batch_size)),
            ("accumulate", Some(self.accumulate)),
            ("patience", self.patience),
            ("recompute", self.recompute),
            ("keep-checkpoints", Some(self.keep_checkpoints)),
        ];
        for (name, number) in numbers {
            if let Some(number) = number.filter(|&number| i64::try_from(number).is_err()) {
                let expected = format!("expected at most {}", i64::MAX);
                return Err(TrainError::setting(name, number, expected));
            }
        }
        Ok(())
    }

    /// Rejects settings that have no effect with the executor.
    fn check_effects(&self) -> Result<(), TrainError> {
        let executor = self.executor;
        if executor == ExecutorKind::Sequential {
            if let Some(workers) = self.workers.filter(|&workers| workers > 1) {
                let expected = "the sequential executor has a single worker; leave it unset";
                return Err(TrainError::setting("workers", workers, expected));
            }
            if let Some(units) = self.recompute {
                let expected = "the sequential executor keeps all states; leave it unset";
                return Err(TrainError::setting("recompute", units, expected));
            }
        }
        match self.link_dtype {
            Some(dtype) if executor != ExecutorKind::Mpi => {
                let expected = format!("the executor {executor} has no ranks; leave it unset");
                Err(TrainError::setting("link-dtype", dtype, expected))
            }
            _ => Ok(()),
        }
    }

    /// Returns the record of a complete configuration, with the units and cuts of the network.
    pub(super) fn record(&self, config: &RunConfig, units: usize, cuts: &[usize]) -> ConfigRecord {
        // TOML has signed integers only.
        let seed = i64::try_from(config.seed).map(Value::from);
        let record = Record {
            units,
            cuts: cuts.to_vec(),
            epochs: config.epochs,
            batch_size: config.batch_size,
            learning_rate: self.learning_rate.to_string(),
            clip_norm: config.clip_norm,
            moving_average: config.ema_decay,
            seed: seed.unwrap_or_else(|_| config.seed.to_string().into()),
            best: config.objective.to_string(),
            patience: config.patience,
            executor: config.executor.to_string(),
            workers: config.workers,
            threads: config.threads,
            replicas: config.replicas,
            accumulate: Some(config.accumulate).filter(|&count| count > 1),
            sync_batch_norm: config.sync_batch_norm.then_some(true),
            launch_graphs: config.launch_graphs.then_some(true),
            device: config.devices.iter().map(ToString::to_string).collect(),
            link_dtype: config.link_dtype.to_string(),
            recompute: config.recompute,
            checkpoint_every: config.checkpoint_every.to_string(),
            keep_checkpoints: config.keep_checkpoints,
            settings: self.own.clone(),
        };
        ConfigRecord::new(&record).expect("strings, numbers and lists of them are TOML")
    }
}

/// Returns the entries of a configuration that must be the same on all ranks of a run. Entries of a table have
/// the name of the table as a prefix.
pub(super) fn shared_entries(table: &Table) -> BTreeMap<String, String> {
    let shared = table.iter().filter(|(key, _)| !["device", "threads"].contains(&key.as_str()));
    let entries = shared.flat_map(|(key, value)| match value {
        Value::Table(own) => {
            own.iter().map(|(name, value)| (format!("{key}.{name}"), value.to_string())).collect()
        }
        value => vec![(key.clone(), value.to_string())],
    });
    entries.collect()
}

/// Reads the configuration of the run in a folder.
///
/// # Errors
/// If there is no `config.toml` ([`TrainError::NoRun`]), it is not a valid configuration
/// ([`TrainError::Configuration`]), or the file cannot be read.
pub(super) fn read(folder: &Path) -> Result<(String, Table), TrainError> {
    let path = config_file(folder)?;
    let mut text = String::new();
    let file = File::open(&path);
    let read = file.and_then(|file| file.take(LONGEST_FILE + 1).read_to_string(&mut text));
    read.map_err(TrainError::file("read", &path))?;
    if text.len() as u64 > LONGEST_FILE {
        let message = format!("it has more than {LONGEST_FILE} bytes");
        return Err(TrainError::configuration(&path, &message));
    }
    match text.parse() {
        Ok(table) => Ok((text, table)),
        Err(error) => Err(TrainError::configuration(&path, error.message())),
    }
}

/// Checks that the entries in [`FIXED`] have not changed. Entries of [`Trainer::setting`](super::Trainer::setting)
/// are named `settings.KEY`.
///
/// # Errors
/// If an entry has changed ([`TrainError::OtherRun`]).
pub(super) fn check_same(folder: &Path, before: &Table, now: &Table) -> Result<(), TrainError> {
    let shown = |value: Option<&Value>| value.map_or("not set".to_string(), Value::to_string);
    let compare = |name: &str, then: Option<&Value>, now: Option<&Value>| match then == now {
        true => Ok(()),
        false => Err(TrainError::other_run(folder, name, shown(then), shown(now))),
    };
    for key in FIXED {
        let entries = [before.get(key), now.get(key)];
        match entries.map(|entry| entry.and_then(Value::as_table)) {
            [None, None] => compare(key, entries[0], entries[1])?,
            tables => {
                let keys = tables.into_iter().flatten().flat_map(Table::keys);
                for name in keys {
                    let [then, now] = tables.map(|table| table.and_then(|table| table.get(name)));
                    compare(&format!("{key}.{name}"), then, now)?;
                }
            }
        }
    }
    Ok(())
}

/// Returns the configuration of a checkpoint for the notes on a resumed run. Values that the notes do not need
/// are those of `now`.
pub(super) fn configuration_of(saved: &Table, now: &RunConfig, schedule: Schedule) -> RunConfig {
    let mut before = now.clone();
    let text = |key: &str| saved.get(key).and_then(Value::as_str);
    let number = |key: &str| {
        saved.get(key).and_then(Value::as_integer).and_then(|number| usize::try_from(number).ok())
    };
    let parsed = text("executor").and_then(|name| name.parse().ok());
    before.executor = parsed.unwrap_or(now.executor);
    let parsed = text("link-dtype").and_then(|name| name.parse().ok());
    before.link_dtype = parsed.unwrap_or(now.link_dtype);
    before.threads = number("threads").unwrap_or(now.threads);
    before.replicas = number("replicas").unwrap_or(now.replicas);
    before.epochs = number("epochs").unwrap_or(now.epochs);
    let devices = saved.get("device").and_then(Value::as_array).map(|names| {
        names.iter().filter_map(|name| name.as_str()?.parse().ok()).collect::<Vec<DeviceName>>()
    });
    before.devices = devices.unwrap_or_else(|| now.devices.clone());
    before.learning_rate = schedule.spanning(before.epochs);
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(settings: &Settings, cuts: &[usize]) -> Table {
        let config = settings.resolve(&ProcessGroup::alone(), cuts.len() + 1).unwrap();
        let record = settings.record(&config, 6, cuts);
        assert_eq!(&record.text().parse::<Table>().unwrap(), record.table());
        record.table().clone()
    }

    #[test]
    fn settings_that_differ_from_the_run_are_refused_by_name() {
        let given = Settings { seed: u64::MAX, ..Settings::default() };
        let before = table(&given, &[2, 4]);
        let refuse = |settings: Settings, cuts: &[usize]| {
            let now = table(&settings, cuts);
            let checked = check_same(Path::new("there"), &before, &now);
            checked.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let same = || given.clone();
        assert_eq!(refuse(same(), &[2, 4]), "");
        let machine = Settings {
            epochs: 99,
            executor: ExecutorKind::Sequential,
            threads: Some(1),
            keep_checkpoints: 7,
            patience: Some(3),
            checkpoint_every: CheckpointEvery::Steps(5),
            ..same()
        };
        assert_eq!(refuse(machine, &[2, 4]), "");
        // An entry of the user is not mistaken for the trainer's setting of the same name.
        let own = [("seed".to_string(), "8".to_string())];
        for (message, expected) in [
            (refuse(Settings { seed: 1, ..same() }, &[2, 4]), "seed is 1, but"),
            (refuse(Settings { batch_size: 8, ..same() }, &[2, 4]), "batch-size is 8, but 32 in"),
            (refuse(same(), &[3]), "cuts is [3], but [2, 4] in there"),
            (
                refuse(Settings { clip_norm: Some(1.0), ..same() }, &[2, 4]),
                "clip-norm is 1.0, but not set in",
            ),
            (
                refuse(Settings { learning_rate: 0.5.into(), ..same() }, &[2, 4]),
                "learning-rate is \"0.5\", but \"0.001\"",
            ),
            (
                refuse(Settings { own: own.into(), ..same() }, &[2, 4]),
                "settings.seed is \"8\", but not set in there",
            ),
            (
                refuse(Settings { moving_average: Some(0.5), ..same() }, &[2, 4]),
                "moving-average is 0.5, but not set in",
            ),
        ] {
            assert!(message.starts_with(expected), "{message}");
            assert_eq!(message.lines().count(), 1);
        }
    }

    #[test]
    fn impossible_settings_are_refused() {
        let refuse = |settings: Settings| {
            settings.resolve(&ProcessGroup::alone(), 3).unwrap_err().to_string()
        };
        let given = Settings::default;
        let sequential = ExecutorKind::Sequential;
        for (message, expected) in [
            (
                refuse(Settings { clip_norm: Some(0.0), ..given() }),
                "invalid value `0.0` for clip-norm: expected a positive",
            ),
            (
                refuse(Settings { clip_norm: Some(f64::NAN), ..given() }),
                "invalid value `NaN` for clip-norm",
            ),
            (
                refuse(Settings { moving_average: Some(1.0), ..given() }),
                "invalid value `1.0` for moving-average",
            ),
            (refuse(Settings { patience: Some(0), ..given() }), "invalid value `0` for patience"),
            (
                refuse(Settings { workers: Some(4), ..given() }),
                "invalid value `4` for workers: expected a number from 1 to 3",
            ),
            (refuse(Settings { threads: Some(0), ..given() }), "invalid value `0` for threads"),
            (refuse(Settings { replicas: 0, ..given() }), "invalid value `0` for replicas"),
            (refuse(Settings { devices: Vec::new(), ..given() }), "invalid value `[]` for device"),
            (
                refuse(Settings { epochs: usize::MAX, ..given() }),
                "invalid value `18446744073709551615` for epochs: expected at most 9223372036854775807",
            ),
            (
                refuse(Settings { batch_size: usize::MAX, ..given() }),
                "invalid value `18446744073709551615` for batch-size",
            ),
            (
                refuse(Settings { patience: Some(usize::MAX), ..given() }),
                "invalid value `18446744073709551615` for patience",
            ),
            (
                refuse(Settings { recompute: Some(usize::MAX), ..given() }),
                "invalid value `18446744073709551615` for recompute",
            ),
            (
                refuse(Settings { keep_checkpoints: usize::MAX, ..given() }),
                "invalid value `18446744073709551615` for keep-checkpoints",
            ),
            (
                refuse(Settings { link_dtype: Some(LinkDtype::F32), ..given() }),
                "invalid value `f32` for link-dtype: the executor threads has no ranks",
            ),
            (
                refuse(Settings { workers: Some(2), executor: sequential, ..given() }),
                "invalid value `2` for workers: the sequential executor has a single worker",
            ),
            (
                refuse(Settings { recompute: Some(0), executor: sequential, ..given() }),
                "invalid value `0` for recompute: the sequential executor keeps all states",
            ),
            (
                refuse(Settings { checkpoint_every: CheckpointEvery::Steps(0), ..given() }),
                "invalid value `0` for checkpoint-every",
            ),
        ] {
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
