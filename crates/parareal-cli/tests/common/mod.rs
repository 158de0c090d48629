//! Helpers that run the binary in a temporary folder.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Flags of a run that takes about a second. All are explicit, so that the tests do not depend on
/// defaults.
#[rustfmt::skip]
pub const TINY: [&str; 14] = [
    "--depth", "11",
    "--subnetworks", "3",
    "--limit-train", "96",
    "--limit-test", "50",
    "--epochs", "1",
    "--batch-size", "32",
    "--learning-rate", "0.05",
];

pub fn parareal(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_parareal"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

/// Trains the tiny network and returns its JSON output.
pub fn train(folder: &Path, more: &[&str]) -> Value {
    let arguments = [&["train"], &TINY[..], more, &["--json"]].concat();
    let output = parareal(folder, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    json(&output)
}

/// Parses standard output as one JSON value.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the lines of one kind in `metrics.jsonl`.
pub fn metrics(run: &Path, event: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
}

/// Returns the sorted names in the folder of checkpoints.
pub fn checkpoints(run: &Path) -> Vec<String> {
    let entries = fs::read_dir(run.join("checkpoints")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Returns the results of a run without times and rates: its metrics, and the files of its checkpoints
/// except manifests and their checksums. Checkpoints that were set aside are left out.
pub fn remains(run: &Path) -> Remains {
    let mut lines = Vec::new();
    for event in ["step", "epoch"] {
        for mut line in metrics(run, event) {
            let line = line.as_object_mut().unwrap();
            for key in ["images_per_second", "seconds"] {
                line.remove(key);
            }
            lines.push(Value::Object(line.clone()));
        }
    }
    let mut files = BTreeMap::new();
    for checkpoint in checkpoints(run).into_iter().filter(|name| !name.contains(".damaged")) {
        let path = run.join("checkpoints").join(&checkpoint);
        for entry in path.is_dir().then(|| fs::read_dir(&path).unwrap()).into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.starts_with("manifest.") {
                let bytes = fs::read(path.join(&name)).unwrap();
                files.insert(format!("{checkpoint}/{name}"), bytes);
            }
        }
    }
    (lines, files)
}

pub type Remains = (Vec<Value>, BTreeMap<String, Vec<u8>>);

/// Asserts that two runs have the same results. The message names the difference without printing all
/// bytes.
#[track_caller]
pub fn assert_same(found: &Remains, expected: &Remains) {
    assert_eq!(found.0, expected.0);
    let names = |remains: &Remains| remains.1.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    for (name, bytes) in &expected.1 {
        assert!(&found.1[name] == bytes, "{name} has other bytes");
    }
}

/// Checks that no two complete events of a trace overlap on their row, to the last digit, and returns
/// the names of its rows.
#[track_caller]
pub fn assert_rows_do_not_overlap(trace: &Path) -> Vec<String> {
    let trace: Value = serde_json::from_str(&fs::read_to_string(trace).unwrap()).unwrap();
    let (mut rows, mut names) = (BTreeMap::<u64, Vec<[u64; 2]>>::new(), Vec::new());
    for event in trace["traceEvents"].as_array().unwrap() {
        let number = |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("{key}: {event}"));
        match event["ph"].as_str().unwrap() {
            "X" => {
                let times = [number("ts"), number("ts") + number("dur")];
                rows.entry(number("tid")).or_default().push(times);
            }
            "M" if event["name"] == "thread_name" => {
                assert_ne!(event["tid"], event["pid"], "{event}");
                names.push(event["args"]["name"].as_str().unwrap().to_string());
            }
            _ => {}
        }
    }
    assert_eq!(rows.len(), names.len());
    for (row, name) in rows.values_mut().zip(&names) {
        row.sort_unstable();
        for pair in row.windows(2) {
            assert!(pair[0][1] <= pair[1][0], "{name}: {pair:?}");
        }
    }
    names
}
