//! Training, the folder of a run, and evaluation of its checkpoints.

use std::fs;
use std::path::Path;

use crate::common::{
    TINY, assert_rows_do_not_overlap, checkpoints, errors, json, metrics, parareal, train,
};
use serde_json::Value;

fn assert_close(a: &Value, b: &Value, tolerance: f64) {
    let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
    assert!((a - b).abs() < tolerance, "{a} and {b}");
}

#[test]
fn executors_see_the_same_losses_and_eval_sees_the_same_test_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let threads = train(folder.path(), &["--output", "a", "--workers", "3"]);
    let sequential = train(folder.path(), &["--output", "b", "--executor", "sequential"]);
    let again = train(folder.path(), &["--config", "a/config.toml", "--output", "c"]);
    train(folder.path(), &["--recompute", "--output", "d", "--workers", "3"]);

    let steps = ["a", "b", "c", "d"].map(|name| metrics(&path(name), "step"));
    assert_eq!(steps[0].len(), 3);
    for (number, step) in steps[0].iter().enumerate() {
        assert_eq!(step["step"], number + 1);
        assert_eq!(step["epoch"], 1);
        assert_close(&step["loss"], &steps[1][number]["loss"], 1e-4);
        assert_eq!(step["loss"], steps[2][number]["loss"]);
        assert_eq!(step["loss"], steps[3][number]["loss"]);
        assert_eq!(step["error"], steps[2][number]["error"]);
        assert_eq!(step["learning_rate"], 0.05);
        assert!(step["images_per_second"].as_f64().unwrap() > 0.0);
    }
    let epochs = metrics(&path("a"), "epoch");
    assert_eq!(epochs.len(), 1);
    for key in ["train_loss", "train_error", "test_loss", "test_error"] {
        assert_eq!(epochs[0][key], threads[key]);
        assert_eq!(again[key], threads[key]);
        assert_close(&threads[key], &sequential[key], 1e-2);
    }
    let shares = threads["subnetworks"].as_array().unwrap();
    assert_eq!(shares.len(), 3);
    for share in shares {
        let of = |key: &str| share[key].as_f64().unwrap();
        assert!((of("computing") + of("coarse") + of("waiting") - 1.0).abs() < 1e-6);
        let kinds = of("waiting_for_worker") + of("waiting_for_neighbors");
        assert!((kinds - of("waiting")).abs() < 1e-6);
        // Each subnetwork has its own worker.
        assert_eq!(of("waiting_for_worker"), 0.0);
    }
    assert_eq!(threads["workers"].as_array().unwrap().len(), 3);
    assert_eq!(sequential["subnetworks"], Value::Array(vec![]));

    let config = |name| fs::read_to_string(path(name).join("config.toml")).unwrap();
    assert_eq!(config("a"), config("c"));

    let output = parareal(folder.path(), &["eval", "a", "--json"]);
    let evaluated = json(&output);
    for key in ["test_loss", "test_error"] {
        assert_eq!(evaluated[key], threads[key]);
    }
    assert_eq!(evaluated["images"], 50);
    let text = parareal(folder.path(), &["eval", "a", "--limit-test", "10"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("of 10 images wrong"));
}

#[test]
fn workers_and_threads_are_measured_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let start = [&["train", "--workers", "auto", "--output", "run"], &TINY[..]].concat();
    let output = parareal(folder.path(), &start);
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(message.contains("timing steps with different numbers"), "{message}");
    let times = message.lines().find(|line| line.starts_with("times of a step: ")).unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    let one = if cores == 1 { "1 thread".into() } else { format!("{cores} threads") };
    assert!(times.contains(&format!("ms with 1 worker of {one}")), "{times}");
    // The record has numbers, so that a resumed run need not measure again.
    let config = fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    let number = |key: &str| -> usize {
        let line = config.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        line.split(" = ").nth(1).unwrap().parse().unwrap()
    };
    let executor = message.lines().find(|line| line.starts_with("executor threads: ")).unwrap();
    let (workers, threads) = (number("workers"), number("threads"));
    assert!(executor.contains(&format!("threads: {workers} worker")), "{executor}");
    assert!(workers * threads <= cores, "{workers} of {threads}");

    let resume = ["train", "--resume", "--output", "run", "--workers", "auto", "--epochs", "2"];
    let output = parareal(folder.path(), &resume);
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(message.contains("times of a step: ") && message.contains("epoch 2/2"), "{message}");
}

