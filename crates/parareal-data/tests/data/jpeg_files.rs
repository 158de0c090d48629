//! JPEG files that are truncated at any point are rejected.

use std::fs;
use std::path::{Path, PathBuf};

use parareal_data::Preprocessing;

/// JPEG files of each kind, created by `fixtures/jpeg/make.py`.
const KINDS: [&str; 4] =
    ["baseline.jpg", "restarts.jpg", "progressive.jpg", "grey-progressive.jpg"];

/// The size of the fixtures, so that they are not resized.
const AS_STORED: Preprocessing = Preprocessing { channels: 3, height: 27, width: 40, padding: 0 };

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jpeg");
    fs::read(folder.join(name)).unwrap()
}

/// Reads contents from a file.
struct Reader {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        Self { _folder: folder, path }
    }

    fn read(&self, contents: &[u8]) -> Result<Vec<u8>, String> {
        fs::write(&self.path, contents).unwrap();
        AS_STORED.read(&self.path).map_err(|error| error.to_string())
    }
}

/// Truncates a file to every length. An accepted file may lack only its end-of-image marker.
fn truncate(whole: &[u8]) {
    let reader = Reader::new();
    let expected = reader.read(whole).unwrap();
    let mut accepted = 0;
    for length in 0..whole.len() {
        if let Ok(pixels) = reader.read(&whole[..length]) {
            assert!(whole.len() - length <= 2, "{length} of {} bytes", whole.len());
            assert!(pixels == expected, "{length} of {} bytes", whole.len());
            accepted += 1;
        }
    }
    // A missing end-of-image marker is accepted.
    assert!(accepted >= 1);
}

#[test]
fn a_truncated_jpeg_is_refused() {
    for kind in KINDS {
        truncate(&fixture(kind));
    }
}

#[test]
fn a_truncated_jpeg_with_an_end_marker_is_refused() {
    let reader = Reader::new();
    for kind in KINDS {
        let whole = fixture(kind);
        let start = whole.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        for length in start + 20..whole.len() - 4 {
            let cut = [&whole[..length], &[0xff, 0xd9]].concat();
            assert!(reader.read(&cut).is_err(), "{kind}: {length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn a_jpeg_with_a_huge_stated_size_is_refused_before_decoding() {
    let reader = Reader::new();
    for (kind, start_of_frame) in [("baseline.jpg", 0xc0), ("progressive.jpg", 0xc2)] {
        let mut altered = fixture(kind);
        let marker = altered.windows(2).position(|pair| pair == [0xff, start_of_frame]).unwrap();
        // After the marker: two bytes of length, one of precision, two each of height and width.
        altered[marker + 5..marker + 9].fill(0xff);
        let refused = |contents: &[u8]| {
            let message = reader.read(contents).unwrap_err();
            let expected = "it has 65535 x 65535 pixels, more than the limit of 20000 on a side";
            assert!(message.contains(expected), "{kind}: {message}");
        };
        refused(&altered);
        // The decoder rejects this segment before the frame, but the size is still reported first.
        let bad_table = [&altered[..2], b"\xff\xdb\x00\x03\xff", &altered[2..]].concat();
        refused(&bad_table);
    }
}

#[test]
fn a_jpeg_with_too_many_scans_is_refused() {
    let reader = Reader::new();
    let whole = fixture("grey-progressive.jpg");
    let starts: Vec<usize> =
        (0..whole.len() - 1).filter(|&at| whole[at..at + 2] == [0xff, 0xda]).collect();
    // Repeats the first scan many times, followed by all scans.
    let end = (starts[0] + 2..).find(|&at| whole[at] == 0xff && whole[at + 1] != 0).unwrap();
    let scans = |count| {
        let repeated = whole[starts[0]..end].repeat(count);
        [&whole[..starts[0]], &repeated, &whole[starts[0]..]].concat()
    };
    let message = reader.read(&scans(1000)).unwrap_err();
    assert!(message.contains("it has more scans than the limit of 1000"), "{message}");
}

#[test]
fn a_jpeg_with_a_gap_is_refused() {
    let reader = Reader::new();
    let whole = fixture("restarts.jpg");
    let restart = |code: u8| whole.windows(2).position(|pair| pair == [0xff, code]).unwrap();
    // Two restart intervals are missing. The numbers of the other markers are unchanged.
    let gap = [&whole[..restart(0xd1)], &whole[restart(0xd3)..]].concat();
    let message = reader.read(&gap).unwrap_err();
    assert!(message.contains("damaged or truncated"), "{message}");
}

#[test]
fn altered_files_are_refused_or_read_and_never_panic() {
    let reader = Reader::new();
    for kind in KINDS {
        let whole = fixture(kind);
        for index in (0..whole.len()).step_by(5) {
            for flip in [0x01, 0x80, 0xff] {
                let mut altered = whole.clone();
                altered[index] ^= flip;
                let _ = reader.read(&altered);
            }
        }
    }
}
