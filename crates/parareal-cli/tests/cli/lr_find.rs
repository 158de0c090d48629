//! The learning-rate range test.

use std::fs;
use std::path::Path;

use crate::common::{errors, json, metrics, parareal};

/// A small network and few images.
const SMALL: [&str; 10] = [
    "lr-find",
    "--depth",
    "11",
    "--width",
    "4",
    "--limit-train",
    "48",
    "--batch-size",
    "16",
    "--seed=3",
];

fn results(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn found(folder: &Path, more: &[&str]) -> serde_json::Value {
    let output = parareal(folder, &[&SMALL, more, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    json(&output)
}

#[test]
fn rates_grow_and_nothing_is_saved_but_the_plot() {
    let folder = tempfile::tempdir().unwrap();
    let range = ["--steps", "24", "--lowest", "0.001", "--highest", "0.5"];
    let plot = ["--plot", "rates.svg"];
    let output = parareal(folder.path(), &[&SMALL[..], &range, &plot].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let text = results(&output);
    assert!(
        text.contains("all 24 steps trained") && text.contains("all 24 steps trained; the loss "),
        "{text}"
    );
    let files: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["rates.svg"]);
    let drawing = fs::read_to_string(folder.path().join("rates.svg")).unwrap();
    assert!(drawing.contains("learning rate") && drawing.contains("steepest descent"), "{drawing}");
    let output = parareal(folder.path(), &[&SMALL[..], &range, &plot].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("--overwrite"), "{}", errors(&output));
}

#[test]
fn the_steps_are_those_of_a_training_and_of_every_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    // The rate is nearly constant, so the losses are those of a run with this rate.
    let range =
        ["--subnetworks", "2", "--steps", "20", "--lowest", "0.01", "--highest", "0.01000001"];
    let mixing = ["--mixup", "0.4", "--cutmix", "1"];
    let range = [&range[..], &mixing].concat();
    let losses = |value: &serde_json::Value| -> Vec<f64> {
        let steps = value["steps"].as_array().unwrap().iter();
        steps.map(|step| step["loss"].as_f64().unwrap()).collect()
    };
    let one = losses(&found(folder.path(), &[&range[..], &["--workers", "1"]].concat()));
    let two = losses(&found(folder.path(), &[&range[..], &["--workers", "2"]].concat()));
    let train = ["train", "--epochs", "7", "--learning-rate", "0.01", "--milestones", "none"];
    let more = ["--subnetworks", "2", "--limit-test", "0", "--output", "run"];
    let output = parareal(folder.path(), &[&train[..], &SMALL[1..], &mixing, &more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let steps = metrics(&folder.path().join("run"), "step");
    let trained: Vec<f64> = steps.iter().map(|step| step["loss"].as_f64().unwrap()).collect();
    assert_eq!((one.len(), trained.len()), (20, 21));
    for (step, expected) in trained[..20].iter().enumerate() {
        for loss in [one[step], two[step]] {
            assert!((loss / expected - 1.0).abs() < 1e-3, "step {step}: {loss}, not {expected}");
        }
    }
}

#[test]
fn settings_come_from_a_file_and_the_weights_from_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let train =
        [&["train", "--epochs", "1", "--subnetworks", "1", "--limit-test", "0"], &SMALL[1..]]
            .concat();
    let output = parareal(folder, &[&train[..], &["--output", "serial"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    // The file also has settings that the test does not use, such as epochs.
    let test = |more: &[&str]| {
        let start = ["lr-find", "--config", "serial/config.toml", "--steps", "20", "--json"];
        let output = parareal(folder, &[&start, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        (json(&output)["steps"][0]["loss"].as_f64().unwrap(), errors(&output))
    };
    let (scratch, message) = test(&[]);
    assert!(message.contains("resnet-11-w4, N = 1, shapes, batch 16"), "{message}");
    let (trained, _) = test(&["--init-from", "serial"]);
    assert_ne!(scratch, trained);
    let (replicas, _) = test(&["--replicas", "2", "--workers", "1", "--threads", "1"]);
    assert!((replicas / scratch - 1.0).abs() < 0.2, "{replicas}, not about {scratch}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_test_with_the_steps_so_far() {
    use std::io::{BufRead as _, BufReader, Read as _};
    let folder = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_parareal"))
        .current_dir(folder.path())
        .args(SMALL)
        .args([
            "--steps",
            "1000000",
            "--lowest",
            "1e-9",
            "--highest",
            "1e-8",
            "--plot",
            "rates.svg",
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    messages.read_line(&mut line).unwrap();
    assert!(line.contains("1000000 steps"), "{line}");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    messages.read_to_string(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{line}");
    assert!(line.contains("no plot was written"), "{line}");
    assert!(results(&output).contains("interrupted after "), "{}", results(&output));
    assert!(!folder.path().join("rates.svg").exists());
}

#[test]
fn divergence_ends_the_test() {
    let folder = tempfile::tempdir().unwrap();
    let found = found(folder.path(), &["--steps", "60", "--lowest", "0.01", "--highest", "1e9"]);
    assert_eq!(found["end"], "diverged");
    let steps = found["steps"].as_array().unwrap().len();
    assert!((5..60).contains(&steps), "{steps}");
    assert_eq!(found["smoothed"].as_array().unwrap().len(), steps);
}

#[test]
fn wrong_values_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, expected) in [
        (&["--steps", "19"][..], "for steps: expected at least 20"),
        (&["--lowest", "0"], "for lowest: expected a number above 0"),
        (&["--lowest", "1", "--highest", "0.5"], "for highest: expected a number above"),
        (&["--epochs", "3"], "--epochs"),
        (&["--plot", "rates.png"], ".svg"),
        (&["--workers", "auto"], "only `train` chooses it"),
        (&["--config", "missing.toml"], "missing.toml"),
    ] {
        let output = parareal(folder.path(), &[&SMALL[..], flags].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(errors(&output).contains(expected), "{}", errors(&output));
        assert_eq!(results(&output), "");
    }
}
