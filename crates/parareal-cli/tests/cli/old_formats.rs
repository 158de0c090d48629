//! Runs with checkpoints of earlier format versions, which all commands still accept.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{errors, json, metrics, parareal};
use serde_json::Value;

/// Returns a copy of a fixture in a temporary folder.
fn copy_of(format: u32, name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join(name);
    copy(&fixtures(format).join(name), &run);
    (folder, run)
}

fn fixtures(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn succeed(folder: &Path, arguments: &[&str]) -> Value {
    let output = parareal(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
    if output.stdout.is_empty() { Value::Null } else { json(&output) }
}

#[track_caller]
fn assert_close(found: &Value, expected: &Value, tolerance: f64) {
    let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
    let difference = (found - expected).abs();
    assert!(difference <= tolerance * expected.abs(), "{found} instead of {expected}");
}

#[test]
fn a_finished_run_is_evaluated_by_its_moving_average() {
    let (folder, _run) = copy_of(3, "finished");
    let evaluation = succeed(folder.path(), &["eval", "finished", "--json"]);
    assert_eq!(evaluation["step"], 12);
    assert_eq!(evaluation["images"], 50);
    // Tolerances, because other processors round differently.
    assert_close(&evaluation["test_loss"], &Value::from(2.3082), 1e-3);
    assert_close(&evaluation["wrong"], &Value::from(43), 0.03);
}

/// Resumes a run that was interrupted after step 9 of 18, and compares it with the results of the program
/// version with that format.
fn assert_resumes(format: u32) {
    let (folder, run) = copy_of(format, "interrupted");
    succeed(folder.path(), &["train", "--resume", "--output", "interrupted"]);
    let expected = fs::read_to_string(fixtures(format).join("continued.jsonl")).unwrap();
    let expected: Vec<Value> =
        expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps = metrics(&run, "step");
    assert_eq!(steps.len(), 18);
    for old in expected.iter().filter(|line| line["event"] == "step") {
        let step = old["step"].as_u64().unwrap();
        let new = &steps[step as usize - 1];
        assert_eq!(new["step"], old["step"]);
        assert_eq!(new["learning_rate"], old["learning_rate"]);
        // Rounding errors grow from step to step. Lost momentum would show in step 11.
        let tolerance = [1e-4, 1e-3, 1e-2][(step as usize - 10).min(2)];
        assert_close(&new["loss"], &old["loss"], tolerance);
    }
    let epochs = metrics(&run, "epoch");
    let last = expected.iter().rfind(|line| line["event"] == "epoch").unwrap();
    assert_eq!(epochs.len(), 3);
    assert_close(&epochs[2]["test_loss"], &last["test_loss"], 1e-2);
}

#[test]
fn an_interrupted_run_of_an_older_format_resumes_identically() {
    for format in [3, 4] {
        assert_resumes(format);
    }
}

#[test]
fn a_checkpoint_predicts_starts_another_run_and_is_exported_and_reported() {
    let (folder, _run) = copy_of(3, "finished");
    let image = folder.path().join("grey.png");
    image::RgbImage::from_pixel(32, 32, image::Rgb([128; 3])).save(&image).unwrap();
    let predicted = succeed(folder.path(), &["predict", "finished", "grey.png", "--json"]);
    assert_eq!(predicted[0]["answers"].as_array().unwrap().len(), 5);
    let exported =
        succeed(folder.path(), &["export", "finished", "--output", "w.safetensors", "--json"]);
    assert_eq!(exported["step"], 12);
    succeed(folder.path(), &["report", "finished", "--output", "page.html"]);
    #[rustfmt::skip]
    succeed(folder.path(), &[
        "train", "--depth", "11", "--subnetworks", "2", "--limit-train", "32", "--limit-test", "16",
        "--epochs", "1", "--init-from", "finished", "--output", "next",
    ]);
}