/// Subnetworks that share a worker wait for it while it runs another one; a busy worker does not
/// wait.
#[test]
fn waiting_for_the_worker_and_for_neighbors_is_reported_separately() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = train(folder.path(), &["--output", "run", "--workers", "1"]);
    let of = |value: &Value, key: &str| value[key].as_f64().unwrap();
    let workers = outcome["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 1);
    assert_eq!(workers[0]["subnetworks"].to_string(), "[1,2,3]");
    let shares = outcome["subnetworks"].as_array().unwrap();
    let running: f64 = shares.iter().map(|each| of(each, "computing") + of(each, "coarse")).sum();
    assert!((running - of(&workers[0], "busy")).abs() < 1e-6);
    for each in shares {
        let others = running - of(each, "computing") - of(each, "coarse");
        assert!((of(each, "waiting_for_worker") - others).abs() < 1e-6, "{each}");
        assert!((of(each, "waiting_for_neighbors") - (1.0 - running)).abs() < 1e-6, "{each}");
    }
    let end = &metrics(&folder.path().join("run"), "end")[0];
    assert_eq!(
        (&end["subnetworks"], &end["workers"]),
        (&outcome["subnetworks"], &outcome["workers"])
    );

    let more = ["--output", "text", "--workers", "2"];
    let output = parareal(folder.path(), &[&["train"], &TINY[..], &more].concat());
    let said = errors(&output);
    let heads = "subnetwork  computing  coarse chain  waiting for worker  waiting for neighbors";
    for part in [heads, "worker  subnetworks", "1 to 2"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn the_last_two_checkpoints_are_kept_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--epochs", "3", "--output", "run", "--limit-test", "0", "--limit-train", "64"];
    let recipe = ["--batch-size", "32", "--learning-rate", "0.05", "--milestones", "1,2"];
    let arguments = [&["train", "--depth", "11", "--json"], &recipe[..]].concat();
    let output = parareal(folder.path(), &[&arguments[..], &more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(json(&output)["test_error"], Value::Null);

    let run = folder.path().join("run");
    let rates = metrics(&run, "step").into_iter().map(|step| step["learning_rate"].clone());
    let expected = [0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005];
    for (rate, expected) in rates.zip(expected) {
        assert_close(&rate, &Value::from(expected), 1e-12);
    }
    assert_eq!(checkpoints(&run), ["step-00000004", "step-00000006"]);

    let evaluate = || parareal(folder.path(), &["eval", "run", "--limit-test", "10"]);
    assert_eq!(evaluate().status.code(), Some(0));
    let file = run.join("checkpoints/step-00000006/subnetwork-02.weights.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 4]).unwrap();
    assert_damage_named(&evaluate());
    fs::write(&file, vec![0xff; bytes.len()]).unwrap();
    assert_damage_named(&evaluate());
    fs::remove_file(&file).unwrap();
    assert_damage_named(&evaluate());
}

fn assert_damage_named(output: &std::process::Output) {
    let message = errors(output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("subnetwork-02.weights.safetensors"), "{message}");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let kept = TINY.split_last_chunk::<2>().unwrap().0;
    let arguments = [&["train"], kept, &["--learning-rate", "1e30"]].concat();
    let output = parareal(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let message = errors(&output);
    let last = message.lines().last().unwrap();
    assert!(last.contains("step 2") && last.contains("a smaller learning rate"), "{message}");
    let run = folder.path().join("runs/shapes-resnet11-n3-001");
    let [end] = &metrics(&run, "diverged")[..] else { panic!("one line tells of it") };
    assert_eq!(end["step"], 2);
}

/// Trains one step, so that no later loss reveals that the weights are not finite.
fn diverge(folder: &Path, rate: &str, more: &[&str]) -> String {
    let step = ["--depth", "11", "--limit-train", "16", "--batch-size", "16", "--epochs", "1"];
    let rate = ["--learning-rate", rate, "--output", "run"];
    let output = parareal(folder, &[&["train"], &step[..], &rate, more].concat());
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let [end] = &metrics(&folder.join("run"), "diverged")[..] else { panic!("one line tells it") };
    assert_eq!(end["step"], 1);
    errors(&output).lines().last().unwrap().to_owned()
}

#[test]
fn weights_that_are_not_finite_after_the_last_step_end_the_run_and_are_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let last = diverge(folder, "1e10", &["--weight-decay", "1e38", "--limit-test", "0"]);
    let words =
        "` is not finite after step 1 with learning rate 10000000000.0: the run has diverged";
    assert!(last.contains(words), "{last}");
    assert!(!folder.join("run/checkpoints").exists());
    let page = ["report", "run", "--output", "page.html"];
    assert_eq!(parareal(folder, &page).status.code(), Some(0));
    let page = fs::read_to_string(folder.join("page.html")).unwrap();
    assert!(page.contains(r#""early_end":{"how":"diverged","step":1}"#));
}

#[test]
fn an_evaluation_that_is_not_finite_ends_the_run_and_sets_its_checkpoint_aside() {
    let folder = tempfile::tempdir().unwrap();
    let last = diverge(folder.path(), "1e30", &["--limit-test", "32"]);
    assert!(
        last.contains("the outputs for the test samples are not finite after step 1 (loss "),
        "{last}"
    );
    assert_eq!(checkpoints(&folder.path().join("run")), ["step-00000001.diverged"]);
}

#[test]
fn unusual_sizes_are_noted_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--epochs", "1", "--limit-train", "32", "--limit-test", "0", "--output", "run"];
    let large = ["train", "--depth", "11", "--batch-size", "1000"];
    let output = parareal(folder.path(), &[&large[..], &more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let words = "note: batch-size 1000 is larger than the number of training samples, 32: an epoch is one step";
    assert!(errors(&output).contains(words), "{}", errors(&output));

    let cores = std::thread::available_parallelism().unwrap().get();
    let threads = (4 * cores + 1).to_string();
    let many = ["train", "--depth", "11", "--threads", &threads, "--output", "other"];
    let output = parareal(folder.path(), &many);
    assert_eq!(output.status.code(), Some(2));
    let words = format!("invalid value `{threads}` for threads: expected at most");
    assert!(errors(&output).contains(&words), "{}", errors(&output));
    assert!(!folder.path().join("other").exists());
    // A resumed run is not refused, because it may be on another machine.
    let more = ["train", "--resume", "--output", "run", "--epochs", "2", "--threads", &threads];
    let output = parareal(folder.path(), &more);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let words = format!(", threads per worker: {threads}) share {cores} cores");
    assert!(errors(&output).contains(&words), "{}", errors(&output));
}

#[test]
fn runs_without_a_given_folder_are_numbered() {
    let folder = tempfile::tempdir().unwrap();
    for number in ["001", "002"] {
        let more = ["--subnetworks", "1", "--limit-test", "0"];
        let arguments = ["train", "--depth", "11", "--limit-train", "32", "--epochs", "1"];
        let output = parareal(folder.path(), &[&arguments[..], &more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert!(output.stdout.is_empty());
        let name = format!("runs/shapes-resnet11-n1-{number}");
        assert!(Path::new(&folder.path().join(name)).join("metrics.jsonl").is_file());
    }
}

/// SIGINT, as sent by Ctrl-C.
#[cfg(unix)]
#[test]
fn an_interrupt_saves_the_weights() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_parareal"))
        .current_dir(folder.path())
        .args(["train", "--depth", "11", "--output", "run", "--limit-test", "0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let metrics_file = folder.path().join("run/metrics.jsonl");
    let begun = Instant::now();
    while fs::metadata(&metrics_file).map_or(0, |file| file.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no step was taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", errors(&output));
    let end = &metrics(&folder.path().join("run"), "interrupted")[0];
    assert_eq!(end["step"], metrics(&folder.path().join("run"), "step").len());
    let evaluated = parareal(folder.path(), &["eval", "run", "--limit-test", "10", "--json"]);
    assert_eq!(json(&evaluated)["step"], metrics(&folder.path().join("run"), "step").len());
}

#[test]
fn a_run_writes_the_timeline_of_a_step_beside_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let more = ["--output", "run", "--workers", "3", "--timeline", "step.json"];
    let output = parareal(folder, &[&["train"], &TINY[..], &more].concat());
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("wrote the timeline of step 3 to step.json").count(), 1, "{said}");
    let rows = assert_rows_do_not_overlap(&folder.join("step.json"));
    assert_eq!(rows, ["device 1", "device 2", "device 3"]);
    let trace = fs::read_to_string(folder.join("step.json")).unwrap();
    let title = "resnet-11, N = 3, executor threads, 3 workers, step 3";
    assert!(trace.contains(&format!("\"{title}\"")), "{trace}");
    let config = fs::read_to_string(folder.join("run/config.toml")).unwrap();
    assert!(!config.contains("timeline"), "{config}");

    let resume = ["train", "--resume", "--output", "run", "--epochs", "2", "--timeline"];
    let resume = |more: &[&str]| parareal(folder, &[&resume[..], more].concat());
    for (more, words) in [
        (&["step.json"][..], "step.json already exists; choose another file, or pass --overwrite"),
        (
            &["step.svg", "--timeline-step", "3"],
            "invalid value `3` for timeline-step: expected a step from 4 to 6; 3 are already trained",
        ),
    ] {
        let refused = resume(more);
        assert_eq!(refused.status.code(), Some(2));
        assert_eq!(errors(&refused), format!("error: {words}\n"));
    }
    let resumed = resume(&["step.json", "--overwrite", "--timeline-step", "5"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", errors(&resumed));
    let trace = fs::read_to_string(folder.join("step.json")).unwrap();
    assert!(trace.contains("3 workers, step 5\""), "{trace}");
    // The run has ended.
    let resumed = resume(&["step.svg", "--json"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", errors(&resumed));
    let note = "note: no timeline was written: the run has no steps left";
    assert!(errors(&resumed).contains(note), "{}", errors(&resumed));
    assert!(!folder.join("step.svg").exists());
}
