//! Training on ranks has the same results as with threads, and the traffic is reported.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use parareal_testing::real_images;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::common::{TINY, assert_rows_do_not_overlap, errors, json, metrics, parareal, train};
use crate::launch::run;

/// Returns the weights of a run as written by `export`.
pub(crate) fn exported(folder: &Path, run: &str) -> BTreeMap<String, Vec<f32>> {
    let file = format!("{run}.safetensors");
    let output = parareal(folder, &["export", run, "--output", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let bytes = fs::read(folder.join(&file)).unwrap();
    fs::remove_file(folder.join(file)).unwrap();
    let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = tensors.iter().map(|(name, tensor)| {
        (name.to_string(), tensor.data().chunks_exact(4).map(number).collect())
    });
    tensors.collect()
}

/// Asserts that weights are close, by the relative difference of each tensor.
#[track_caller]
pub(crate) fn assert_close(
    found: &BTreeMap<String, Vec<f32>>,
    expected: &BTreeMap<String, Vec<f32>>,
    tolerance: f32,
) {
    assert!(found.keys().eq(expected.keys()));
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    for (name, expected) in expected {
        let difference = norm(&mut found[name].iter().zip(expected).map(|(a, b)| a - b));
        let scale = norm(&mut expected.iter().copied()).max(1e-6 * (expected.len() as f32).sqrt());
        assert!(difference <= tolerance * scale, "{name}: {difference} of {scale}");
    }
}

/// Asserts that metrics are equal up to rounding.
#[track_caller]
fn assert_metrics(found: &Path, expected: &Path) {
    for (event, keys) in [
        ("step", &["epoch", "step", "loss", "error", "learning_rate"][..]),
        ("epoch", &["epoch", "train_loss", "train_error", "test_loss", "test_error"]),
    ] {
        let (found, expected) = (metrics(found, event), metrics(expected, event));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            for key in keys {
                let (a, b) = (found[key].as_f64().unwrap(), expected[key].as_f64().unwrap());
                assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{key}: {a} and {b}");
            }
        }
    }
}

#[test]
fn any_number_of_ranks_trains_as_threads_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let more = ["--ema-decay", "0.9", "--clip-norm", "2", "--output", "threads"];
    train(folder, &more);
    let expected = exported(folder, "threads");
    for ranks in 1..=3 {
        let name = format!("ranks-{ranks}");
        let more = ["--ema-decay", "0.9", "--clip-norm", "2", "--output", &name];
        let arguments = [&["train", "--executor", "mpi", "--json"], &TINY[..], &more].concat();
        let ended = run(folder, &[(ranks, &arguments)]);
        ended.assert_done();
        // Only one rank prints.
        let outcome: Value = serde_json::from_str(&ended.output).unwrap();
        assert_eq!(outcome["traffic"].as_array().unwrap().len(), ranks);
        assert_eq!(ended.errors.matches("epoch 1/1").count(), 1, "{}", ended.errors);
        assert_metrics(&folder.join(&name), &folder.join("threads"));
        assert_close(&exported(folder, &name), &expected, 1e-4);
        let evaluated = json(&parareal(folder, &["eval", &name, "--json"]));
        assert_eq!(evaluated["test_error"], outcome["test_error"]);
    }
}

#[test]
fn replicas_on_ranks_train_as_replicas_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // With 90 images, the last batch of an epoch is smaller.
    let tiny: Vec<&str> = TINY.iter().map(|&word| if word == "96" { "90" } else { word }).collect();
    let more = ["--subnetworks", "2", "--replicas", "2", "--mixup", "0.4", "--cutmix", "1"];
    for micro_batches in ["1", "3"] {
        let names = ["threads", "ranks"].map(|name| format!("{name}-{micro_batches}"));
        let more = [&more[..], &["--accumulate", micro_batches]].concat();
        let arguments = [&["train"], &tiny[..], &more, &["--output", &names[0]]].concat();
        let output = parareal(folder, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let ranks = ["--executor", "mpi", "--output", &names[1]];
        let arguments = [&["train"], &tiny[..], &more, &ranks].concat();
        let ended = run(folder, &[(4, &arguments)]);
        ended.assert_done();
        let [threads, ranks] = names;
        assert_metrics(&folder.join(&ranks), &folder.join(&threads));
        assert_close(&exported(folder, &ranks), &exported(folder, &threads), 1e-4);
    }
}

