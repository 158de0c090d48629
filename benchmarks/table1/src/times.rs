//! Times of an image in training, measured in turn while nothing else runs on the machine.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use parareal::plan::Sample;
use parareal_run::{Line, names};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::conditions::Conditions;
use crate::machine::Machine;
use crate::process::{run_to_end, today};
use crate::row::{Row, Training};

/// Numbers of training and of test images of a timed run.
const IMAGES: [usize; 2] = [1_024, 32];
/// Epochs of a timed run. The last one is measured, when all memory has been allocated.
const EPOCHS: usize = 2;
/// Learning rate of all timed runs.
const LEARNING_RATE: f64 = 0.01;
/// Rounds of timed runs; each round has all networks.
pub(crate) const ROUNDS: usize = 5;

/// Measured times of an image in training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// Measurements of different networks.
    measurements: Vec<Measurement>,
}

/// Times of an image in training, measured in turn, with workers and threads as `parareal train` chooses them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// Seconds for each training image, one for each round, by the arguments of `parareal train`.
    pub(crate) image_seconds: BTreeMap<String, Vec<f64>>,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) commit: String,
    /// Date of the measurement, in UTC.
    pub(crate) date: String,
}

impl Times {
    /// Returns the measurement of a row's network; `None` if it was not measured.
    pub(crate) fn of(&self, row: &Row) -> Option<&Measurement> {
        let key = key(row);
        self.measurements.iter().find(|found| found.image_seconds.contains_key(&key))
    }

    /// Returns the median time of a training image of a row's network; `None` if it was not measured.
    pub(crate) fn image_seconds(&self, row: &Row) -> Option<f64> {
        let seconds = self.of(row)?.image_seconds.get(&key(row))?;
        Some(seconds.iter().copied().collect::<Sample>().median())
    }

    /// Adds a measurement, in place of earlier times of the same networks.
    pub(crate) fn add(&mut self, measured: Measurement) {
        for earlier in &mut self.measurements {
            earlier.image_seconds.retain(|key, _| !measured.image_seconds.contains_key(key));
        }
        self.measurements.retain(|earlier| !earlier.image_seconds.is_empty());
        self.measurements.push(measured);
    }
}

impl Measurement {
    /// Measures the networks of all rows in turn. Returns `None` if `stop` was set.
    ///
    /// # Errors
    /// If a run fails.
    pub(crate) fn measure(
        machine: &Machine,
        rows: &[Row],
        rounds: usize,
        stop: &AtomicBool,
    ) -> Result<Option<Self>> {
        let mut image_seconds = BTreeMap::<_, Vec<f64>>::new();
        for round in 1..=rounds {
            for row in rows {
                let times = image_seconds.entry(key(row)).or_default();
                // Another row has the same network.
                if times.len() == round {
                    continue;
                }
                let Some(seconds) = time(machine, row, stop)? else { return Ok(None) };
                crate::note(&format!(
                    "{}: {}, round {round} of {rounds}: {:.2} ms for an image",
                    row.group,
                    row.title,
                    1e3 * seconds
                ));
                times.push(seconds);
            }
        }
        let Conditions { cpu, commit, cores, .. } = machine.conditions.clone();
        Ok(Some(Self { image_seconds, cpu, cores, commit, date: today() }))
    }
}

/// Returns a row with the training of a timed run. Rows with the same network and data become the same.
fn timed(row: &Row) -> Row {
    let mut row = row.clone();
    row.limit_train = Some(row.limit_train.map_or(IMAGES[0], |limit| limit.min(IMAGES[0])));
    if let Training::Small { limit_test, learning_rate, .. } = &mut row.training {
        (*limit_test, *learning_rate) = (Some(IMAGES[1]), LEARNING_RATE);
    }
    row
}

/// Returns the arguments of `parareal train` for a timed run, which identify the network.
fn key(row: &Row) -> String {
    timed(row).arguments(1, EPOCHS).join(" ")
}

/// Runs `parareal train`, and returns the time of an image in its last epoch in seconds; `None` if `stop` was set.
fn time(machine: &Machine, row: &Row, stop: &AtomicBool) -> Result<Option<f64>> {
    let row = timed(row);
    let folder = machine.scratch.folder.join("times");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let log = folder.with_extension("log");
    let mut command = Command::new(&machine.parareal);
    command.arg("train").args(row.arguments(1, EPOCHS)).arg("--output").arg(&folder);
    if let Some(data_dir) = &machine.data_dir {
        command.arg("--data-dir").arg(data_dir);
    }
    if !run_to_end(command, &log, stop)? {
        return Ok(None);
    }
    let mut last = None;
    for line in fs::read_to_string(folder.join(names::METRICS))?.lines() {
        if let Line::Epoch(epoch) = serde_json::from_str(line)? {
            last = Some(epoch.seconds);
        }
    }
    fs::remove_dir_all(folder)?;
    fs::remove_file(log)?;
    Ok(Some(last.ok_or("no epoch was trained")? / row.train_images() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::row;

    impl Measurement {
        /// Times of the networks of some rows.
        pub(crate) fn of<const N: usize>(rows: [(Row, Vec<f64>); N]) -> Self {
            let image_seconds = rows.map(|(row, seconds)| (key(&row), seconds));
            Self {
                image_seconds: image_seconds.into(),
                cpu: "some processor".into(),
                cores: 2,
                commit: "0123abc".into(),
                date: "2026-01-02".into(),
            }
        }
    }

    #[test]
    fn later_times_replace_those_of_the_same_networks() {
        let rows = ["cifar10-29-n1", "mnist-20-n1", "mnist-20-n3-basic"].map(row);
        let [cifar, serial, cut] = &rows;
        let mut times = Times::default();
        times.add(Measurement::of(rows.clone().map(|row| (row, vec![1.0]))));
        let later = [serial, cut].map(|row| (row.clone(), vec![2.0]));
        times.add(Measurement { commit: "4567def".into(), ..Measurement::of(later) });
        let found = rows.each_ref().map(|row| times.image_seconds(row));
        assert_eq!(found, [Some(1.0), Some(2.0), Some(2.0)]);
        assert_eq!(times.of(cifar).unwrap().commit, "0123abc");
        assert_eq!(times.of(serial).unwrap().commit, "4567def");
        times.add(Measurement::of(rows.clone().map(|row| (row, vec![3.0]))));
        assert_eq!(times.measurements.len(), 1);
    }

    #[test]
    fn rows_with_the_same_network_and_images_share_their_time() {
        let [serial, same, cut] =
            ["cifar10-29-n1", "cifar10-29-n1-same-time", "cifar10-29-n3-recommended"].map(row);
        assert_eq!(key(&serial), key(&same));
        assert_ne!(key(&serial), key(&cut));
        let rate = Training::Small { learning_rate: 0.2, batch_size: 32, limit_test: None };
        assert_eq!(key(&Row { training: rate, ..serial.clone() }), key(&serial));
        assert_eq!(
            key(&serial),
            "--dataset cifar10 --depth 29 --subnetworks 1 --limit-train 1024 --epochs 2 --limit-test 32 \
             --batch-size 32 --learning-rate 0.01 --schedule step --milestones 1 --seed 1"
        );
    }
}
