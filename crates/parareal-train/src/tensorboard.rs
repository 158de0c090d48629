//! Event files for TensorBoard.
//!
//! A file is a sequence of records. A record consists of the length of the data, a checksum of the length, the
//! data, and a checksum of the data. The data is an `Event` message in the encoding of protocol buffers. A
//! training run uses these fields of an event: the wall-clock time (1), the step (2), the version of the format
//! (3), scalars (5) and the start of a session (7). When a session starts, TensorBoard drops the points of
//! earlier sessions from its first step on.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use parareal_run::{EpochRecord, StepRecord};

use crate::TrainError;

/// The event file of one session of a run.
pub(crate) struct Events {
    file: File,
    path: PathBuf,
    clock: Clock,
}

impl Events {
    /// Creates a new file in the folder of a run that starts or is resumed after the step `last`. Its name sorts
    /// after the names of existing files, and its times are later than theirs, even if the system clock was set
    /// back.
    pub(crate) fn create(folder: &Path, last: Option<&StepRecord>) -> Result<Self, TrainError> {
        let newest = newest_name(folder)?;
        let clock = Clock::after(newest.as_ref().and_then(|name| last_time(&folder.join(name))));
        let path = folder.join(name_after(newest.as_deref(), clock.time as u64));
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(TrainError::file("create", &path))?;
        let mut events = Self { file, path, clock };
        events.record(0, 3, b"brain.Event:2")?;
        // `SessionLog { status: START }` makes TensorBoard drop all points from this step on. It is also written
        // if a run starts again from its beginning. The point of the step itself is written again below, and the
        // point of its epoch after the evaluation.
        events.record(last.map_or(1, |record| record.step), 7, &[0x08, 1])?;
        last.map_or(Ok(()), |record| events.step(record))?;
        Ok(events)
    }

    pub(crate) fn step(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        let scalars = [
            ("step/loss", Some(record.loss)),
            ("step/error", record.error),
            ("step/learning_rate", Some(record.learning_rate)),
            ("step/gradient_norm", record.gradient_norm),
            ("step/images_per_second", Some(record.samples_per_second)),
        ];
        self.scalars(record.step, &scalars)
    }

    /// Writes the results of an epoch at its last step.
    pub(crate) fn epoch(&mut self, step: usize, record: &EpochRecord) -> Result<(), TrainError> {
        let scalars = [
            ("loss/train", Some(record.train_loss)),
            ("loss/validation", record.validation_loss),
            ("loss/test", record.test_loss),
            ("error/train", record.train_error),
            ("error/validation", record.validation_error),
            ("error/test", record.test_error),
            ("error/test_top5", record.test_top5_error),
        ];
        let tags = record.metrics.iter().map(|(name, value)| (format!("metric/{name}"), *value));
        let tags: Vec<(String, f64)> = tags.collect();
        let metrics = tags.iter().map(|(tag, value)| (tag.as_str(), Some(*value)));
        let scalars: Vec<_> = scalars.into_iter().chain(metrics).collect();
        self.scalars(step, &scalars)
    }

    fn scalars(&mut self, step: usize, scalars: &[(&str, Option<f64>)]) -> Result<(), TrainError> {
        let mut summary = Vec::new();
        for (tag, value) in scalars {
            if let Some(value) = value {
                let mut scalar = Vec::new();
                bytes_field(&mut scalar, 1, tag.as_bytes());
                scalar.push(2 << 3 | FIXED_32);
                scalar.extend((*value as f32).to_le_bytes());
                bytes_field(&mut summary, 1, &scalar);
            }
        }
        self.record(step, 5, &summary)
    }

    /// Appends an event with one field besides time and step.
    fn record(&mut self, step: usize, field: u8, content: &[u8]) -> Result<(), TrainError> {
        let data = &event(self.clock.tick(), step, field, content);
        let length = (data.len() as u64).to_le_bytes();
        let record = [&length[..], &checksum(&length), data, &checksum(data)].concat();
        self.file.write_all(&record).map_err(TrainError::file("write", &self.path))
    }
}

