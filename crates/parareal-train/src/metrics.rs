//! Writer and reader of `metrics.jsonl`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parareal_run::{EndRecord, EpochRecord, Line, StepRecord, names};

use crate::TrainError;

/// Largest number of bytes that are read for the last two lines. The lines of a run with ten thousand subnetworks
/// take a tenth of it.
const LONGEST_END: u64 = 16 << 20;

/// The file `metrics.jsonl`. Each line is written with one call.
pub(crate) struct Metrics {
    file: File,
    path: PathBuf,
    bytes: u64,
}

/// Records of a run up to its checkpoint.
#[derive(Default)]
pub(crate) struct Past {
    pub(crate) epochs: Vec<EpochRecord>,
    pub(crate) last_step: Option<StepRecord>,
}

impl Metrics {
    pub(crate) fn create(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(names::METRICS);
        let file = File::create(&path).map_err(TrainError::file("create", &path))?;
        Ok(Self { file, path, bytes: 0 })
    }

    /// Opens the file for appending after its first `bytes`; later lines are removed.
    pub(crate) fn resume(folder: &Path, bytes: u64) -> Result<Self, TrainError> {
        let path = folder.join(names::METRICS);
        let opened = OpenOptions::new().append(true).open(&path);
        let file = opened.map_err(TrainError::file("open", &path))?;
        file.set_len(bytes).map_err(TrainError::file("write", &path))?;
        Ok(Self { file, path, bytes })
    }

    /// Reads the records in the first `bytes` of the file.
    pub(crate) fn past(folder: &Path, bytes: u64) -> Result<Past, TrainError> {
        let path = folder.join(names::METRICS);
        let file = File::open(&path).map_err(TrainError::file("open", &path))?;
        let mut text = String::new();
        let read = file.take(bytes).read_to_string(&mut text);
        read.map_err(TrainError::file("read", &path))?;
        if text.len() as u64 != bytes {
            let found = text.len();
            let message =
                format!("it has {found} bytes, but the checkpoint was saved after {bytes}");
            return Err(TrainError::damaged(&path, message));
        }
        let mut past = Past::default();
        for (number, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(Line::Step(record)) if is_finite_step(&record) => past.last_step = Some(record),
                Ok(Line::Epoch(record)) if is_finite_epoch(&record) => past.epochs.push(record),
                Ok(Line::End(_) | Line::Distillation(_)) => {}
                unread => {
                    // No checkpoint is saved after a loss that is not finite or after an early end.
                    let error = unread.err().map(|error| error.to_string());
                    let error =
                        error.unwrap_or_else(|| "no checkpoint can follow this line".into());
                    let message = format!("line {}: {error}", number + 1);
                    return Err(TrainError::damaged(&path, message));
                }
            }
        }
        Ok(past)
    }

    /// Returns the last epoch and the end of a run, if exactly these two lines follow the first
    /// `bytes`.
    pub(crate) fn end(folder: &Path, bytes: u64) -> Option<(EpochRecord, EndRecord)> {
        let mut file = File::open(folder.join(names::METRICS)).ok()?;
        file.seek(SeekFrom::Start(bytes)).ok()?;
        let mut text = String::new();
        file.take(LONGEST_END).read_to_string(&mut text).ok()?;
        let lines = text.strip_suffix('\n')?.split('\n').map(serde_json::from_str);
        match lines.collect::<Result<Vec<_>, _>>().ok()?.as_slice() {
            [Line::Epoch(epoch), Line::End(end)] if is_finite_epoch(epoch) => {
                Some((epoch.clone(), end.clone()))
            }
            _ => None,
        }
    }

    /// Makes all lines durable, and returns the length of the file in bytes.
    pub(crate) fn sync(&mut self) -> Result<u64, TrainError> {
        self.file.sync_data().map_err(TrainError::file("write", &self.path))?;
        Ok(self.bytes)
    }

    /// Appends a line.
    pub(crate) fn write(&mut self, line: &Line) -> Result<(), TrainError> {
        let mut text = serde_json::to_vec(line).expect("numbers and names are JSON");
        text.push(b'\n');
        self.file.write_all(&text).map_err(TrainError::file("write", &self.path))?;
        self.bytes += text.len() as u64;
        Ok(())
    }
}

fn is_finite_step(record: &StepRecord) -> bool {
    record.loss.is_finite() && record.learning_rate.is_finite()
}

fn is_finite_epoch(record: &EpochRecord) -> bool {
    record.train_loss.is_finite() && record.seconds.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: &str = r#"{"event":"epoch","epoch":1,"train_loss":0.5,"seconds":1.0}"#;

    fn write(lines: &[&str]) -> (tempfile::TempDir, u64) {
        let folder = tempfile::tempdir().unwrap();
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        std::fs::write(folder.path().join(names::METRICS), &text).unwrap();
        (folder, text.len() as u64)
    }

    #[test]
    fn no_checkpoint_comes_after_a_loss_that_is_not_finite_or_an_early_end() {
        let (folder, bytes) = write(&[EPOCH]);
        assert_eq!(Metrics::past(folder.path(), bytes).map(|past| past.epochs.len()).unwrap(), 1);
        for line in [
            r#"{"event":"epoch","epoch":2,"train_loss":null,"seconds":1.0}"#,
            r#"{"event":"step","epoch":1,"step":1,"loss":null,"learning_rate":0.1,"images_per_second":1.0}"#,
            r#"{"event":"interrupted","step":1}"#,
            r#"{"event":"diverged","step":1,"message":"the loss is NaN"}"#,
        ] {
            let (folder, bytes) = write(&[EPOCH, line]);
            let error = Metrics::past(folder.path(), bytes).err().unwrap().to_string();
            assert!(error.contains("line 2: no checkpoint"), "{error}");
        }
    }

    #[test]
    fn a_run_has_ended_where_its_last_epoch_has_a_loss() {
        let end = r#"{"event":"end","seconds":2.0}"#;
        let (folder, _) = write(&[EPOCH, end]);
        assert!(Metrics::end(folder.path(), 0).is_some());
        let (folder, _) =
            write(&[r#"{"event":"epoch","epoch":1,"train_loss":null,"seconds":1.0}"#, end]);
        assert!(Metrics::end(folder.path(), 0).is_none());
    }
}
