//! Tests of the IDX reader with valid, damaged and malicious files.

use std::fs;
use std::io::{self, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;

const FORMAT: IdxFormat =
    IdxFormat { what: "small images", item: &[2, 3], max: 5, origin: "nowhere" };

/// Returns an IDX file of two images.
fn whole() -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3];
    bytes.extend(1..=12);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read_as(name: &str, bytes: &[u8]) -> Result<IdxItems, Box<FileError>> {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join(name), bytes).unwrap();
    read(directory.path(), &["a-idx", "a.idx"], FORMAT)
}

/// Returns the fault of a file, which must be the same plain and compressed. The messages must be
/// single lines.
fn fault(bytes: &[u8]) -> FileFault {
    let faults = [bytes.to_vec(), gzip(bytes)].map(|bytes| {
        let error = read_as("a-idx", &bytes).unwrap_err();
        let text = error.to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in ["a-idx: expected ", "small images of 2x3 bytes", ", found ", "nowhere"] {
            assert!(text.contains(part), "{text}");
        }
        error.fault
    });
    assert_eq!(faults[0], faults[1]);
    faults[0]
}

#[test]
fn all_forms_of_a_file_give_the_same_data() {
    let mut members = gzip(&whole()[..9]);
    members.extend(gzip(&whole()[9..]));
    for (name, bytes) in [
        ("a-idx", whole()),
        ("a-idx.gz", gzip(&whole())),
        ("a.idx", whole()),
        ("a.idx.gz", gzip(&whole())),
        ("a-idx", gzip(&whole())),
        ("a-idx.gz", whole()),
        ("a-idx.gz", members),
    ] {
        let items = read_as(name, &bytes).unwrap();
        assert_eq!(items.count, 2);
        assert_eq!(items.bytes, (1..=12).collect::<Vec<u8>>());
        assert!(items.file.path.ends_with(name));
    }
}

#[test]
fn a_missing_file_is_named_with_both_forms() {
    let directory = TempDir::new().unwrap();
    for directory in [directory.path().to_owned(), directory.path().join("absent")] {
        let error = read(&directory, &["a-idx", "a.idx"], FORMAT).unwrap_err();
        assert_eq!(error.fault, FileFault::Missing);
        assert_eq!(error.path, directory.join("a-idx"));
        let text = error.to_string();
        assert!(text.contains(".gz") && text.contains("nowhere"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}

#[test]
fn a_directory_in_place_of_a_file_is_refused() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("a-idx")).unwrap();
    let error = read(directory.path(), &["a-idx"], FORMAT).unwrap_err();
    assert_eq!(error.fault, FileFault::Unreadable);
}

#[test]
fn foreign_files_are_recognized_by_their_first_bytes() {
    assert_eq!(fault(b"\x89PNG\r\n\x1a\n and so on and on"), FileFault::Foreign);
    assert_eq!(fault(b"P"), FileFault::Foreign);
    for (place, byte) in [(0, 1), (1, 1), (2, 9), (3, 1)] {
        let mut bytes = whole();
        bytes[place] = byte;
        assert_eq!(fault(&bytes), FileFault::Foreign);
    }
}

#[test]
fn every_truncation_is_detected() {
    let bytes = whole();
    for len in 0..bytes.len() {
        assert_eq!(fault(&bytes[..len]), FileFault::Truncated, "at {len}");
    }
    let compressed = gzip(&bytes);
    for len in 2..compressed.len() {
        let error = read_as("a-idx.gz", &compressed[..len]).unwrap_err();
        assert_eq!(error.fault, FileFault::Truncated, "at {len}: {error}");
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let mut bytes = whole();
    bytes.push(0);
    assert_eq!(fault(&bytes), FileFault::Trailing);
    let mut compressed = gzip(&whole());
    compressed.extend(b"something else");
    assert_eq!(read_as("a-idx.gz", &compressed).unwrap_err().fault, FileFault::Foreign);
}

#[test]
fn damaged_compressed_data_is_refused_unless_it_says_the_same() {
    let whole = gzip(&whole());
    let trailer = whole.len() - 8;
    // The flag for text, the time stamp, the level and the system have no effect. Neither do the
    // padding bits of the last compressed byte before the trailer.
    let harmless = |place| (3..10).contains(&place) || place == trailer - 1;
    for bit in 0..8 * whole.len() {
        let place = bit / 8;
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (bit % 8);
        match read_as("a-idx.gz", &bytes) {
            Ok(items) => {
                assert!(harmless(place), "damage at byte {place} went unnoticed");
                assert_eq!(items.bytes, (1..=12).collect::<Vec<u8>>());
            }
            Err(error) => assert_eq!(error.to_string().lines().count(), 1),
        }
    }
}

#[test]
fn other_dimensions_are_refused_before_items_are_read() {
    for (place, value) in [(7, 0), (7, 6), (4, 0xff), (11, 3), (8, 1), (15, 2)] {
        let mut bytes = whole();
        bytes[place] = value;
        assert_eq!(fault(&bytes), FileFault::Dimensions);
    }
}

#[test]
fn a_compression_bomb_is_unpacked_up_to_the_announced_size() {
    let mut bomb = whole();
    bomb.resize(64 << 20, 0);
    let bomb = gzip(&bomb);
    assert!(bomb.len() < 100_000);

    /// Counts the bytes that are requested from the decompressor.
    struct Counting<R>(R, usize);
    impl<R: Read> Read for Counting<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer)?;
            self.1 += read;
            Ok(read)
        }
    }
    let mut reader = Counting(MultiGzDecoder::new(&bomb[..]), 0);
    let file = DataFile { path: "bomb".into(), expected: FORMAT.description(), origin: "nowhere" };
    let error = FORMAT.read_from(&file, &mut reader).unwrap_err();
    assert_eq!(error.fault, FileFault::Trailing);
    assert_eq!(reader.1, whole().len() + 1);
}
