//! Ranks end together in all cases, and saved runs can be resumed.

use std::fs;
use std::path::Path;
use std::process::Command;

use parareal_testing::ranks::{Ended, Launcher};

use crate::common::{checkpoints, errors, parareal};
use crate::launch::{on_a_full_disk, processes, run, send, start, start_with, wait_for_steps};
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

/// Asserts that all ranks stopped after a step, with a checkpoint, because of a signal to a rank or to the launcher.
#[track_caller]
fn assert_stopped(ended: &Ended, to_launcher: bool) {
    match Launcher::used() {
        // After it has forwarded a signal, it sometimes returns 0 instead of the code of its ranks.
        Launcher::Hydra if to_launcher && ended.code == Some(0) => {}
        _ => assert_eq!(ended.code, Some(130), "{}", ended.errors),
    }
    assert_eq!(ended.errors.matches("stopped after step").count(), 1, "{}", ended.errors);
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
        assert_stopped(&ended, to_launcher);
        assert_goes_on(folder);
    }
    for signal in ["INT", "TERM"] {
        let running = begin();
        send(signal, running.id());
        let ended = running.wait();
        match Launcher::used() {
            // It kills its ranks a second later.
            Launcher::OpenMpi => assert_failed(&ended),
            // It forwards the signal and waits.
            Launcher::Hydra => assert_stopped(&ended, true),
        }
        assert_goes_on(folder);
    }
    for rank in [0, 2] {
        let running = begin();
        send("KILL", processes(&running)[rank]);
        let ended = running.wait();
        assert_failed(&ended);
        let told = match Launcher::used() {
            Launcher::OpenMpi => &ended.errors,
            Launcher::Hydra => &ended.output,
        };
        assert!(told.contains("Killed"), "{ended:?}");
        assert_goes_on(folder);
    }
}

/// Files of one rank that cannot grow, as on a full disk.
#[test]
fn a_full_disk_of_one_rank_ends_all_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let arguments = [&RUN[..], &["--output", "run"]].concat();
    let environment = Launcher::used().without_shared_files();
    let running = start_with(folder, &[(3, &arguments)], Some(&on_a_full_disk(1)), environment);
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

/// The launcher of another MPI starts processes that do not find each other.
#[test]
fn the_launcher_of_another_mpi_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The variable in which the other launcher passes the number of ranks. This MPI ignores it.
    let variable = match Launcher::used() {
        Launcher::OpenMpi => "PMI_SIZE",
        Launcher::Hydra => "OMPI_COMM_WORLD_SIZE",
    };
    let output = Command::new(env!("CARGO_BIN_EXE_parareal"))
        .current_dir(folder)
        .args(RUN)
        .env(variable, "3")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    let expected = "error: 3 processes were started together, but MPI does not connect them: ";
    assert!(errors(&output).starts_with(expected), "{}", errors(&output));
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}