/// Returns the name of the event file in a folder that sorts last. TensorBoard reads the files in the order of
/// their names, and does not return to earlier files.
fn newest_name(folder: &Path) -> Result<Option<String>, TrainError> {
    let mut newest = None;
    for entry in fs::read_dir(folder).map_err(TrainError::file("read", folder))? {
        let name = entry.map_err(TrainError::file("read", folder))?.file_name();
        let name = name.into_string().ok().filter(|name| name.contains("tfevents"));
        newest = newest.max(name);
    }
    Ok(newest)
}

/// Returns a name for a file that begins at this second. The name sorts after the name of the newest file. As in
/// TensorFlow, seconds have ten digits.
fn name_after(newest: Option<&str>, second: u64) -> String {
    let number = newest.and_then(|name| {
        let number = name.strip_prefix(NAME)?.split('.').next()?;
        number.parse::<u64>().ok()
    });
    let number = number.map_or(second, |number| second.max(number.saturating_add(1)));
    let name = format!("{NAME}{:010}.parareal", number.min(LAST_SECOND));
    match newest {
        Some(newest) if *newest >= *name => format!("{newest}.1"),
        _ => name,
    }
}

const NAME: &str = "events.out.tfevents.";
const LAST_SECOND: u64 = 9_999_999_999;

/// Returns the time of the last readable event of a file.
fn last_time(path: &Path) -> Option<f64> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut last = None;
    let (mut head, mut time) = ([0; 12], [0; 9]);
    while file.read_exact(&mut head).is_ok() && file.read_exact(&mut time).is_ok() {
        let (length, _) = head.split_first_chunk::<8>()?;
        let [TIME, time @ ..] = time else { break };
        last = Some(f64::from_le_bytes(time)).filter(|time| time.is_finite());
        let rest = u64::from_le_bytes(*length).checked_sub(9)?.checked_add(4)?;
        file.seek_relative(i64::try_from(rest).ok()?).ok()?;
    }
    last
}

/// The system clock, shifted forward so that times never decrease.
struct Clock {
    shift: f64,
    /// The last time that was returned.
    time: f64,
}

impl Clock {
    fn after(last: Option<f64>) -> Self {
        let now = now();
        let time = last.map_or(now, |last| last.max(now));
        Self { shift: time - now, time }
    }

