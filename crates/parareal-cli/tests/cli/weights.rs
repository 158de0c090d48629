//! Weights in runs, checkpoints and exported files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::{checkpoints, errors, json, parareal, train};
use safetensors::SafeTensors;

/// Returns the weights of a run as written by `export`.
fn exported(folder: &Path, run: &str) -> BTreeMap<String, Vec<u8>> {
    let file = format!("{run}.safetensors");
    let output = parareal(folder, &["export", run, "--output", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    read(&folder.join(file))
}

fn read(file: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.iter().map(|(name, tensor)| (name.to_string(), tensor.data().to_vec())).collect()
}

/// Returns true if all values are equal up to the tiny updates with [`STILL`].
fn are_close(a: &[u8], b: &[u8]) -> bool {
    let values = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let (a, b) = (values(a), values(b));
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-20)
}

/// Flags with a learning rate too small to change the weights.
const STILL: [&str; 4] = ["--learning-rate", "1e-30", "--weight-decay", "0"];

#[test]
fn a_run_starts_from_the_weights_of_a_serial_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--subnetworks", "1", "--output", "serial"]);
    let serial = exported(folder, "serial");
    let is_trained = |name: &str| !name.contains("running");

    let start = ["--init-from", "serial", "--seed", "5"];
    let report = train(folder, &[&start[..], &STILL, &["--output", "cut"]].concat());
    let cut = exported(folder, "cut");
    let mut interfaces = 0;
    for (name, bytes) in cut.iter().filter(|(name, _)| is_trained(name)) {
        match serial.get(name) {
            Some(expected) => assert!(are_close(bytes, expected), "{name}"),
            None => {
                assert!(name.starts_with("interfaces."), "{name}");
                interfaces += 1;
            }
        }
    }
    assert!(interfaces > 0 && serial.keys().all(|name| cut.contains_key(name)));
    assert_eq!(report["steps"], 3);

    // From a run with the same cuts, all weights are taken, including those of the interfaces.
    let start = ["--init-from", "cut", "--seed", "6"];
    train(folder, &[&start[..], &STILL, &["--output", "again"]].concat());
    let again = exported(folder, "again");
    assert!(again.keys().eq(cut.keys()));
    for (name, bytes) in again.iter().filter(|(name, _)| is_trained(name)) {
        assert!(are_close(bytes, &cut[name]), "{name}");
    }

    let start = ["--init-from", "nowhere", "--output", "no"];
    let output = parareal(folder, &[&["train"], &crate::common::TINY[..], &start].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("nowhere"), "{}", errors(&output));
    assert!(!folder.join("no").exists());
}

#[test]
fn every_command_works_with_runs_of_any_width() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let succeed = |arguments: &[&str]| {
        let output = parareal(folder, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
        output
    };
    train(folder, &["--width", "6", "--subnetworks", "1", "--output", "serial"]);
    train(folder, &["--width", "6", "--init-from", "serial", "--output", "cut"]);
    let config = fs::read_to_string(folder.join("cut/config.toml")).unwrap();
    assert!(config.lines().any(|line| line == "width = 6"), "{config}");
    succeed(&["train", "--resume", "--output", "cut", "--epochs", "2"]);
    assert_eq!(json(&succeed(&["eval", "cut", "--json"]))["images"], 50);
    let image = image::RgbImage::from_pixel(32, 32, image::Rgb([9, 99, 200]));
    image.save(folder.join("image.png")).unwrap();
    succeed(&["predict", "cut", "image.png"]);
    succeed(&["export", "cut", "--output", "cut.safetensors"]);
    let bytes = fs::read(folder.join("cut.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values: usize = tensors
        .iter()
        .filter(|(name, _)| !name.contains("running"))
        .map(|(_, tensor)| tensor.data().len() / 4)
        .sum();
    let network = ["--depth", "11", "--width", "6", "--subnetworks", "3", "--json"];
    let planned = json(&succeed(&[&["plan"], &network[..]].concat()));
    assert_eq!((&planned["network"], &planned["width"]), (&"resnet-11-w6".into(), &6.into()));
    assert_eq!(planned["parameters"]["total"], values);

    let start = ["train", "--depth", "11", "--subnetworks", "3", "--init-from", "cut"];
    for (arguments, expected) in [
        (
            &[&start[..], &["--limit-train", "9", "--output", "no"]].concat()[..],
            "expected a run with 16 channels after the first convolution, got 6",
        ),
        (&["train", "--resume", "--output", "cut", "--width", "16"], "width is 16, but 6 in"),
    ] {
        let output = parareal(folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        assert!(errors(&output).contains(expected), "{}", errors(&output));
        assert_eq!(errors(&output).lines().count(), 1, "{}", errors(&output));
    }
    assert!(!folder.join("no").exists());
}

#[test]
fn a_moving_average_is_saved_in_checkpoints_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--ema-decay", "0.9", "--output", "run"]);
    train(folder, &["--output", "plain"]);
    let steps = |run: &str| crate::common::metrics(&folder.join(run), "step");
    let losses = |run: &str| steps(run).iter().map(|step| step["loss"].clone()).collect::<Vec<_>>();
    assert_eq!(losses("run"), losses("plain"), "it only watches");

    let names = checkpoints(&folder.join("run"));
    let name = names.iter().find(|name| name.starts_with("step-")).unwrap();
    let checkpoint = folder.join("run/checkpoints").join(name);
    let mut average = BTreeMap::new();
    for subnetwork in 1..=3 {
        average.extend(read(
            &checkpoint.join(format!("subnetwork-0{subnetwork}.average.safetensors")),
        ));
    }
    assert!(exported(folder, "run") == average);
    let plain = exported(folder, "plain");
    assert!(average.keys().eq(plain.keys()));
    assert!(average != plain);

    let evaluated = json(&parareal(folder, &["eval", "run", "--json"]));
    let epoch = &crate::common::metrics(&folder.join("run"), "epoch")[0];
    assert_eq!(evaluated["test_loss"], epoch["test_loss"]);
    let epoch = &crate::common::metrics(&folder.join("plain"), "epoch")[0];
    assert_ne!(evaluated["test_loss"], epoch["test_loss"]);
}
