//! Steps of several micro-batches.

use crate::common::{TINY, assert_same, errors, metrics, parareal, remains, train};

#[test]
fn micro_batches_train_as_the_whole_batch_without_batch_normalization() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // With 90 images, the last batch of an epoch is smaller, and its parts differ in size.
    let network = ["train", "--network", "vit-tiny-8", "--width", "6", "--subnetworks", "2"];
    let more = ["--limit-train", "90", "--limit-test", "20", "--epochs", "1", "--batch-size", "32"];
    let losses = |output: &str, more_still: &[&str]| {
        let output_flag = ["--output", output];
        let output = parareal(folder, &[&network[..], &more, &output_flag, more_still].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let steps = metrics(&folder.join(output_flag[1]), "step");
        steps.iter().map(|step| step["loss"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let whole = losses("whole", &[]);
    assert_eq!(whole.len(), 3);
    for (output, more) in [
        ("threads", &["--accumulate", "3"][..]),
        ("sequential", &["--accumulate", "4", "--executor", "sequential"]),
        ("replicas", &["--accumulate", "2", "--replicas", "2", "--recompute", "1"]),
    ] {
        for (found, expected) in losses(output, more).iter().zip(&whole) {
            assert!((found - expected).abs() <= 1e-4 * expected, "{output}: {found}, {expected}");
        }
    }
}

#[test]
fn a_run_of_micro_batches_resumes_bit_for_bit_and_keeps_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let more = ["--accumulate", "3", "--milestones", "9", "--keep-checkpoints", "1"];
    let tiny = [&["train"], &TINY[..], &more, &["--epochs", "2", "--output", "whole"]].concat();
    let output = parareal(folder, &tiny);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(errors(&output).contains(", steps of 3 micro-batches\n"), "{}", errors(&output));
    train(folder, &[&more[..], &["--epochs", "1", "--output", "run"]].concat());
    let resume = |more: &[&str]| {
        parareal(folder, &[&["train", "--resume", "--output", "run"][..], more].concat())
    };
    let output = resume(&["--accumulate", "2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("accumulate"), "{}", errors(&output));
    let output = resume(&["--epochs", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let last = |run: &str| {
        let (lines, mut files) = remains(&folder.join(run));
        files.retain(|name, _| name.starts_with("step-00000006"));
        (lines, files)
    };
    assert_same(&last("run"), &last("whole"));
}

#[test]
fn every_micro_batch_needs_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let train = |more: &[&str]| {
        let start = ["train", "--depth", "11", "--batch-size", "32", "--output", "run"];
        parareal(folder.path(), &[&start[..], more].concat())
    };
    for (more, told) in [
        (
            &["--accumulate", "33"][..],
            "invalid value `33` for accumulate: expected at most 32, the number of images of a batch",
        ),
        (
            &["--accumulate", "4", "--limit-train", "66"],
            "invalid value `4` for accumulate: the last batch of an epoch has 2 of the 66 training samples, fewer \
             than one per micro-batch; try another --batch-size",
        ),
        (
            &["--accumulate", "2", "--replicas", "2", "--limit-train", "66"],
            "fewer than one per micro-batch of each replica",
        ),
    ] {
        let output = train(more);
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains(told), "{}", errors(&output));
        assert!(!folder.path().join("run").exists());
    }
}

#[test]
fn launches_are_recorded_on_gpus_without_what_splits_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let refusals: [(&[&str], &str); 5] = [
        (&[], "launches are recorded on GPUs only"),
        (&["--device", "wgpu:0", "--executor", "sequential"], "not with the sequential executor"),
        (&["--device", "wgpu:0", "--recompute"], "not with recomputed states"),
        (&["--device", "wgpu:0", "--replicas", "2"], "not with several replicas"),
        (&["--device", "wgpu:0", "--accumulate", "2"], "not with several micro-batches"),
    ];
    for (more, reason) in refusals {
        let start = [&["train"], &TINY[..], &["--launch-graphs", "--output", "run"]].concat();
        let output = parareal(folder.path(), &[&start[..], more].concat());
        assert_eq!(output.status.code(), Some(2));
        let told = format!("invalid value `true` for launch-graphs: {reason}; leave it unset");
        assert!(errors(&output).contains(&told), "{}", errors(&output));
        assert!(!folder.path().join("run").exists());
    }
}

#[test]
fn normalizations_are_synchronized_on_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let train = |more: &[&str]| {
        let start = [&["train"], &TINY[..], &["--sync-batch-norm", "--output", "run"]].concat();
        parareal(folder.path(), &[&start[..], more].concat())
    };
    let output = train(&["--device", "wgpu:0"]);
    assert_eq!(output.status.code(), Some(2));
    let told = "invalid value `true` for sync-batch-norm: normalizations are synchronized on the device cpu only; \
                leave it unset";
    assert!(errors(&output).contains(told), "{}", errors(&output));
    assert!(!folder.path().join("run").exists());
    let output = train(&["--replicas", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let told = ", batch normalization over all replicas\n";
    assert!(errors(&output).contains(told), "{}", errors(&output));
}
