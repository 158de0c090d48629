//! Records of label bytes and an image, the binary format of CIFAR.

use std::io::Read;

use crate::formats::error::{FileError, FileFault};
use crate::formats::file::DataFile;

/// Rows and columns of an image.
pub(crate) const SIDE: usize = 32;

/// Bytes of an image: a plane each of red, green and blue, row by row.
pub(crate) const IMAGE_LEN: usize = 3 * SIDE * SIDE;

/// A label byte of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    /// Name of the label, such as "fine label".
    pub(crate) what: &'static str,
    /// Number of classes; valid labels are less than it.
    pub(crate) classes: usize,
}

/// Expected records of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordFormat {
    /// Description of the images, such as "CIFAR-10 images".
    pub(crate) what: &'static str,
    /// The label bytes; the last one is the label of the image.
    pub(crate) labels: &'static [Label],
    /// Maximum number of records.
    pub(crate) max: usize,
}

/// Images with their labels.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Pixels `[n, 3, 32, 32]`.
    pub(crate) pixels: Vec<u8>,
    /// A label for each image.
    pub(crate) labels: Vec<u16>,
}

impl RecordFormat {
    /// Length of a record in bytes.
    pub(crate) fn record_len(&self) -> usize {
        self.labels.len() + IMAGE_LEN
    }

    /// Maximum length of a file in bytes.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max as u64 * self.record_len() as u64
    }

    /// Describes the expected file.
    pub(crate) fn description(&self) -> String {
        let Self { what, max, .. } = self;
        format!("1 to {max} {what} in records of {} bytes", self.record_len())
    }

    /// Reads records to the end. A record beyond the maximum number is an error.
    pub(crate) fn read(
        &self,
        file: &DataFile,
        reader: &mut dyn Read,
    ) -> Result<Records, Box<FileError>> {
        let mut record = vec![0; self.record_len()];
        let mut records = Records::default();
        loop {
            let count = records.labels.len();
            let found = file.read_full(reader, &mut record, format_args!(" in record {count}"))?;
            if found == 0 {
                break;
            }
            if count == self.max && found == record.len() {
                return Err(file.error(FileFault::TooLarge, "more records"));
            }
            if count == self.max {
                let found = format!("{found} bytes after the last record");
                return Err(file.error(FileFault::Trailing, found));
            }
            if found < record.len() {
                let found = format!("only {found} bytes of record {count}");
                return Err(file.error(FileFault::Truncated, found));
            }
            let (labels, pixels) = record.split_at(self.labels.len());
            self.check(file, labels, count)?;
            records.labels.extend(labels.last().copied().map(u16::from));
            records.pixels.extend_from_slice(pixels);
        }
        if records.labels.is_empty() {
            return Err(file.error(FileFault::Truncated, "no records"));
        }
        Ok(records)
    }

    /// Checks the label bytes of record `index`.
    fn check(&self, file: &DataFile, labels: &[u8], index: usize) -> Result<(), Box<FileError>> {
        for (&label, Label { what, classes }) in labels.iter().zip(self.labels) {
            if usize::from(label) >= *classes {
                let expected = format!("{} with {what}s from 0 to {}", file.expected, classes - 1);
                let found = format!("{what} {label} in record {index}");
                return Err(file.with_expected(expected).error(FileFault::Label, found));
            }
        }
        Ok(())
    }
}

impl Records {
    /// Concatenates the records of several files.
    pub(crate) fn joined(mut parts: Vec<Self>) -> Self {
        let len = |part: &Self| part.labels.len();
        let count = parts.iter().map(len).sum();
        if parts.len() == 1
            && let Some(mut only) = parts.pop()
        {
            only.pixels.shrink_to_fit();
            return only;
        }
        let mut all = Self {
            pixels: Vec::with_capacity(count * IMAGE_LEN),
            labels: Vec::with_capacity(count),
        };
        for part in parts {
            all.pixels.extend(part.pixels);
            all.labels.extend(part.labels);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: RecordFormat = RecordFormat {
        what: "small images",
        labels: &[Label { what: "coarse label", classes: 2 }, Label { what: "label", classes: 4 }],
        max: 3,
    };

    /// Records with the given label bytes. Every pixel of a record is 100 plus its last label.
    fn records(labels: &[[u8; 2]]) -> Vec<u8> {
        let record =
            |&[coarse, fine]: &[u8; 2]| [vec![coarse, fine], vec![100 + fine; IMAGE_LEN]].concat();
        labels.iter().flat_map(record).collect()
    }

    fn read(mut bytes: &[u8]) -> Result<Records, Box<FileError>> {
        let path = "a.bin".into();
        let file = DataFile { path, expected: FORMAT.description(), origin: "nowhere" };
        FORMAT.read(&file, &mut bytes)
    }

    fn fault(bytes: &[u8]) -> (FileFault, String) {
        let error = read(bytes).unwrap_err();
        let text = error.to_string();
        assert!(text.lines().count() == 1 && text.starts_with("a.bin: expected "), "{text}");
        (error.fault, text)
    }

    #[test]
    fn the_last_label_counts() {
        for labels in [&[[1, 0]][..], &[[0, 3], [1, 2], [0, 0]]] {
            let found = read(&records(labels)).unwrap();
            let fine: Vec<u8> = labels.iter().map(|labels| labels[1]).collect();
            assert!(found.labels.iter().copied().eq(fine.iter().copied().map(u16::from)));
            assert_eq!(found.pixels.len(), labels.len() * IMAGE_LEN);
            for (image, label) in found.pixels.chunks_exact(IMAGE_LEN).zip(fine) {
                assert!(image.iter().all(|&pixel| pixel == 100 + label));
            }
        }
    }

    #[test]
    fn every_truncation_is_detected() {
        let whole = records(&[[1, 0], [0, 3]]);
        let record_len = FORMAT.record_len();
        for len in (0..whole.len()).filter(|len| len % record_len != 0 || *len == 0) {
            assert_eq!(fault(&whole[..len]).0, FileFault::Truncated, "at {len}");
        }
    }

    #[test]
    fn more_records_than_the_limit_are_refused() {
        let mut full = records(&[[0, 0]; 3]);
        full.push(0);
        assert_eq!(fault(&full).0, FileFault::Trailing);
        assert_eq!(fault(&records(&[[0, 0]; 4])).0, FileFault::TooLarge);
        let mut endless = std::io::repeat(0);
        let file = DataFile { path: "a".into(), expected: FORMAT.description(), origin: "nowhere" };
        let error = FORMAT.read(&file, &mut endless).unwrap_err();
        assert_eq!(error.fault, FileFault::TooLarge);
    }

    #[test]
    fn labels_out_of_range_are_named() {
        let (found, text) = fault(&records(&[[1, 0], [0, 4]]));
        assert_eq!(found, FileFault::Label);
        assert!(text.contains("labels from 0 to 3, found label 4 in record 1"), "{text}");
        let (found, text) = fault(&records(&[[2, 0]]));
        assert_eq!(found, FileFault::Label);
        assert!(text.contains("found coarse label 2 in record 0"), "{text}");
    }
}
