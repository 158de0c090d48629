//! If ranks cannot start together, they print the reason once and end together.

use std::fs;
use std::path::Path;

use crate::common::TINY;
use crate::launch::{Part, run};

/// Writes a folder of images by class.
fn images(folder: &Path, name: &str, shade: u8) {
    for class in 0..2 {
        let classes = folder.join(name).join(format!("class {class}"));
        fs::create_dir_all(&classes).unwrap();
        for index in 0..20 {
            let picture =
                image::RgbImage::from_pixel(32, 32, image::Rgb([shade, class * 99, index]));
            picture.save(classes.join(format!("{index}.png"))).unwrap();
        }
    }
}

#[test]
fn invalid_settings_of_ranks_are_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(folder, "a", 10);
    images(folder, "b", 11);
    images(folder, "c", 10);
    fs::write(folder.join("c/class 1/7.png"), b"no picture").unwrap();
    fs::create_dir(folder.join("full")).unwrap();
    fs::write(folder.join("full/file"), "").unwrap();
    fs::write(folder.join("seed.toml"), "seed = 3\nexecutor = \"mpi\"\n").unwrap();
    let own = |data: &'static str| ["--dataset", "folder", "--data-dir", data].map(String::from);
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mpi = &["--executor", "mpi"][..];
    for (parts, expected) in [
        (
            vec![(1, words(&[])), (2, words(&["--seed", "2"]))],
            "seed is not set on rank 0 but 2 on rank 1",
        ),
        (vec![(1, own("a").into()), (1, own("b").into())], "the fingerprint of the images is"),
        (vec![(1, own("a").into()), (1, own("c").into())], "rank 1: "),
        (
            vec![(1, words(&[])), (1, words(&["--seed", "x"]))],
            "rank 1: invalid value `x` for --seed",
        ),
        (
            vec![(2, words(&["--seed", "x"]))],
            "invalid value `x` for --seed: expected a whole number",
        ),
        (vec![(2, words(&["--nonsense"]))], "unexpected argument '--nonsense'"),
        (vec![(2, words(&["--momentum", "2"]))], "invalid value `2` for momentum"),
        (vec![(2, words(&["--output", "full"]))], "rank 0: full is not an empty folder"),
        (
            vec![(2, words(&["--timeline", "step.png"]))],
            "rank 0: cannot write step.png: expected a name that ends in .json",
        ),
        (
            vec![(1, words(&["--timeline", "a.svg"])), (1, words(&["--timeline", "b.svg"]))],
            "timeline is a.svg on rank 0 but b.svg on rank 1",
        ),
        (
            vec![(2, words(&["--timeline", "a.svg", "--timeline-step", "9"]))],
            "invalid value `9` for timeline-step: expected a step from 1 to 3",
        ),
        (vec![(2, words(&["--overwrite"]))], "--overwrite requires --timeline"),
        (vec![(4, words(&[]))], "start at most 3"),
        (vec![(3, words(&["--replicas", "2"]))], "a divisor of the number of ranks, 3"),
        (
            vec![(2, words(&["--timeout", "4"]))],
            "invalid value `4` for --timeout: expected at least 5, or 0 for no limit",
        ),
        (vec![(2, words(&["--executor", "threads"]))], "2 processes were started together"),
        (vec![(2, words(&["--config", "none.toml"]))], "none.toml"),
        (
            vec![(1, words(&["--config", "seed.toml"])), (1, words(&[]))],
            "seed is 3 on rank 0 but not set on rank 1",
        ),
        (
            vec![(2, words(&["--replicas", "2", "--subnetworks", "1", "--batch-size", "19"]))],
            "the last batch of an epoch has 1 of the 96 training samples",
        ),
    ] {
        let lines: Vec<(usize, Vec<&str>)> = parts
            .iter()
            .map(|(ranks, more)| {
                let kept =
                    TINY.chunks(2).chain([mpi]).filter(|pair| !more.iter().any(|m| m == pair[0]));
                let output = ["--output", "run"];
                let output = Some(&output[..]).filter(|_| !more.iter().any(|m| m == "--output"));
                let more = more.iter().map(String::as_str);
                let kept = kept.flatten().chain(output.into_iter().flatten()).copied();
                (*ranks, std::iter::once("train").chain(kept).chain(more).collect())
            })
            .collect();
        let parts: Vec<Part<'_>> = lines.iter().map(|(ranks, line)| (*ranks, &line[..])).collect();
        let ended = run(folder, &parts);
        assert_eq!(ended.code, Some(2), "{expected}: {}", ended.errors);
        let refusals = ended.error_lines();
        assert_eq!(refusals.len(), 1, "{expected}: {}", ended.errors);
        assert!(refusals[0].contains(expected), "{expected}: {}", ended.errors);
        assert!(ended.output.is_empty());
        assert!(!folder.join("run").exists(), "{expected}");
    }
}

#[test]
fn a_refused_resume_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let started = ["train", "--executor", "mpi", "--output", "run"];
    let started = [&started[..], &TINY].concat();
    let ended = run(folder, &[(2, &started[..])]);
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    for (flags, expected) in [
        (&["--seed", "2"][..], "seed is 2"),
        (&["--recipe", "paper"], "invalid value `paper` for recipe"),
        (&["--limit-train", "5"], "limit-train is 5"),
    ] {
        let resumed = ["train", "--resume", "--executor", "mpi", "--output", "run"];
        let resumed = [&resumed[..], flags].concat();
        let ended = run(folder, &[(2, &resumed[..])]);
        assert_eq!(ended.code, Some(2), "{expected}: {}", ended.errors);
        let refusals = ended.error_lines();
        assert_eq!(refusals.len(), 1, "{expected}: {}", ended.errors);
        assert!(refusals[0].contains(expected), "{expected}: {}", ended.errors);
        assert!(!refusals[0].contains("rank"), "{}", ended.errors);
    }
}
