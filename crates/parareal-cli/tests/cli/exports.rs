//! Weights in files: formats, predictions and initial weights.

use std::fs;
use std::path::Path;

use crate::common::{errors, json, parareal, train};

/// Trains a tiny parareal network and draws an image.
fn prepare(folder: &Path) {
    train(folder, &["--output", "run"]);
    let picture = image::RgbImage::from_fn(50, 40, |x, y| image::Rgb([x as u8, y as u8, 200]));
    picture.save(folder.join("a.png")).unwrap();
}

#[track_caller]
fn run(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let output = parareal(folder, &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    json(&output)
}

#[track_caller]
fn refused(folder: &Path, arguments: &[&str], part: &str) {
    let output = parareal(folder, arguments);
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains(part) && message.lines().count() == 1, "{message}");
}

#[test]
fn an_exported_file_predicts_without_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    let expected = run(folder, &["predict", "run", "a.png"]);
    let exported = run(folder, &["export", "run", "--output", "w.safetensors"]);
    fs::rename(folder.join("run"), folder.join("other")).unwrap();
    assert_eq!(run(folder, &["predict", "w.safetensors", "a.png"]), expected);
    // A file can be exported again, in other formats.
    let again = run(folder, &["export", "w.safetensors", "--output", "v.safetensors"]);
    assert_eq!((&again["tensors"], &again["step"]), (&exported["tensors"], &exported["step"]));
    assert_eq!(run(folder, &["predict", "v.safetensors", "a.png"]), expected);

    let file = fs::read(folder.join("w.safetensors")).unwrap();
    fs::write(folder.join("cut.safetensors"), &file[..file.len() - 1]).unwrap();
    fs::write(folder.join("text.safetensors"), "no weights").unwrap();
    refused(folder, &["predict", "cut.safetensors", "a.png"], "not a safetensors file");
    refused(
        folder,
        &["predict", "text.safetensors", "a.png"],
        "cannot read weights from text.safetensors: not a safetensors file",
    );
    let missing = ["predict", "missing.safetensors", "a.png"];
    refused(folder, &missing, "cannot read weights from missing.safetensors: No such file");
    fs::write(folder.join("empty.safetensors"), "").unwrap();
    refused(folder, &["predict", "empty.safetensors", "a.png"], "or one that is not complete");
    // It is not read. It takes no space, because it was never written.
    let large = fs::File::create(folder.join("large.safetensors")).unwrap();
    large.set_len(9 << 30).unwrap();
    refused(folder, &["predict", "large.safetensors", "a.png"], "at most 8 GiB, got 9 GiB");
    let checkpoint = ["predict", "w.safetensors", "a.png", "--checkpoint", "best"];
    refused(folder, &checkpoint, "--checkpoint is for the folder of a run");
}

#[test]
fn networks_are_exported_for_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    let onnx = ["export", "run", "--format", "onnx", "--output"];
    let exported = run(folder, &[&onnx[..], &["n.onnx"]].concat());
    let bytes = fs::read(folder.join("n.onnx")).unwrap();
    assert_eq!(exported["bytes"], bytes.len());
    // The metadata are text.
    let text = String::from_utf8_lossy(&bytes);
    for part in ["class-names", "[\"disc\",\"ring\"", "BatchNormalization", "images", "scores"] {
        assert!(text.contains(part), "{part}");
    }
    let normalizing = run(folder, &[&onnx[..], &["m.onnx", "--normalize"]].concat());
    assert!(normalizing["bytes"].as_u64() > exported["bytes"].as_u64());

    let pytorch = ["export", "run", "--format", "pytorch", "--output", "model"];
    run(folder, &pytorch);
    let module = fs::read_to_string(folder.join("model/model.py")).unwrap();
    for part in ["class BottleneckUnit", "class CoarsenedUnit", "CUTS = [1,2]", "def load("] {
        assert!(module.contains(part), "{part}: {module}");
    }
    assert!(!module.contains("class BasicUnit"));
    let weights = fs::read(folder.join("model/model.safetensors")).unwrap();
    run(folder, &["export", "run", "--output", "w.safetensors"]);
    let file = fs::read(folder.join("w.safetensors")).unwrap();
    assert_eq!(weights.len(), file.len());
    refused(folder, &pytorch, "pass --overwrite");
    run(folder, &[&pytorch[..], &["--overwrite"]].concat());

    refused(folder, &["export", "run", "--normalize", "--output", "x"], "requires --format onnx");
    refused(folder, &[&onnx[..], &["n.safetensors"]].concat(), "a name that ends in .onnx");
    let network = ["export", "run", "--output", "x", "--network", "resnet50"];
    refused(folder, &network, "--network is for a file of torchvision or timm");
    let pretrained = ["export", "w.safetensors", "--output", "x", "--network", "resnet50"];
    refused(folder, &pretrained, "expected the weights of resnet50 under the names of");
}

#[test]
fn training_starts_from_an_exported_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    run(folder, &["export", "run", "--output", "w.safetensors"]);
    let tiny = |more: &[&str]| train(folder, more);
    let from_run = tiny(&["--init-from", "run", "--output", "a"]);
    let from_file = tiny(&["--init-from", "w.safetensors", "--output", "b"]);
    assert_eq!(from_run["train_loss"], from_file["train_loss"]);
    fs::write(folder.join("text.safetensors"), "no weights").unwrap();
    refused(
        folder,
        &["train", "--init-from", "text.safetensors", "--output", "c"],
        "text.safetensors: not a safetensors file",
    );
    assert!(!folder.join("c").exists());
}
