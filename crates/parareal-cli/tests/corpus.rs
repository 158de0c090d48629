//! Reads all inputs of the fuzzing corpora with the fuzz targets: no reader panics, exceeds its
//! memory limit, or returns a message of several lines.

#[path = "../../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "the fuzzer uses it as a library")]
mod targets;

use std::fs;
use std::path::Path;

use targets::{TARGETS, Target};

// A single test, so that no other test uses memory at the same time.
#[test]
fn every_input_of_the_corpora_is_read_within_bounds() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for target in TARGETS {
        let mut files: Vec<_> = fs::read_dir(corpora.join(target.name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let mut accepted = 0;
        for file in &files {
            let contents = fs::read(file).unwrap();
            let seed = file.file_name().unwrap().to_string_lossy().starts_with("seed-");
            let is_accepted = Target::named(target.name).run(&contents);
            assert!(is_accepted || !seed, "{} is to be whole", file.display());
            accepted += usize::from(is_accepted);
        }
        let (name, count) = (target.name, files.len());
        assert!(accepted > 0 && accepted < count, "{name}: {accepted} of {count} are accepted");
    }
    assert_eq!(fs::read_dir(corpora).unwrap().count(), TARGETS.len());
}