/// Replicas on threads and on ranks, with the statistics of the whole batch, train as one network does.
#[test]
fn synchronized_replicas_train_as_one_network() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Few operations and a small rate keep rounding errors from moving values across the kinks of ReLUs.
    let more = ["--subnetworks", "2", "--learning-rate", "0.001", "--coarse-unit", "bottleneck"];
    train(folder, &[&more[..], &["--output", "one"]].concat());
    let replicas = ["--replicas", "2", "--sync-batch-norm"];
    train(folder, &[&more[..], &replicas, &["--output", "threads"]].concat());
    let ranks = ["--executor", "mpi", "--output", "ranks"];
    let arguments = [&["train"], &TINY[..], &more, &replicas, &ranks].concat();
    let ended = run(folder, &[(4, &arguments)]);
    ended.assert_done();
    for replicated in ["threads", "ranks"] {
        assert_metrics(&folder.join(replicated), &folder.join("one"));
    }
    // Weights are compared with the same replicas: a value that passes a ReLU in only one network changes biases, which
    // start at zero, by more than rounding errors.
    assert_close(&exported(folder, "ranks"), &exported(folder, "threads"), 1e-4);
}

#[test]
fn ranks_start_with_the_weights_that_the_first_one_distills() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--subnetworks", "1", "--output", "serial"]);
    let start =
        ["--init-from", "serial", "--distill", "4", "--workers", "1", "--threads", "1", "--output"];
    train(folder, &[&start[..], &["threads"]].concat());
    let arguments = [&["train", "--executor", "mpi"], &TINY[..], &start, &["ranks"]].concat();
    let ended = run(folder, &[(3, &arguments)]);
    ended.assert_done();
    assert_eq!(ended.errors.matches("distillation of 4 steps: losses").count(), 1);
    let [ranks, threads] = ["ranks", "threads"].map(|run| folder.join(run));
    let losses = |run| {
        metrics(run, "distillation")
            .iter()
            .map(|line| line["interfaces"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!((losses(&ranks).len(), losses(&ranks)), (4, losses(&threads)));
    assert_metrics(&ranks, &threads);
    assert_close(&exported(folder, "ranks"), &exported(folder, "threads"), 1e-4);
}

#[test]
fn one_rank_writes_the_timeline_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let more = ["--executor", "mpi", "--output", "run", "--timeline", "step.json"];
    let ended = run(folder, &[(3, &[&["train"], &TINY[..], &more].concat())]);
    ended.assert_done();
    let told = ended.errors.matches("wrote the timeline of step 3 to step.json").count();
    assert_eq!(told, 1, "{}", ended.errors);
    let rows = assert_rows_do_not_overlap(&folder.join("step.json"));
    assert_eq!(rows, ["device 1", "device 2", "device 3"]);
    let trace = fs::read_to_string(folder.join("step.json")).unwrap();
    let title = "resnet-11, N = 3, executor mpi, 3 ranks of 1 worker, step 3";
    assert!(trace.contains(title), "{trace}");

    let resume = ["train", "--resume", "--output", "run", "--epochs", "2", "--timeline", "a.svg"];
    let ended = run(folder, &[(3, &resume)]);
    ended.assert_done();
    let picture = fs::read_to_string(folder.join("a.svg")).unwrap();
    assert!(picture.contains("3 ranks of 1 worker, step 6\""), "{picture}");
}

#[test]
#[ignore = "needs real images: set PARAREAL_DATA_DIR"]
fn mnist_trains_as_with_threads() {
    let data = real_images(&["mnist"]);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mnist = ["--dataset", "mnist", "--data-dir", data.to_str().unwrap()];
    train(folder, &[&mnist[..], &["--output", "threads"]].concat());
    let ranks = ["train", "--executor", "mpi", "--output", "ranks"];
    let ended = run(folder, &[(3, &[&ranks[..], &TINY, &mnist].concat())]);
    ended.assert_done();
    assert_metrics(&folder.join("ranks"), &folder.join("threads"));
}

/// Returns the bytes of the tensors of a subnetwork in the checkpoint after the last step.
fn held(run: &Path, subnetwork: usize) -> u64 {
    let file = format!("checkpoints/step-00000003/subnetwork-{subnetwork:02}.weights.safetensors");
    let bytes = fs::read(run.join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.iter().map(|(_, tensor)| tensor.data().len() as u64).sum()
}

#[test]
fn what_ranks_send_is_counted_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Sizes of a state after the first and the second stage of the network.
    let interfaces = [64 * 32 * 32_u64, 128 * 16 * 16];
    for (link, output, bytes) in [
        ("--link-dtype=f32", "f32", 4),
        ("--link-dtype=bf16", "bf16", 2),
        ("--precision=bf16", "states", 2),
    ] {
        let arguments = ["train", "--executor", "mpi", "--output", output, link];
        let ended = run(folder, &[(3, &[&arguments[..], &TINY].concat())]);
        ended.assert_done();
        let end = metrics(&folder.join(output), "end").pop().unwrap();
        for (rank, sent) in end["traffic"].as_array().unwrap().iter().enumerate() {
            // A gradient to the previous rank and a state to the next one, for 96 images in 3
            // steps.
            let before = if rank > 0 { interfaces[rank - 1] } else { 0 };
            let behind = interfaces.get(rank).unwrap_or(&0);
            assert_eq!(sent["steps"], 3);
            assert_eq!(sent["interfaces"], 96 * bytes * (before + behind), "{link}, rank {rank}");
            assert_eq!(sent["reduced"], 0);
        }
        let told = 32 * bytes * (interfaces[0] + interfaces[1]);
        assert!(ended.errors.contains(&format!("{told} B")), "{}", ended.errors);
    }
    let rounded = exported(folder, "bf16");
    assert_close(&rounded, &exported(folder, "f32"), 0.5);
    assert!(rounded != exported(folder, "f32"));
    // States in bfloat16 arrive as they were sent, so ranks compute what threads compute.
    train(folder, &["--precision", "bf16", "--output", "threads"]);
    assert_metrics(&folder.join("states"), &folder.join("threads"));
    assert_close(&exported(folder, "states"), &exported(folder, "threads"), 1e-4);

    let arguments = ["train", "--executor", "mpi", "--output", "two", "--replicas", "2"];
    let more = ["--subnetworks", "1"];
    let ended = run(folder, &[(2, &[&arguments[..], &TINY, &more].concat())]);
    ended.assert_done();
    let end = metrics(&folder.join("two"), "end").pop().unwrap();
    for sent in end["traffic"].as_array().unwrap() {
        // Gradients, running statistics, and four numbers: the loss and error flags.
        assert_eq!(sent["reduced"], 3 * (held(&folder.join("two"), 1) + 32));
        assert_eq!(sent["interfaces"], 0);
    }
}

/// A run can be resumed with other numbers of workers, replicas and ranks.
#[test]
fn a_run_resumes_on_other_numbers_of_ranks_and_replicas() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let train = ["train", "--executor", "mpi", "--output", "run"];
    let begin = [&train[..], &TINY, &["--workers", "3"]].concat();
    run(folder, &[(1, &begin)]).assert_done();
    let resume = ["train", "--resume", "--output", "run", "--epochs"];
    run(folder, &[(3, &[&resume[..], &["2"]].concat())]).assert_done();
    let ended = run(folder, &[(6, &[&resume[..], &["3", "--replicas", "2"]].concat())]);
    ended.assert_done();
    let note = "each batch is now split over 2 replicas instead of 1";
    assert!(ended.errors.contains(note), "{}", ended.errors);
}

