//! Results of finished runs, one small JSON file each, and the measured times.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use parareal_run::{DistillationRecord, InterfaceRecord};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::conditions::Conditions;
use crate::row::{Epochs, Row};
use crate::times::{Measurement, Times};

/// The result of a finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// Identifier of the row.
    pub(crate) row: String,
    pub(crate) seed: u64,
    /// Arguments that determine the result. A record with other arguments is ignored.
    pub(crate) arguments: Vec<String>,
    /// Command-line arguments of the run that provides the initial weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source_arguments: Option<Vec<String>>,
    /// The whole command, without paths of this machine.
    pub(crate) command: String,
    /// Number of training images, excluding held-out images.
    pub(crate) train_images: usize,
    /// Number of images for the error: the held-out images if there are any, otherwise the test images.
    pub(crate) evaluated_images: usize,
    pub(crate) parameters: usize,
    /// Fraction of these images that are classified wrongly after the last epoch.
    pub(crate) error: f64,
    /// This fraction after each epoch.
    pub(crate) errors: Vec<f64>,
    /// Training time in seconds, without evaluations. The parts of a resumed run are added up.
    pub(crate) train_seconds: f64,
    /// Training time of each epoch in seconds.
    pub(crate) epoch_seconds: Vec<f64>,
    /// The distillation before the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) distillation: Option<DistillationResult>,
    #[serde(flatten)]
    pub(crate) conditions: Conditions,
    /// Date on which the run finished, in UTC.
    pub(crate) date: String,
}

/// The result of a distillation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DistillationResult {
    pub(crate) steps: usize,
    pub(crate) seconds: f64,
    /// Losses of each interface in the first step.
    pub(crate) first: Vec<InterfaceRecord>,
    /// Means of the losses of each interface over the last steps.
    pub(crate) last: Vec<InterfaceRecord>,
}

impl RunRecord {
    /// Returns the name of the file of the run.
    fn file_name(&self) -> String {
        format!("{}-seed{}.json", self.row, self.seed)
    }
}

impl DistillationResult {
    /// Returns the distillation in the metrics of a run; `None` if there is none. An interrupted distillation
    /// starts over, so the last one counts.
    pub(crate) fn of(records: &[DistillationRecord]) -> Option<Self> {
        let first = records.iter().rfind(|record| record.step == 1)?;
        let last = records.last()?;
        Some(Self {
            steps: last.steps,
            seconds: last.seconds,
            first: first.interfaces.clone(),
            last: last.interfaces.clone(),
        })
    }
}

/// The folder of results.
#[derive(Debug)]
pub(crate) struct Results {
    folder: PathBuf,
    records: Vec<RunRecord>,
    times: Option<Times>,
}

/// File with the measured times.
const TIMES: &str = "times.json";

