//! Training, evaluation, measurements and predictions with states in bfloat16.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::common::{assert_same, errors, json, metrics, parareal, remains, train};

const BF16: [&str; 2] = ["--precision", "bf16"];

#[test]
fn a_run_in_bfloat16_resumes_bit_for_bit_with_parameters_in_single_precision() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Replicas, an average, clipping and recomputed states join.
    let more = ["--replicas", "2", "--ema-decay", "0.9", "--clip-norm", "2", "--recompute", "2"];
    let more = [&more[..], &["--milestones", "9"]].concat();
    let start = |epochs, output| {
        let more = [&BF16[..], &more, &["--epochs", epochs, "--output", output]].concat();
        train(folder, &more);
    };
    start("2", "whole");
    start("1", "run");
    let resume = ["train", "--resume", "--output", "run", "--epochs", "2"];
    let output = parareal(folder, &resume);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let [found, expected] = ["run", "whole"].map(|run| remains(&folder.join(run)));
    assert_eq!(found.0, expected.0);
    let last = |files: &BTreeMap<String, Vec<u8>>| {
        let files = files.iter().filter(|(name, _)| name.starts_with("step-00000006"));
        files.map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
    };
    let (found, expected) = (last(&found.1), last(&expected.1));
    assert_same(&(Vec::new(), found), &(Vec::new(), expected.clone()));
    assert_eq!(expected.len(), 9);
    for bytes in expected.values() {
        let tensors = SafeTensors::deserialize(bytes).unwrap();
        assert!(tensors.iter().all(|(_, tensor)| tensor.dtype() != Dtype::BF16));
    }
}

#[test]
fn recomputed_states_change_nothing_in_bfloat16() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &[&BF16[..], &["--output", "kept"]].concat());
    train(folder, &[&BF16[..], &["--recompute", "1", "--output", "recomputed"]].concat());
    let [kept, recomputed] = ["kept", "recomputed"].map(|run| remains(&folder.join(run)));
    assert_same(&recomputed, &kept);
}

/// Returns the losses of the steps of a run.
fn losses(run: &Path) -> Vec<f64> {
    metrics(run, "step").iter().map(|line| line["loss"].as_f64().unwrap()).collect()
}

#[test]
fn rounded_states_change_losses_a_little_and_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // A rate at which three steps do not carry the networks far apart.
    let rate = ["--learning-rate", "0.001", "--output"];
    train(folder, &[&rate[..], &["f32"]].concat());
    let trained = train(folder, &[&BF16[..], &rate, &["bf16"]].concat());
    let [single, half] = ["f32", "bf16"].map(|run| losses(&folder.join(run)));
    assert_eq!(half.len(), 3);
    for (half, single) in half.iter().zip(&single) {
        assert!(half != single && (half - single).abs() <= 0.02 * single, "{half} and {single}");
    }
    // A run is evaluated in the precision in which it was trained.
    let config = fs::read_to_string(folder.join("bf16/config.toml")).unwrap();
    assert!(config.contains("precision = \"bf16\""), "{config}");
    let evaluated = json(&parareal(folder, &["eval", "bf16", "--json"]));
    assert_eq!(evaluated["test_error"], trained["test_error"]);
    // An edited file does not change it.
    fs::write(folder.join("bf16/config.toml"), config.replace("\"bf16\"", "\"f32\"")).unwrap();
    for command in [&["train", "--resume", "--output", "bf16"][..], &["eval", "bf16"]] {
        let output = parareal(folder, command);
        assert_eq!(output.status.code(), Some(2));
        let told =
            "precision is \"f32\", but \"bf16\" in the checkpoints of the run; restore that value";
        assert!(errors(&output).contains(told), "{}", errors(&output));
    }
    fs::write(folder.join("bf16/config.toml"), config).unwrap();
    // It cannot be resumed in the other one.
    let resume = ["train", "--resume", "--output", "bf16", "--precision", "f32"];
    let output = parareal(folder, &resume);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("precision"), "{}", errors(&output));
}

