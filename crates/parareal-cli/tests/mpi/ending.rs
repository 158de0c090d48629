//! Ranks end together in all cases, and saved runs can be resumed.

use std::fs;
use std::path::Path;

use parareal_testing::ranks::Ended;

use crate::common::{checkpoints, errors, parareal};
use crate::launch::{processes, run, send, start, start_with, wait_for_steps};
use crate::training::{assert_close, exported};

/// Twelve steps in three epochs, with a checkpoint after each step.
#[rustfmt::skip]
const RUN: [&str; 19] = [
    "train",
    "--depth", "11",
    "--subnetworks", "3",
    "--executor", "mpi",
    "--limit-train", "64",
    "--limit-test", "20",
    "--epochs", "3",
    "--batch-size", "16",
    "--learning-rate", "0.05",
    "--checkpoint-every", "1",
];

#[track_caller]
fn assert_failed(ended: &Ended) {
    assert_ne!(ended.code, Some(0), "{}", ended.errors);
}

/// Asserts that the interrupted run, when resumed, ends with the weights of `whole`.
#[track_caller]
fn assert_goes_on(folder: &Path) {
    let ended = run(folder, &[(3, &["train", "--resume", "--output", "run"])]);
    ended.assert_done();
    assert_close(&exported(folder, "run"), &exported(folder, "whole"), 0.0);
    assert!(checkpoints(&folder.join("run")).iter().all(|name| !name.starts_with(".step")));
    fs::remove_dir_all(folder.join("run")).unwrap();
}

#[test]
fn signals_stop_all_ranks_and_the_run_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ended = run(folder, &[(3, &[&RUN[..], &["--output", "whole"]].concat())]);
    ended.assert_done();
    let begin = || {
        let mut running = start(folder, &[(3, &[&RUN[..], &["--output", "run"]].concat())]);
        wait_for_steps(&mut running, &folder.join("run"), 2);
        running
    };

    // The signal goes to the launcher, which forwards it, or to one rank.
    for to_launcher in [true, false] {
        let running = begin();
        match to_launcher {
            true => send("USR1", running.id()),
            false => send("TERM", processes(&running)[2]),
        }
        let ended = running.wait();
        assert_eq!(ended.code, Some(130), "{}", ended.errors);
        assert_failed(&ended);
        assert_eq!(ended.errors.matches("stopped after step").count(), 1, "{}", ended.errors);
        assert_goes_on(folder);
    }
    // The launcher kills its ranks a second later.
    for signal in ["INT", "TERM"] {
        let running = begin();
        send(signal, running.id());
        assert_failed(&running.wait());
        assert_goes_on(folder);
    }
    for rank in [0, 2] {
        let running = begin();
        send("KILL", processes(&running)[rank]);
        let ended = running.wait();
        assert_failed(&ended);
        assert!(ended.errors.contains("Killed"), "{}", ended.errors);
        assert_goes_on(folder);
    }
}

/// Files of one rank that cannot grow, as on a full disk.
#[test]
fn a_full_disk_of_one_rank_ends_all_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let arguments = [&RUN[..], &["--output", "run"]].concat();
    let limited = "trap '' XFSZ; [ $OMPI_COMM_WORLD_RANK = 1 ] && ulimit -f 16; exec \"$0\" \"$@\"";
    // Shared memory between ranks is a file as well, so it is disabled here.
    let environment = [("OMPI_MCA_btl", "self,tcp")];
    let running = start_with(folder, &[(3, &arguments)], Some(limited), &environment);
    let ended = running.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.errors);
    let [refusal] = ended.error_lines()[..] else { panic!("{}", ended.errors) };
    assert!(
        refusal.contains("rank 1: cannot write") && refusal.contains("step-00000001"),
        "{refusal}"
    );
    assert!(checkpoints(&folder.join("run")).is_empty());
    // With free space the run starts from its beginning.
    let ended = run(folder, &[(3, &["train", "--resume", "--output", "run"])]);
    ended.assert_done();
}

#[test]
fn a_process_without_a_launcher_is_the_only_rank() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let output = parareal(folder, &[&RUN[..], &["--output", "run"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(errors(&output).contains("executor mpi: 1 rank"), "{}", errors(&output));
}
