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
        "cannot read weights from text.safetensors: not a complete safetensors file",
    );
    let missing = ["predict", "missing.safetensors", "a.png"];
    refused(folder, &missing, "cannot read weights from missing.safetensors: No such file");
    fs::write(folder.join("empty.safetensors"), "").unwrap();
    refused(folder, &["predict", "empty.safetensors", "a.png"], "not a complete safetensors file");
    // It is not read. It takes no space, because it was never written.
    let large = fs::File::create(folder.join("large.safetensors")).unwrap();
    large.set_len(9 << 30).unwrap();
    refused(folder, &["predict", "large.safetensors", "a.png"], "at most 8 GiB, got 9 GiB");
    #[cfg(unix)]
    refused(folder, &["predict", "/dev/zero", "a.png"], "expected a safetensors file");
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
    refused(folder, &pretrained, "it is an exported network; leave the name of its network out");
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
        "text.safetensors: not a complete safetensors file",
    );
    assert!(!folder.join("c").exists());
}

/// Writes the weights of a ResNet-50 in a file as torchvision names them.
fn write_renamed(from: &Path, to: &Path) {
    let bytes = fs::read(from).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = |name: &str| {
        let name = name
            .replace("preprocessing.conv.", "conv1.")
            .replace("preprocessing.norm.", "bn1.")
            .replace("postprocessing.linear.", "fc.")
            .replace("projection_norm.", "downsample.1.")
            .replace("projection.", "downsample.0.")
            .replace(".norm", ".bn");
        let Some(rest) = name.strip_prefix("units.") else { return name };
        let (unit, layer) = rest.split_once('.').unwrap();
        let unit: usize = unit.parse().unwrap();
        // Units of the stages: 3, 4, 6, 3.
        let (stage, first) = [(4, 13), (3, 7), (2, 3), (1, 0)]
            .into_iter()
            .find(|&(_, first)| unit >= first)
            .unwrap();
        format!("layer{stage}.{}.{layer}", unit - first)
    };
    let views: Vec<_> = file.iter().map(|(name, view)| (renamed(name), view)).collect();
    fs::write(to, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_pretrained_network_is_cut_and_trained() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let resnet = [
        ["train", "--network", "resnet50"],
        ["--width", "2", "--epochs"],
        ["1", "--limit-train", "32"],
        ["--limit-test", "50", "--batch-size"],
        ["16", "--learning-rate", "0.05"],
    ]
    .concat();
    let tiny = |more: &[&str]| run(folder, &[&resnet, more].concat());
    tiny(&["--subnetworks", "1", "--output", "serial"]);
    run(folder, &["export", "serial", "--output", "own.safetensors"]);
    write_renamed(&folder.join("own.safetensors"), &folder.join("theirs.safetensors"));

    // The same network with the same weights begins in the same way.
    let serial = |source: &str, output: &str| {
        tiny(&["--subnetworks", "1", "--init-from", source, "--output", output])["train_loss"]
            .clone()
    };
    assert_eq!(serial("theirs.safetensors", "a"), serial("serial", "b"));
    let distilled = ["--subnetworks", "3", "--init-from", "theirs.safetensors", "--distill", "2"];
    tiny(&[&distilled[..], &["--output", "c"]].concat());
    let started = fs::read_to_string(folder.join("c/config.toml")).unwrap();
    assert!(started.contains("theirs.safetensors"), "{started}");

    let bytes = fs::read(folder.join("theirs.safetensors")).unwrap();
    fs::write(folder.join("weights.pth"), &bytes[9..]).unwrap();
    let from = |source: &str, part: &str| {
        let flags = ["--subnetworks", "3", "--init-from", source, "--output", "d"];
        refused(folder, &[&resnet[..], &flags].concat(), part);
        assert!(!folder.join("d").exists());
    };
    from("weights.pth", "`safetensors.torch.save_file(state_dict, path)` writes one");
    let other = ["train", "--init-from", "theirs.safetensors", "--output", "d"];
    refused(folder, &other, "torchvision and timm have no resnet-");
}

#[test]
fn a_folder_for_pytorch_is_neither_a_file_nor_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    fs::write(folder.join("file"), "x").unwrap();
    let pytorch =
        |output| ["export", "run", "--format", "pytorch", "--output", output, "--overwrite"];
    refused(folder, &pytorch("file"), "it is a file; expected a folder");
    refused(folder, &pytorch("run"), "it is the folder of a run; expected another folder");
    assert!(!folder.join("run/model.py").exists());
    // The folder can be read like the file in it.
    run(folder, &pytorch("model"));
    let expected = run(folder, &["predict", "run", "a.png"]);
    assert_eq!(run(folder, &["predict", "model", "a.png"]), expected);
}

#[test]
fn exported_files_that_do_not_fit_are_refused_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    run(folder, &["export", "run", "--output", "w.safetensors"]);
    let bytes = fs::read(folder.join("w.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = |name: &str| name.replace("units.0.conv1", "units.0.extra");
    let views: Vec<_> = file.iter().map(|(name, view)| (renamed(name), view)).collect();
    let changed = safetensors::serialize(views, header.metadata().clone()).unwrap();
    fs::write(folder.join("changed.safetensors"), changed).unwrap();
    let part = "cannot read weights from changed.safetensors: tensor";
    refused(folder, &["predict", "changed.safetensors", "a.png"], part);
    for format in ["safetensors", "onnx", "pytorch"] {
        let export = ["export", "changed.safetensors", "--format", format, "--output", "x"];
        refused(folder, &export, part);
    }
    let train = ["train", "--init-from", "changed.safetensors", "--depth", "11", "--output", "x"];
    refused(folder, &train, "changed.safetensors: tensor");
    assert!(!folder.join("x").exists());
}