    fn tick(&mut self) -> f64 {
        self.time = self.time.max(now() + self.shift);
        self.time
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

// Wire types of fields.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED_32: u8 = 5;
/// The tag of an event's time, its first field.
const TIME: u8 = 1 << 3 | FIXED_64;

/// Encodes an event with one field besides time and step.
fn event(time: f64, step: usize, field: u8, content: &[u8]) -> Vec<u8> {
    let mut event = vec![TIME];
    event.extend(time.to_le_bytes());
    event.push(2 << 3 | VARINT);
    varint(&mut event, step as u64);
    bytes_field(&mut event, field, content);
    event
}

fn bytes_field(to: &mut Vec<u8>, field: u8, content: &[u8]) {
    to.push(field << 3 | LENGTH);
    varint(to, content.len() as u64);
    to.extend(content);
}

/// Writes a varint: seven bits per byte, the lowest first; the highest bit is set if more bytes follow.
fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Returns the masked CRC-32C of the format: rotated, plus a constant.
fn checksum(data: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(data);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_seven_bits_per_byte() {
        let encoded = |value| {
            let mut to = Vec::new();
            varint(&mut to, value);
            to
        };
        assert_eq!(encoded(1), [1]);
        assert_eq!(encoded(300), [0xac, 2]);
        assert_eq!(encoded(u64::MAX).len(), 10);
    }

    /// Returns the events of a file: time, step, and the remaining bytes.
    fn events(path: &Path) -> Vec<(f64, u64, Vec<u8>)> {
        let bytes = fs::read(path).unwrap();
        let (mut rest, mut events) = (&bytes[..], Vec::new());
        while let Some((length, tail)) = rest.split_first_chunk::<8>() {
            assert_eq!(tail[..4], checksum(length));
            let (data, tail) = tail[4..].split_at(u64::from_le_bytes(*length) as usize);
            assert_eq!(tail[..4], checksum(data));
            rest = &tail[4..];
            assert_eq!((data[0], data[9]), (TIME, 2 << 3 | VARINT));
            let time = f64::from_le_bytes(data[1..9].try_into().unwrap());
            // Steps below 128 take one byte.
            events.push((time, u64::from(data[10]), data[11..].to_vec()));
        }
        events
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn step(step: usize) -> StepRecord {
        StepRecord {
            epoch: 1,
            step,
            loss: 1.0,
            error: Some(0.5),
            learning_rate: 0.1,
            gradient_norm: None,
            samples_per_second: 9.0,
        }
    }

    #[test]
    fn a_session_begins_with_the_step_that_it_continues_from() {
        let folder = tempfile::tempdir().unwrap();
        Events::create(folder.path(), None).unwrap();
        Events::create(folder.path(), Some(&step(12))).unwrap();
        let files = files(folder.path());
        let steps = files.iter().map(|path| {
            let events = events(path).into_iter();
            // The field number of the third field of an event.
            events.map(|(_, step, rest)| (step, rest[0] >> 3)).collect::<Vec<_>>()
        });
        let steps: Vec<_> = steps.collect();
        assert_eq!(steps, [vec![(0, 3), (1, 7)], vec![(0, 3), (12, 7), (12, 5)]]);
    }

    #[test]
    fn metrics_of_an_epoch_are_scalars_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = [("accuracy".to_string(), 0.5)].into();
        let record = EpochRecord { train_loss: 1.0, metrics, ..EpochRecord::default() };
        Events::create(folder.path(), None).unwrap().epoch(3, &record).unwrap();
        let events = events(&files(folder.path())[0]);
        let tag = b"metric/accuracy";
        let (_, step, content) = events.last().unwrap();
        assert_eq!(*step, 3);
        assert!(content.windows(tag.len()).any(|found| found == tag));
    }

    #[test]
    fn names_and_times_increase_when_the_clock_is_set_back() {
        let folder = tempfile::tempdir().unwrap();
        let events_of = |last: Option<&StepRecord>| {
            let mut events = Events::create(folder.path(), last).unwrap();
            // An hour ahead of the clock that the next session sees.
            events.clock = Clock::after(Some(events.clock.time + 3_600.0));
            events.step(&step(1)).unwrap();
        };
        events_of(None);
        events_of(Some(&step(1)));
        events_of(Some(&step(1)));
        let files = files(folder.path());
        assert_eq!(files.len(), 3);
        let times: Vec<f64> =
            files.iter().flat_map(|path| events(path)).map(|(time, ..)| time).collect();
        assert!(times.is_sorted() && times[times.len() - 1] > times[0] + 10_000.0, "{times:?}");
    }

    #[test]
    fn a_new_name_sorts_after_existing_ones() {
        let name = |newest: &str, expected: &str| {
            let found = name_after(Some(&format!("{NAME}{newest}")), 1_700_000_000);
            assert_eq!(found, format!("{NAME}{expected}"));
            assert!(*found > *format!("{NAME}{newest}"));
        };
        assert_eq!(name_after(None, 7), format!("{NAME}0000000007.parareal"));
        name("1600000000.parareal", "1700000000.parareal");
        name("1999999999.parareal", "2000000000.parareal");
        name("1999999999.host.v2", "2000000000.parareal");
        name("9999999999.parareal", "9999999999.parareal.1");
        name("9999999999.parareal.1", "9999999999.parareal.1.1");
        name("elsewhere", "elsewhere.1");
    }

    #[test]
    fn a_truncated_file_gives_the_time_of_its_last_complete_event() {
        let folder = tempfile::tempdir().unwrap();
        Events::create(folder.path(), Some(&step(12))).unwrap();
        let path = &files(folder.path())[0];
        let whole = fs::read(path).unwrap();
        let expected = events(path).last().unwrap().0;
        assert_eq!(last_time(path), Some(expected));
        for length in 0..whole.len() {
            fs::write(path, &whole[..length]).unwrap();
            assert!(last_time(path).is_none_or(|time| time <= expected));
        }
        fs::write(path, "no events, but long enough to be read as one").unwrap();
        assert_eq!(last_time(path), None);
    }
}