impl Results {
    /// Reads all results in a folder. There are none if the folder does not exist.
    ///
    /// # Errors
    /// If a file cannot be read or parsed, or has another name than its run.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut results = Self { folder: folder.into(), records: Vec::new(), times: None };
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(results),
            entries => entries.map_err(|error| format!("{}: {error}", folder.display()))?,
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        for path in paths {
            if path.file_name().is_some_and(|name| name == TIMES) {
                results.times = Some(read_json(&path)?);
                continue;
            }
            let record: RunRecord = read_json(&path)?;
            let expected = record.file_name();
            if path.file_name().is_none_or(|name| name != expected.as_str()) {
                return Err(format!(
                    "{}: holds the run of {expected}; delete it if it is a copy",
                    path.display()
                )
                .into());
            }
            results.records.push(record);
        }
        Ok(results)
    }

    /// Returns the finished runs of a row with its current settings, by seed.
    pub(crate) fn of(&self, row: &Row) -> Vec<&RunRecord> {
        let Some(epochs) = self.epochs(row) else { return Vec::new() };
        let mut found: Vec<_> = self.records.iter().filter(|record| record.row == row.id).collect();
        found.retain(|record| record.arguments == row.arguments(record.seed, epochs));
        found.retain(|record| record.source_arguments == row.source_arguments(record.seed));
        found.retain(|record| row.seeds.contains(&record.seed));
        found.sort_by_key(|record| record.seed);
        found
    }

    /// Returns the runs of [`Self::of`] whose duration is a measure of speed: nothing else ran on their machine.
    pub(crate) fn timed(&self, row: &Row) -> Vec<&RunRecord> {
        self.of(row).into_iter().filter(|record| record.conditions.was_alone()).collect()
    }

    /// Returns the seeds of all runs, sorted.
    pub(crate) fn seeds(&self) -> Vec<u64> {
        let seeds: BTreeSet<_> = self.records.iter().map(|record| record.seed).collect();
        seeds.into_iter().collect()
    }

    /// Returns the finished run of a row with this seed.
    pub(crate) fn get(&self, row: &Row, seed: u64) -> Option<&RunRecord> {
        self.of(row).into_iter().find(|record| record.seed == seed)
    }

    /// Returns the number of epochs of a row; `None` if it depends on times that have not been measured.
    pub(crate) fn epochs(&self, row: &Row) -> Option<usize> {
        match &row.epochs {
            Epochs::Fixed(epochs) => Some(*epochs),
            Epochs::AsLongAs(other) => {
                let [own, others] = [row, other].map(|row| self.image_seconds(row));
                Some(epochs_within(self.epochs(other)? as f64 * others?, own?))
            }
        }
    }

    /// Returns the measured times.
    pub(crate) fn times(&self) -> Option<&Times> {
        self.times.as_ref()
    }

    /// Returns the measured time of a training image of a row's network, in seconds.
    pub(crate) fn image_seconds(&self, row: &Row) -> Option<f64> {
        self.times.as_ref()?.image_seconds(row)
    }

    /// Stores measured times, in place of earlier ones of the same networks.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn add_times(&mut self, measured: Measurement) -> Result<()> {
        let mut times = self.times.clone().unwrap_or_default();
        times.add(measured);
        self.write(TIMES, &times)?;
        self.times = Some(times);
        Ok(())
    }

    /// Stores the result of a run in its own file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn add(&mut self, record: RunRecord) -> Result<()> {
        self.write(&record.file_name(), &record)?;
        self.records.retain(|other| (&other.row, other.seed) != (&record.row, record.seed));
        self.records.push(record);
        Ok(())
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        write_json(&self.folder.join(name), value)
    }
}