/// Runs answer in the precision in which they were trained. Exported weights are 32-bit floats, and so are computations with
/// them.
#[test]
fn predictions_of_a_run_and_of_its_exported_weights_differ_by_roundings() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &[&BF16[..], &["--output", "run"]].concat());
    let picture = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8, y as u8, 200]));
    picture.save(folder.join("a.png")).unwrap();
    let run = |arguments: &[&str]| {
        let output = parareal(folder, &[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        json(&output)
    };
    let probability = |source| {
        let answers = run(&["predict", source, "a.png"]);
        answers[0]["answers"][0]["probability"].as_f64().unwrap()
    };
    run(&["export", "run", "--output", "w.safetensors"]);
    let bytes = fs::read(folder.join("w.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert!(tensors.iter().all(|(_, tensor)| tensor.dtype() != Dtype::BF16));
    let [own, exported] = ["run", "w.safetensors"].map(probability);
    assert!(own != exported && (own - exported).abs() < 0.02, "{own} and {exported}");
}

#[test]
fn rates_are_found_for_states_in_bfloat16() {
    let folder = tempfile::tempdir().unwrap();
    let losses = ["f32", "bf16"].map(|precision| {
        let small = ["lr-find", "--depth", "11", "--width", "4", "--limit-train", "48"];
        let range = ["--batch-size", "16", "--seed", "3", "--steps", "20"];
        let precision = ["--highest", "0.01", "--precision", precision, "--json"];
        let output = parareal(folder.path(), &[&small[..], &range, &precision].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let steps = json(&output)["steps"].as_array().unwrap().clone();
        steps.iter().map(|step| step["loss"].as_f64().unwrap()).collect::<Vec<_>>()
    });
    let [single, half] = &losses;
    assert_eq!((single.len(), half.len()), (20, 20));
    let is_close = |(single, half): (&f64, &f64)| (single - half).abs() < 0.05 * single;
    assert!(single != half && single.iter().zip(half).all(is_close), "{losses:?}");
}

#[test]
fn measured_costs_are_those_of_one_precision() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plan = |more: &[&str]| {
        parareal(folder, &[&["plan", "--depth", "20", "--subnetworks", "2"][..], more].concat())
    };
    let memory = ["f32", "bf16"].map(|precision| {
        let bench = ["bench", "--depth", "20", "--subnetworks", "1,2", "--batch-size", "8"];
        let more = ["--repetitions", "1", "--json", "--precision", precision];
        let output = parareal(folder, &[&bench[..], &more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        fs::write(folder.join(precision), &output.stdout).unwrap();
        let output = plan(&["--costs", precision, "--precision", precision, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        json(&output)["predicted"]["memory_bytes"][0].as_f64().unwrap()
    });
    // The states of the first subnetwork need far more memory than its parameters.
    let ratio = memory[1] / memory[0];
    assert!((0.5..0.6).contains(&ratio), "{memory:?}");

    // The units of a vision transformer compute with 32-bit floats, which they keep.
    let memory = ["f32", "bf16"].map(|precision| {
        let bench = ["bench", "--network", "vit-tiny-8", "--width", "6", "--subnetworks", "1,2"];
        let more = ["--batch-size", "2", "--repetitions", "1", "--json", "--precision", precision];
        let output = parareal(folder, &[&bench[..], &more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        fs::write(folder.join("vit"), &output.stdout).unwrap();
        let network = ["plan", "--network", "vit-tiny-8", "--width", "6", "--subnetworks", "2"];
        let more = ["--costs", "vit", "--precision", precision, "--json"];
        let output = parareal(folder, &[&network[..], &more].concat());
        json(&output)["predicted"]["memory_bytes"][0].as_f64().unwrap()
    });
    assert!(memory[0] == memory[1], "{memory:?}");

    for (costs, precision, told) in [
        ("bf16", "f32", "the cost table is for states in bf16, not f32"),
        ("f32", "bf16", "the cost table is for states in f32, not bf16"),
        ("paper", "bf16", "invalid value `bf16` for precision: expected f32, the precision of"),
    ] {
        let output = plan(&["--costs", costs, "--precision", precision, "--coarse-unit", "basic"]);
        assert_eq!(output.status.code(), Some(2), "{costs}");
        assert!(errors(&output).contains(told), "{}", errors(&output));
    }
}
