//! Real images.

use std::path::PathBuf;

/// Environment variable with the folder that holds the real data sets.
const DATA_DIR: &str = "PARAREAL_DATA_DIR";

/// Returns the absolute path of the folder with the real data sets, which has the folders `sets`
/// (`mnist`, `cifar-10`, `svhn`).
///
/// The tests that call this are ignored unless requested (`cargo test -- --ignored`).
///
/// # Panics
/// Panics if `PARAREAL_DATA_DIR` is not set, or if its folder lacks one of `sets`.
#[must_use]
#[track_caller]
pub fn real_images(sets: &[&str]) -> PathBuf {
    let folder = std::env::var_os(DATA_DIR).unwrap_or_else(|| {
        panic!("this test needs real images; set {DATA_DIR} to a folder that holds {sets:?}")
    });
    let folder = PathBuf::from(folder);
    for set in sets {
        let path = folder.join(set);
        assert!(path.is_dir(), "{DATA_DIR}: folder {} not found", path.display());
    }
    folder.canonicalize().unwrap()
}