/// Reads a file.
///
/// # Errors
/// If it cannot be read or parsed. The message has its path.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// Writes a file. A temporary file is written first and then renamed.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let beside = path.with_added_extension("new");
    fs::write(&beside, serde_json::to_string_pretty(value)? + "\n")
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Returns the number of epochs, at least 1, whose total duration is nearest to a given duration.
fn epochs_within(seconds: f64, epoch_seconds: f64) -> usize {
    // The cast saturates, and converts NaN to 0.
    ((seconds / epoch_seconds).round() as usize).max(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::study;

    /// Returns a record of a row with this training time.
    pub(crate) fn record(
        row: &Row,
        seed: u64,
        epochs: usize,
        error: f64,
        seconds: f64,
    ) -> RunRecord {
        RunRecord {
            row: row.id.clone(),
            seed,
            arguments: row.arguments(seed, epochs),
            source_arguments: row.source_arguments(seed),
            command: "parareal train".into(),
            train_images: 8_336,
            evaluated_images: 1_017,
            parameters: 312_000,
            error,
            errors: (0..epochs).map(|epoch| error + (epochs - 1 - epoch) as f64 / 100.0).collect(),
            train_seconds: seconds,
            epoch_seconds: vec![seconds / epochs as f64; epochs],
            distillation: None,
            conditions: Conditions {
                runs_at_a_time: 2,
                shared_machine: true,
                cpu: "some processor".into(),
                cores: 2,
                commit: "0123abc".into(),
            },
            date: "2026-01-02".into(),
        }
    }

    /// Returns the record of a run that had the machine to itself.
    pub(crate) fn alone(record: RunRecord) -> RunRecord {
        let conditions =
            Conditions { shared_machine: false, runs_at_a_time: 1, ..record.conditions };
        RunRecord { conditions, ..record }
    }

    pub(crate) fn row(id: &str) -> Row {
        let all =
            [study::small, study::screening, study::rates, study::initialization, study::precision];
        let mut rows = all.into_iter().flat_map(|rows| rows(false).unwrap());
        rows.find(|row| row.id == id).unwrap()
    }

    #[test]
    fn epochs_fill_the_time_of_another_run() {
        for (seconds, epoch, expected) in [(100.0, 10.0, 10), (104.0, 10.0, 10), (106.0, 10.0, 11)]
        {
            assert_eq!(epochs_within(seconds, epoch), expected);
        }
        assert_eq!(epochs_within(1.0, 10.0), 1);
        assert_eq!(epochs_within(0.0, 0.0), 1);
    }

    /// Times of images in seconds: of N = 1 and of N = 3.
    pub(crate) fn times(serial: f64, cut: f64) -> Measurement {
        let image_seconds = [("cifar10-29-n1", serial), ("cifar10-29-n3-recommended", cut)];
        Measurement::of(image_seconds.map(|(id, seconds)| (row(id), vec![seconds, 9.0, 0.0])))
    }

    #[test]
    fn the_epochs_of_the_same_wall_clock_follow_from_measured_times() {
        let folder = tempfile::tempdir().unwrap();
        let same = row("cifar10-29-n1-same-time");
        let mut results = Results::read(folder.path()).unwrap();
        assert_eq!(results.epochs(&same), None);
        results.add_times(times(0.050, 0.0925)).unwrap();
        let results = Results::read(folder.path()).unwrap();
        assert_eq!(results.epochs(&same), Some(22));
        assert_eq!(results.times().unwrap().of(&row("cifar10-29-n1")), Some(&times(0.050, 0.0925)));
        // The times of another network do not count.
        let mut other = same;
        other.network.depth = 38;
        assert_eq!(results.epochs(&other), None);
    }

    #[test]
    fn copies_of_results_are_refused_and_unfinished_files_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        results.add(record(&row("cifar10-29-n1"), 1, 12, 0.3, 60.0)).unwrap();
        let path = folder.path().join("cifar10-29-n1-seed1.json");
        fs::write(folder.path().join("cifar10-29-n1-seed2.json.new"), "{").unwrap();
        assert_eq!(Results::read(folder.path()).unwrap().records.len(), 1);
        fs::copy(&path, folder.path().join("cifar10-29-n1-seed1 (1).json")).unwrap();
        let error = Results::read(folder.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("holds the run of cifar10-29-n1-seed1.json; delete it if it is a copy"),
            "{error}"
        );
        let error = Results::read(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
    }

    #[test]
    fn results_of_other_settings_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let row = row("cifar10-29-n1");
        let mut results = Results::read(&folder.path().join("new")).unwrap();
        results.add(record(&row, 1, 12, 0.3, 60.0)).unwrap();
        results.add(record(&row, 2, 6, 0.3, 60.0)).unwrap();
        results.add(record(&row, 99, 12, 0.3, 60.0)).unwrap();
        let results = Results::read(&folder.path().join("new")).unwrap();
        assert_eq!(results.of(&row).len(), 1);
        assert!(results.get(&row, 1).is_some() && results.get(&row, 2).is_none());
    }

    #[test]
    fn results_of_runs_from_a_run_with_other_settings_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let row = row("initialization-nested");
        let mut results = Results::read(folder.path()).unwrap();
        results.add(record(&row, 1, 6, 0.3, 60.0)).unwrap();
        assert!(results.get(&row, 1).is_some());
        let mut other = row.clone();
        other.source.as_mut().unwrap().row.network.depth = 11;
        assert_eq!(other.arguments(1, 6), row.arguments(1, 6));
        assert!(results.get(&other, 1).is_none());
    }

    #[test]
    fn records_of_runs_from_scratch_have_no_source() {
        let text = serde_json::to_string(&record(&row("cifar10-29-n1"), 1, 12, 0.3, 60.0)).unwrap();
        assert!(!text.contains("source") && !text.contains("distillation"), "{text}");
        let read: RunRecord = serde_json::from_str(&text).unwrap();
        assert_eq!((read.source_arguments, read.distillation), (None, None));
    }

    #[test]
    fn a_distillation_has_the_losses_of_its_first_and_its_last_steps() {
        let step = |step, coarse| DistillationRecord {
            step,
            steps: 40,
            interfaces: vec![InterfaceRecord { preprocessing: 1.0, coarse }],
            seconds: step as f64,
        };
        // The first distillation was interrupted.
        let found = DistillationResult::of(&[
            step(1, 9.0),
            step(20, 5.0),
            step(1, 8.0),
            step(20, 4.0),
            step(40, 2.0),
        ]);
        let found = found.unwrap();
        assert_eq!((found.steps, found.seconds), (40, 40.0));
        assert_eq!((found.first[0].coarse, found.last[0].coarse), (8.0, 2.0));
        assert_eq!(DistillationResult::of(&[]), None);
    }
}
