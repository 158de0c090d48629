//! JPEG files that are not whole are refused, wherever they end.

use std::fs;
use std::path::{Path, PathBuf};

use parareal_data::Preprocessing;

/// JPEG files of each kind; `fixtures/jpeg/make.py` made them.
const KINDS: [&str; 4] =
    ["baseline.jpg", "restarts.jpg", "progressive.jpg", "grey-progressive.jpg"];

/// The size of the fixtures, so that nothing is scaled.
const AS_STORED: Preprocessing = Preprocessing { channels: 3, height: 27, width: 40, padding: 0 };

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jpeg");
    fs::read(folder.join(name)).unwrap()
}

/// Reads contents as the file that they would be.
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

/// Tries every length; each that is accepted has to lack nothing but its end.
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
    // A missing end marker is no loss.
    assert!(accepted >= 1);
}

#[test]
fn a_jpeg_that_is_cut_off_is_refused() {
    for kind in KINDS {
        truncate(&fixture(kind));
    }
}

#[test]
fn a_cut_jpeg_with_an_end_marker_is_refused() {
    let reader = Reader::new();
    for kind in KINDS {
        let whole = fixture(kind);
        let expected = reader.read(&whole).unwrap();
        let start = whole.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        let (mut refused, mut tried) = (0, 0);
        for length in start + 20..whole.len() - 4 {
            let cut = [&whole[..length], &[0xff, 0xd9]].concat();
            tried += 1;
            match reader.read(&cut) {
                Err(_) => refused += 1,
                // Between two scans of a progressive file: coarser, and whole in the sense of the format.
                Ok(pixels) => {
                    assert!(kind.contains("progressive"), "{kind} {length} {}", pixels == expected)
                }
            }
        }
        assert!(refused + 50 > tried, "{kind}: {refused} of {tried}");
    }
}

#[test]
fn a_jpeg_with_a_gap_is_refused() {
    let reader = Reader::new();
    let whole = fixture("restarts.jpg");
    let restart = |code: u8| whole.windows(2).position(|pair| pair == [0xff, code]).unwrap();
    // Two restart intervals are missing, and the markers go on as if they were not.
    let gap = [&whole[..restart(0xd1)], &whole[restart(0xd3)..]].concat();
    let message = reader.read(&gap).unwrap_err();
    assert!(message.contains("damaged or cut off"), "{message}");
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
