//! Resuming runs after interrupts, kills and damage.
#![allow(clippy::print_stderr, reason = "what a longer test came to")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{Remains, assert_same, checkpoints, errors, json, metrics, parareal, remains};
use safetensors::SafeTensors;
use serde_json::Value;

/// Twelve steps in three epochs, with a checkpoint after each step.
#[rustfmt::skip]
const RUN: [&str; 27] = [
    "train",
    "--depth", "11",
    "--subnetworks", "3",
    "--limit-train", "64",
    "--limit-test", "20",
    "--epochs", "3",
    "--batch-size", "16",
    "--learning-rate", "0.05",
    "--milestones", "2",
    "--checkpoint-every", "1",
    "--keep-checkpoints", "2",
    "--ema-decay", "0.9",
    "--mixup", "0.4",
    "--cutmix", "1",
];

/// Trains the run without interruption.
fn whole(folder: &Path) -> Remains {
    let output = parareal(folder, &[&RUN[..], &["--output", "whole"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let remains = remains(&folder.join("whole"));
    assert_eq!(remains.0.len(), 15);
    // Weights, their average and the optimizer of three subnetworks, in two or three checkpoints.
    assert!([18, 27].contains(&remains.1.len()));
    remains
}

fn resume(folder: &Path) -> std::process::Output {
    parareal(folder, &["train", "--resume", "--output", "run"])
}

/// The same command is repeated, without a look at what the killed one has left.
#[cfg(unix)]
#[test]
fn a_run_killed_at_any_moment_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let expected = whole(folder);
    let run = folder.join("run");
    // PARAREAL_KILLS=200 requests more kills.
    let wanted = std::env::var("PARAREAL_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let (mut kills, mut ends, mut wait) = (0, 0, 7);
    let command = [&RUN[..], &["--output", "run", "--resume-or-start"]].concat();
    while kills < wanted {
        let mut child = Command::new(env!("CARGO_BIN_EXE_parareal"))
            .current_dir(folder)
            .args(&command)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The moments are spread over the run with a linear congruential generator.
        wait = wait * 16_807 % 2_147_483_647_u64;
        std::thread::sleep(Duration::from_millis(5 + wait % 700));
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        if ended.success() {
            // The run ended before the kill: it starts again from its beginning.
            assert_same(&remains(&run), &expected);
            fs::remove_dir_all(&run).unwrap();
            ends += 1;
        } else {
            kills += 1;
        }
    }
    let output = parareal(folder, &command);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_same(&remains(&run), &expected);
    assert!(checkpoints(&run).iter().all(|name| !name.starts_with(".step")));
    eprintln!("killed {kills} times; {} runs came to their end, all with the same bytes", ends + 1);
}

#[test]
fn one_command_starts_resumes_and_leaves_a_run_that_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let repeat = |more: &[&str]| {
        let command = [&RUN[..], &["--recipe", "quick", "--cuts", "balanced"]].concat();
        let output = ["--output", "run", "--resume-or-start"];
        parareal(folder, &[&command[..], &output, more].concat())
    };
    for (more, told) in [
        (&["--epochs", "1"][..], "1 epoch of 4 steps"),
        (&[], "resuming after step 4"),
        (&[], "nothing left to do: the run has finished after 3 epochs (12 steps)"),
    ] {
        let output = repeat(more);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert!(errors(&output).contains(told), "{}", errors(&output));
    }
    let ended = contents(folder);
    assert_eq!(repeat(&["--workers", "auto"]).status.code(), Some(0));
    // Another command is refused.
    for (more, told) in [
        (&["--seed", "2"][..], "seed is 2, but 1 in run"),
        (&["--resume"], "cannot be used with"),
        (&["--timeline", "step.svg"], "cannot be used with"),
        (&["--output", "."], ". is not an empty folder"),
    ] {
        let output = repeat(more);
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        assert!(errors(&output).contains(told), "{}", errors(&output));
    }
    assert!(contents(folder) == ended, "a file was written");
    // A start that was killed while it wrote its settings leaves an incomplete file.
    fs::create_dir(folder.join("killed")).unwrap();
    fs::write(folder.join("killed/.config.toml"), "recipe = ").unwrap();
    let output = repeat(&["--output", "killed", "--epochs", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(!folder.join("killed/.config.toml").exists());
}

#[test]
fn a_run_resumes_with_another_executor() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Small steps and few operations, so that rounding differences stay small: 5e-7 after these steps, and up to
    // 1.6e-3 where an activation within rounding of zero passes a ReLU in one executor only (seeds 1 to 6).
    let coarse = ["--coarse-unit", "bottleneck", "--coarse-units", "1"];
    for (epochs, output) in [("3", "whole"), ("1", "run")] {
        let more = ["--learning-rate", "0.001", "--epochs", epochs, "--output", output];
        let output = parareal(folder, &[&RUN[..], &coarse, &more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    }
    let (_, whole) = remains(&folder.join("whole"));
    for (executor, epochs) in [("sequential", "2"), ("threads", "3")] {
        let more = ["train", "--resume", "--output", "run", "--executor", executor];
        let output = parareal(folder, &[&more[..], &["--epochs", epochs]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    }
    let (_, found) = remains(&folder.join("run"));
    for (name, expected) in whole.iter().filter(|(name, _)| name.starts_with("step-00000012")) {
        let values = |bytes: &[u8]| -> BTreeMap<String, Vec<f32>> {
            let tensors = SafeTensors::deserialize(bytes).unwrap();
            let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
            let values = |bytes: &[u8]| bytes.chunks_exact(4).map(number).collect();
            tensors.iter().map(|(name, tensor)| (name.into(), values(tensor.data()))).collect()
        };
        let (found, expected) = (values(&found[name]), values(expected));
        assert!(found.keys().eq(expected.keys()));
        for (name, expected) in &expected {
            let apart = found[name].iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            let size = expected.iter().map(|value| value.powi(2)).sum::<f32>();
            let size = size.max(1e-12 * expected.len() as f32);
            assert!(apart <= 1e-4 * size, "{name}: {}", (apart / size).sqrt());
        }
    }
}

/// Returns the bytes of all files below a folder.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(contents(&path)),
            false => drop(files.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    files
}

#[test]
fn a_finished_run_has_nothing_left_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let first = json(&parareal(folder, &[&RUN[..], &["--output", "run", "--json"]].concat()));
    let before = contents(&folder.join("run"));
    let more = ["train", "--resume", "--output", "run", "--json"];
    for more in [&more[..], &[&more[..], &["--threads", "1", "--patience", "9"]].concat()] {
        let output = parareal(folder, more);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(json(&output), first);
        let words = "nothing left to do: the run has finished after 3 epochs (12 steps)";
        assert!(errors(&output).contains(words), "{}", errors(&output));
        assert!(contents(&folder.join("run")) == before, "a file was written");
    }
    let fewer = parareal(folder, &["train", "--resume", "--output", "run", "--epochs", "2"]);
    assert_eq!(fewer.status.code(), Some(2));
    assert!(
        errors(&fewer).contains("expected at least 3, the current epoch"),
        "{}",
        errors(&fewer)
    );
    // A run that was killed before its last line has not ended.
    let path = folder.join("run/metrics.jsonl");
    let lines = fs::read_to_string(&path).unwrap();
    let (cut, _) = lines.trim_end().rsplit_once('\n').unwrap();
    fs::write(&path, cut.to_owned() + "\n").unwrap();
    assert_eq!(resume(folder).status.code(), Some(0));
    assert_eq!(metrics(&folder.join("run"), "end").len(), 1);
}

#[test]
fn changed_settings_are_reported_on_resume() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let start = ["--schedule", "cosine", "--threads", "1", "--epochs", "2", "--output", "run"];
    let output = parareal(folder, &[&RUN[..], &start].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let more = ["train", "--resume", "--output", "run", "--epochs", "4", "--threads", "2"];
    let output = parareal(folder, &more);
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(0), "{message}");
    let steps = metrics(&folder.join("run"), "step");
    let rate = |step: usize| steps[step - 1]["learning_rate"].as_f64().unwrap();
    assert!(rate(9) > 5.0 * rate(8));
    let words = "note: learning rate: the cosine spans 4 epochs instead of 2; it was 0.0019 in step \
                 8, and will be 0.025 in step 9 and ";
    assert!(message.contains(words), "{message}");
    let words = "note: the run continues with threads 2 instead of 1: it equals an uninterrupted run \
                 up to rounding, not bit for bit";
    assert!(message.contains(words), "{message}");
    // Only the number of epochs differs from the run.
    let more = ["train", "--resume", "--output", "run", "--epochs", "5"];
    let message = errors(&parareal(folder, &more));
    assert!(message.contains("spans 5 epochs instead of 4"), "{message}");
    assert!(!message.contains("to rounding"), "{message}");
}

/// The newest checkpoint of a run is damaged. The run is resumed from the one before and killed before it
/// reaches that step again.
#[cfg(unix)]
#[test]
fn a_damaged_checkpoint_does_not_displace_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let more = ["--limit-train", "320", "--epochs", "1", "--checkpoint-every", "5"];
    let start = [&RUN[..], &more, &["--keep-checkpoints", "3", "--output", "run"]].concat();
    let output = parareal(folder, &start);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let run = folder.join("run");
    let [at_10, at_20] = [10, 20].map(|step| run.join(format!("checkpoints/step-{step:08}")));
    let shard = at_20.join("subnetwork-01.weights.safetensors");
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..10]).unwrap();
    let more = ["--checkpoint-every", "1", "--keep-checkpoints", "1"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_parareal"))
        .current_dir(folder)
        .args(["train", "--resume", "--output", "run"])
        .args(more)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Old checkpoints are removed once one after step 15 is saved.
    while at_10.is_dir() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = resume(folder);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(metrics(&run, "step").len(), 20);
    assert!(fs::read(&shard).unwrap() == whole, "step 20 has other weights");
    let aside = run.join("checkpoints/step-00000020.damaged");
    let kept = fs::read(aside.join("subnetwork-01.weights.safetensors")).unwrap();
    assert!(kept == whole[..10]);
    // The best checkpoint is the one that was saved again.
    let eval = ["eval", "run", "--checkpoint", "best", "--json"];
    assert_eq!(json(&parareal(folder, &eval))["step"], 20);
}

#[test]
fn a_damaged_checkpoint_is_named_and_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let expected = whole(folder);
    let run = folder.join("run");
    fs::rename(folder.join("whole"), &run).unwrap();
    let last = run.join("checkpoints/step-00000012");
    let shard = last.join("subnetwork-02.optimizer.safetensors");
    let bytes = fs::read(&shard).unwrap();
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let manifest = fs::read_to_string(last.join("manifest.json")).unwrap();
    let altered = manifest.replacen("\"epoch_steps\": 4", "\"epoch_steps\": 3", 1);
    assert_ne!(altered, manifest);
    let altered = altered.into_bytes();
    for (file, damage) in [
        (&shard, bytes[..bytes.len() / 2].to_vec()),
        (&shard, flipped(bytes.len() - 1)),
        (&shard, flipped(0)),
        (&last.join("manifest.json"), b"{".to_vec()),
        // A parsable manifest with a changed position.
        (&last.join("manifest.json"), altered),
    ] {
        fs::write(file, damage).unwrap();
        let output = resume(folder);
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(0), "{message}");
        let name = file.file_name().unwrap().to_str().unwrap();
        // Printed at the start and again at the end.
        assert_eq!(message.matches("note: skipped a checkpoint").count(), 2, "{message}");
        assert!(message.contains(name), "{message}");
        assert!(message.contains("after step 11"), "{message}");
        assert!(message.contains("; it was renamed to step-00000012.damaged"), "{message}");
        fs::remove_dir_all(run.join("checkpoints/step-00000012.damaged")).unwrap();
        assert_eq!(remains(&run), expected);
    }
    for checkpoint in checkpoints(&run).iter().filter(|name| name.starts_with("step-")) {
        fs::remove_file(run.join("checkpoints").join(checkpoint).join("manifest.json")).unwrap();
    }
    let output = resume(folder);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    assert!(errors(&output).contains("step-00000012"), "{}", errors(&output));
}

#[test]
fn a_run_with_other_settings_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let output = parareal(folder, &[&RUN[..], &["--output", "run"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let before = remains(&folder.join("run"));
    for (more, expected) in [
        (&["--seed", "2"][..], "seed is 2"),
        (&["--depth", "20"], "depth is 20"),
        (&["--dataset", "mnist"], "dataset is"),
        (&["--batch-size", "8"], "batch-size is 8"),
        (&["--recipe", "paper"], "invalid value `paper` for recipe: a resumed run keeps"),
    ] {
        let resume = ["train", "--resume", "--output", "run"];
        let output = parareal(folder, &[&resume[..], more].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains(expected), "{}", errors(&output));
    }
    let output = parareal(folder, &["train", "--resume"]);
    assert_eq!(output.status.code(), Some(2));
    let output = parareal(folder, &["train", "--resume", "--output", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("is not the folder of a run"), "{}", errors(&output));
    assert!(!folder.join("nowhere").exists());
    assert_eq!(remains(&folder.join("run")), before);

    // With more epochs the same run continues.
    let more = ["train", "--resume", "--output", "run", "--epochs", "4", "--json"];
    let outcome = json(&parareal(folder, &more));
    assert_eq!((&outcome["epochs"], &outcome["steps"]), (&Value::from(4), &Value::from(16)));
    assert!(fs::read_to_string(folder.join("run/config.toml")).unwrap().contains("epochs = 4"));
}

#[test]
fn checkpoints_are_evaluated_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let output = parareal(folder, &[&RUN[..], &["--output", "run"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let eval = |which: &str| parareal(folder, &["eval", "run", "--checkpoint", which, "--json"]);
    let epochs = metrics(&folder.join("run"), "epoch");
    let errors_of = epochs.iter().map(|epoch| epoch["test_error"].as_f64().unwrap());
    let best = errors_of.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let evaluated = json(&eval("best"));
    assert_eq!(evaluated["test_error"].as_f64(), Some(best.1));
    assert_eq!(evaluated["epoch"], best.0 + 1);
    assert_eq!(json(&eval("latest"))["step"], 12);
    assert_eq!(json(&eval("11"))["step"], 11);
    for (which, expected) in [("3", "available steps:"), ("newest", "latest, best")] {
        let output = eval(which);
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains(expected), "{}", errors(&output));
    }
}

/// Files that cannot grow, as on a full disk: the run ends with one line, and saved checkpoints are
/// kept.
#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_run_and_keeps_earlier_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (_, expected) = whole(folder);
    fs::rename(folder.join("whole"), folder.join("run")).unwrap();
    let limited = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .current_dir(folder)
        .args(["-c", limited, env!("CARGO_BIN_EXE_parareal")])
        .args(["train", "--resume", "--output", "run", "--epochs", "4"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let message = errors(&output);
    let last = message.lines().last().unwrap();
    assert!(last.starts_with("error: cannot write") && last.contains("step-00000013"), "{message}");
    assert_eq!(remains(&folder.join("run")).1, expected);
    assert!(checkpoints(&folder.join("run")).iter().all(|name| !name.starts_with(".step")));
    // With free space the run can be resumed.
    assert_eq!(resume(folder).status.code(), Some(0));
    assert_eq!(metrics(&folder.join("run"), "epoch").len(), 4);
}
