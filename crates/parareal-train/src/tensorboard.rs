//! Event files for TensorBoard, beside `metrics.jsonl`.
//!
//! A file is a sequence of records: the length, a checksum of it, the data, a checksum of that. The
//! data is an `Event` message in the encoding of protocol buffers; of its many fields a training
//! run needs the wall-clock time (1), the step (2), the version of the format (3), scalars (5) and
//! the start of a session (7), which makes TensorBoard forget what an earlier one wrote behind
//! this step.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{EpochRecord, StepRecord, TrainError};

/// The event file of one session of a run.
pub(crate) struct Events {
    file: File,
    path: PathBuf,
}

impl Events {
    /// A new file in the folder of the run, for the steps behind `step`.
    pub(crate) fn create(folder: &Path, step: usize) -> Result<Self, TrainError> {
        let begun = now();
        let mut number = begun as u64;
        // TensorBoard reads the files of a folder in the order of their names.
        let (file, path) = loop {
            let path = folder.join(format!("events.out.tfevents.{number:010}.parareal"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                opened => break (opened.map_err(TrainError::file("create", &path))?, path),
            }
        };
        let mut events = Self { file, path };
        events.record(&event(begun, 0, 3, b"brain.Event:2"))?;
        // SessionLog { status: START }: also where a run starts from its beginning once more.
        events.record(&event(begun, step + 1, 7, &[0x08, 1]))?;
        Ok(events)
    }

    pub(crate) fn step(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        let scalars = [
            ("step/loss", Some(record.loss)),
            ("step/error", Some(record.error)),
            ("step/learning_rate", Some(record.learning_rate)),
            ("step/gradient_norm", record.gradient_norm),
            ("step/images_per_second", Some(record.images_per_second)),
        ];
        self.scalars(record.step, &scalars)
    }

    /// Behind the step that was the last of the epoch.
    pub(crate) fn epoch(&mut self, step: usize, record: &EpochRecord) -> Result<(), TrainError> {
        let scalars = [
            ("loss/train", Some(record.train_loss)),
            ("loss/validation", record.validation_loss),
            ("loss/test", record.test_loss),
            ("error/train", Some(record.train_error)),
            ("error/validation", record.validation_error),
            ("error/test", record.test_error),
            ("error/test_top5", record.test_top5_error),
        ];
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
        self.record(&event(now(), step, 5, &summary))
    }

    fn record(&mut self, data: &[u8]) -> Result<(), TrainError> {
        let length = (data.len() as u64).to_le_bytes();
        let record = [&length[..], &checksum(&length), data, &checksum(data)].concat();
        self.file.write_all(&record).map_err(TrainError::file("write", &self.path))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

// Kinds of fields on the wire.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED_32: u8 = 5;

/// An event with one field besides time and step.
fn event(time: f64, step: usize, field: u8, content: &[u8]) -> Vec<u8> {
    let mut event = vec![1 << 3 | FIXED_64];
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

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// CRC-32C, turned and shifted as the format asks for.
fn checksum(data: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(data);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_seven_bits_a_byte() {
        let encoded = |value| {
            let mut to = Vec::new();
            varint(&mut to, value);
            to
        };
        assert_eq!(encoded(1), [1]);
        assert_eq!(encoded(300), [0xac, 2]);
        assert_eq!(encoded(u64::MAX).len(), 10);
    }

    #[test]
    fn records_are_framed_with_checksums() {
        let folder = tempfile::tempdir().unwrap();
        Events::create(folder.path(), 0).unwrap();
        Events::create(folder.path(), 12).unwrap();
        let mut files: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert_eq!(files.len(), 2);
        let bytes = files.iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>();
        let lengths = bytes.iter().map(|bytes| {
            let (mut rest, mut records) = (&bytes[..], 0);
            while let Some((length, tail)) = rest.split_first_chunk::<8>() {
                assert_eq!(tail[..4], checksum(length));
                let (data, tail) = tail[4..].split_at(u64::from_le_bytes(*length) as usize);
                assert_eq!(tail[..4], checksum(data));
                rest = &tail[4..];
                records += 1;
            }
            records
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [2, 2]);
    }
}
