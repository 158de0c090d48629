//! Initial weights from other runs: distillation, and units of a shallower run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;

use crate::common::{TINY, assert_same, errors, metrics, parareal, remains, train};

/// Returns the weights of a run as written by `export`.
fn exported(folder: &Path, run: &str) -> BTreeMap<String, Vec<f32>> {
    let file = format!("{run}.safetensors");
    let output = parareal(folder, &["export", run, "--output", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let bytes = fs::read(folder.join(file)).unwrap();
    let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = tensors.iter().map(|(name, tensor)| {
        (name.to_string(), tensor.data().chunks_exact(4).map(number).collect())
    });
    tensors.collect()
}

/// Flags with a learning rate too small to change the weights.
const STILL: [&str; 4] = ["--learning-rate", "1e-30", "--weight-decay", "0"];

#[track_caller]
fn assert_refused(folder: &Path, arguments: &[&str], part: &str) {
    let all = [&["train"], &TINY[..], arguments, &["--output", "no"]].concat();
    let output = parareal(folder, &all);
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains(part) && message.lines().count() == 1, "{message}");
    assert!(!folder.join("no").exists());
}

#[test]
fn interfaces_learn_from_a_serial_run_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--subnetworks", "1", "--output", "serial"]);
    let start = [&["--init-from", "serial", "--distill", "12"][..], &STILL].concat();
    train(folder, &[&start[..], &["--output", "cut"]].concat());

    let lines = metrics(&folder.join("cut"), "distillation");
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    assert_eq!(
        (&first["step"], &last["step"], &last["steps"]),
        (&1.into(), &12.into(), &12.into())
    );
    for interface in 0..2 {
        for loss in ["preprocessing", "coarse"] {
            let [before, after] = [first, last].map(|line| &line["interfaces"][interface][loss]);
            assert!(after.as_f64() < before.as_f64(), "{loss} {interface}: {before}, {after}");
        }
    }
    assert_eq!(metrics(&folder.join("cut"), "step").len(), 3);
    let config = fs::read_to_string(folder.join("cut/config.toml")).unwrap();
    assert!(config.contains("\ndistill = 12\n"), "{config}");

    // The serial weights are unchanged; the interfaces are not those of the seed.
    let (serial, cut) = (exported(folder, "serial"), exported(folder, "cut"));
    for (name, values) in serial.iter().filter(|(name, _)| !name.contains("running")) {
        let largest = values.iter().zip(&cut[name]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-20, "{name} differs by {largest}");
    }
    train(folder, &[&["--init-from", "serial"][..], &STILL, &["--output", "new"]].concat());
    let name = "interfaces.1.preprocessing.conv.weight";
    assert!(exported(folder, "new")[name] != cut[name]);

    // Two workers give the same results as one.
    train(folder, &[&start[..], &["--workers", "2", "--threads", "1", "--output", "two"]].concat());
    train(folder, &[&start[..], &["--workers", "1", "--threads", "1", "--output", "one"]].concat());
    assert_same(&remains(&folder.join("two")), &remains(&folder.join("one")));

    // With replicas, each batch is distilled as a whole.
    train(folder, &[&start[..], &["--replicas", "2", "--output", "replicas"]].concat());
    let replicas = metrics(&folder.join("replicas"), "distillation");
    assert_eq!(replicas[0]["interfaces"], first["interfaces"]);

    // In bfloat16 the losses are the same up to rounding.
    train(folder, &[&start[..], &["--precision", "bf16", "--output", "bf16"]].concat());
    let narrow = &metrics(&folder.join("bf16"), "distillation")[0];
    for interface in 0..2 {
        for loss in ["preprocessing", "coarse"] {
            let [wide, narrow] =
                [first, narrow].map(|line| line["interfaces"][interface][loss].as_f64().unwrap());
            assert!((narrow / wide - 1.0).abs() < 0.05, "{loss} {interface}: {wide}, {narrow}");
        }
    }

    for (arguments, part) in [
        (&["--distill", "5"][..], "set `init-from`"),
        (&["--distill", "0", "--init-from", "serial"], "at least 1"),
        (
            &["--distill", "5", "--init-from", "serial", "--subnetworks", "1"],
            "a single one has no interface",
        ),
    ] {
        assert_refused(folder, arguments, part);
    }
}