#[test]
fn a_run_resumes_with_any_executor() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let settings = ["--milestones", "2", "--ema-decay", "0.9"];
    train(folder, &[&settings[..], &["--epochs", "5", "--output", "whole"]].concat());
    train(folder, &[&settings[..], &["--epochs", "1", "--output", "run"]].concat());
    let resume = |epochs| ["train", "--resume", "--output", "run", "--epochs", epochs];
    for (ranks, epochs) in [(3, "2"), (2, "3")] {
        let arguments = [&resume(epochs)[..], &["--executor", "mpi"]].concat();
        let ended = run(folder, &[(ranks, &arguments)]);
        ended.assert_done();
    }
    // The executor recorded last in the folder applies.
    let ended = run(folder, &[(3, &resume("4"))]);
    ended.assert_done();
    assert!(ended.errors.contains("executor mpi: 3 ranks"), "{}", ended.errors);
    let output = parareal(folder, &[&resume("5")[..], &["--executor", "sequential"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_metrics(&folder.join("run"), &folder.join("whole"));
    assert_close(&exported(folder, "run"), &exported(folder, "whole"), 1e-4);
    let evaluated = json(&parareal(folder, &["eval", "run", "--json"]));
    let expected = json(&parareal(folder, &["eval", "whole", "--json"]));
    assert_eq!(evaluated["test_error"], expected["test_error"]);
}