#[cfg(unix)]
#[test]
fn a_run_interrupted_during_its_distillation_starts_over_when_resumed() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--subnetworks", "1", "--output", "serial"]);
    let settings = ["--init-from", "serial", "--distill", "16", "--workers", "1", "--threads", "1"];
    let child = Command::new(env!("CARGO_BIN_EXE_parareal"))
        .current_dir(folder)
        .arg("train")
        .args(TINY)
        .args(settings)
        .args(["--output", "run"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !folder.join("run/config.toml").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("stopped during the distillation, before the first training step"));
    assert!(message.contains("parareal train --resume --output run`"), "{message}");
    assert!(!folder.join("run/checkpoints").exists() && !folder.join("run/metrics.jsonl").exists());

    let output = parareal(folder, &["train", "--resume", "--output", "run"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(errors(&output).contains("no checkpoint was saved yet"), "{}", errors(&output));
    assert!(errors(&output).contains("distillation of 16 steps: losses"), "{}", errors(&output));
    train(folder, &[&settings[..], &["--output", "whole"]].concat());
    assert_same(&remains(&folder.join("run")), &remains(&folder.join("whole")));

    // A run with a checkpoint is not distilled again.
    let more = ["train", "--resume", "--epochs", "2", "--output", "run"];
    let output = parareal(folder, &more);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(!errors(&output).contains("distill"), "{}", errors(&output));
}

#[test]
fn a_deeper_run_starts_from_the_units_of_a_shallower_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let small = ["--limit-train", "32", "--limit-test", "0"];
    let begin = |more: &[&str]| train(folder, &[&small[..], &STILL, more].concat());
    begin(&["--depth", "20", "--subnetworks", "1", "--output", "shallow"]);
    let shallow = exported(folder, "shallow");

    let start = ["--depth", "29", "--init-from", "shallow", "--seed", "5"];
    begin(&[&start[..], &["--output", "deep"]].concat());
    let deep = exported(folder, "deep");
    let is_close = |a: &[f32], b: &[f32], factor: f32| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - factor * b).abs() < 1e-20)
    };
    for (name, values) in deep.iter().filter(|(name, _)| !name.contains("running")) {
        let (source, factor) = match name.strip_prefix("units.") {
            Some(rest) => {
                let (unit, rest) = rest.split_once('.').unwrap();
                let source = [0, 1, 1, 2, 3, 3, 4, 5, 5][unit.parse::<usize>().unwrap()];
                let is_scaled = source % 2 == 1 && rest == "conv3.weight";
                (format!("units.{source}.{rest}"), if is_scaled { 0.5 } else { 1.0 })
            }
            None => (name.clone(), 1.0),
        };
        match shallow.get(&source) {
            Some(expected) => assert!(is_close(values, expected, factor), "{name}"),
            None => assert!(name.starts_with("interfaces."), "{name}"),
        }
    }

    // Initialization from a cut run with its interfaces, and with a distillation.
    begin(&["--depth", "20", "--init-from", "shallow", "--output", "cut"]);
    begin(&["--depth", "29", "--init-from", "cut", "--seed", "5", "--output", "kept"]);
    let (cut, kept) = (exported(folder, "cut"), exported(folder, "kept"));
    let interfaces = |all: &BTreeMap<String, Vec<f32>>| {
        let own = all.iter().filter(|(name, _)| name.starts_with("interfaces."));
        own.filter(|(name, _)| name.ends_with(".weight"))
            .map(|(name, values)| (name.clone(), values.clone()))
            .collect::<Vec<_>>()
    };
    let (cut, kept) = (interfaces(&cut), interfaces(&kept));
    assert!(!cut.is_empty() && cut.len() == kept.len());
    for ((name, kept), (_, cut)) in kept.iter().zip(&cut) {
        assert!(is_close(kept, cut, 1.0), "{name}");
    }
    // Tensors of `basic` units have the same names and shapes, and the same cuts are elsewhere in a deeper network.
    let basic = ["--coarse-unit", "basic", "--coarse-units", "1"];
    for (other, name) in [(&basic[..], "basic"), (&["--cuts", "2,4"], "elsewhere")] {
        let flags = ["--depth", "29", "--init-from", "cut", "--output", name];
        let output = parareal(folder, &[&["train"], &TINY[..], &small, &flags, other].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let message = errors(&output);
        for part in [
            "weights of 9 units are repeated from the 6 units of ",
            "; the 2 interfaces have new initial weights",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
    // The second and the third unit are copies of the second one: only the cut before both corresponds.
    let early = ["--depth", "20", "--init-from", "shallow", "--subnetworks", "2", "--cuts", "1"];
    begin(&[&early[..], &["--output", "early"]].concat());
    for (cut, is_new) in [("1", false), ("2", true)] {
        let flags = ["--depth", "29", "--init-from", "early", "--output", cut];
        let flags = [&flags[..], &["--subnetworks", "2", "--cuts", cut]].concat();
        let output = parareal(folder, &[&["train"], &TINY[..], &small, &flags].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let message = errors(&output);
        assert_eq!(
            message.contains("; the interface has new initial weights"),
            is_new,
            "{message}"
        );
    }
    let distill = ["--distill", "3", "--output", "distilled"];
    begin(&[&start[..], &distill].concat());
    assert_eq!(metrics(&folder.join("distilled"), "distillation").len(), 3);

    // A coarse network without parameters: the second subnetwork is one unit that keeps the shape.
    let cuts = ["--depth", "20", "--subnetworks", "3", "--cuts", "3,4", "--init-from", "shallow"];
    let none = ["--coarse-unit", "none", "--distill", "2", "--output", "none"];
    begin(&[&cuts[..], &none].concat());
    assert!(!exported(folder, "none").keys().any(|name| name.starts_with("interfaces.1.coarse")));
    assert_eq!(metrics(&folder.join("none"), "distillation").len(), 2);

    // Units between two others are their mean. The third stage of depth 29 has the units 6 to 8, that of depth 38 has 8 to 11.
    let longer = ["--depth", "38", "--init-from", "deep", "--init-units", "interpolate"];
    begin(&[&longer[..], &["--subnetworks", "1", "--output", "longer"]].concat());
    let longer = exported(folder, "longer");
    let [first, second, between] = [(&deep, 7), (&deep, 8), (&longer, 10)]
        .map(|(run, unit)| &run[&format!("units.{unit}.conv2.weight")]);
    let mut means = first.iter().zip(second).zip(between);
    assert!(means.all(|((a, b), mean)| (0.5 * (a + b) - mean).abs() < 1e-6));

    for (arguments, part) in [
        (&["--init-from", "shallow"][..], "expected a run with at most 11 layers, got 20"),
        (
            &["--init-from", "cut", "--depth", "20", "--distill", "3"],
            "expected a run of a serial network, whose states `distill` needs, got one of 3 subnetworks",
        ),
        (
            &["--init-units", "interpolate"],
            "requires the units of a shallower run; set `init-from`",
        ),
        (
            &["--init-from", "shallow", "--depth", "20", "--init-units", "interpolate"],
            "the network of `init-from` has as many layers; expected a shallower one, or leave it unset",
        ),
        (
            &["--init-from", "shallow", "--depth", "29", "--init-units", "interpolate"],
            "must have at least two units beside its first; expected a deeper network, or leave it unset",
        ),
        (&["--init-from", "shallow", "--init-units", "random"], "expected repeat or interpolate"),
    ] {
        assert_refused(folder, arguments, part);
    }
}
