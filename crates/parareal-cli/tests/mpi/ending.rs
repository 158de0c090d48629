//! Ranks end together in all cases, and saved runs can be resumed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use parareal_testing::ranks::{Ended, Launcher, hanging_in};

use crate::common::{TINY, checkpoints, errors, parareal};
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
    let expected = "error: 3 processes were started together, but MPI does not connect them; ";
    assert!(errors(&output).starts_with(expected), "{}", errors(&output));
    assert!(!errors(&output).contains("for independent runs"), "{}", errors(&output));
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

/// Trains as a task of Slurm's `srun` without MPI.
fn train_as_task(folder: &Path, flags: &[&str], more: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parareal"));
    command.current_dir(folder).arg("train").args(TINY).args(flags);
    command.env("SLURM_STEP_NUM_TASKS", "4").envs(more.iter().copied()).output().unwrap()
}

#[test]
fn tasks_of_slurm_are_ranks_or_independent_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Ranks that MPI does not connect, unless another executor is set.
    let output = train_as_task(folder, &["--output", "ranks"], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    let errors_of_ranks = errors(&output);
    assert!(errors_of_ranks.contains("4 processes were started together"), "{errors_of_ranks}");
    let advice = "; for independent runs, set --executor threads or sequential\n";
    assert!(errors_of_ranks.ends_with(advice), "{errors_of_ranks}");
    assert!(!folder.join("ranks").exists());
    for executor in ["threads", "sequential"] {
        let flags = ["--executor", executor, "--output", executor];
        let output = train_as_task(folder, &flags, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    }
    // The same if PMI connects the tasks.
    let flags = ["--executor", "threads", "--output", "pmi"];
    let output = train_as_task(folder, &flags, &[("PMI_SIZE", "4")]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    // The executor of the run that they resume does not make them independent.
    let output = train_as_task(folder, &["--resume-or-start", "--output", "threads"], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    assert!(errors(&output).contains("4 processes were started together"), "{}", errors(&output));
    // The only rank of a launcher of MPI, within a task.
    let output = train_as_task(folder, &["--output", "rank"], &[("PMI_SIZE", "1")]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}

#[test]
fn a_signal_before_all_ranks_have_started_stops_them_after_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let arguments = [&RUN[..], &["--output", "run"]].concat();
    let late =
        format!("[ ${} = 2 ] && sleep 6; exec \"$0\" \"$@\"", Launcher::used().rank_variable());
    let mut running = start_with(folder, &[(3, &arguments[..])], Some(&late), &[]);
    while processes(&running).len() < 2 {
        running.assert_alive();
    }
    std::thread::sleep(Duration::from_secs(1));
    processes(&running).iter().for_each(|&process| send("USR1", process));
    assert_stopped(&running.wait(), false);
    let ended = run(folder, &[(3, &["train", "--resume", "--output", "run"])]);
    ended.assert_done();
}

/// Trains on two ranks in which a function of MPI does not return, with this limit in the environment.
fn run_hanging(folder: &Path, call: &str, limit: (&str, &str)) -> Ended {
    let hangs = hanging_in(call);
    let hangs = hangs.iter().map(|(name, value)| (*name, value.to_str().unwrap()));
    let environment: Vec<_> = hangs.chain([limit]).collect();
    let arguments = [&RUN[..], &["--output", "run"]].concat();
    start_with(folder, &[(2, &arguments[..])], None, &environment).wait()
}

#[test]
fn ranks_end_if_mpi_hangs_while_they_join() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ended = run_hanging(folder, "MPI_Comm_split", ("PARAREAL_MPI_START_SECONDS", "20"));
    assert_eq!(ended.code, Some(1), "{}", ended.errors);
    let line =
        "error: MPI_Comm_split has not returned within 20 s: MPI hangs, or a rank is stopped";
    let lines = ended.error_lines();
    assert!(!lines.is_empty() && lines.iter().all(|found| *found == line), "{}", ended.errors);
    assert!(!folder.join("run").exists());
}

#[test]
fn the_results_of_ranks_are_complete_if_mpi_does_not_finalize() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ended = run_hanging(folder, "MPI_Finalize", ("PARAREAL_MPI_FINALIZE_SECONDS", "2"));
    let note = "MPI_Finalize has not returned within 2 s after all ranks had finished: nothing is lost, but the launcher \
                may report an error";
    let is_noted = |rank| format!("note: rank {rank}: {note}");
    let is_noted = |rank| ended.errors.lines().any(|line| line == is_noted(rank));
    assert!((0..2).any(is_noted), "{}", ended.errors);
    assert!(ended.error_lines().is_empty(), "{}", ended.errors);
    assert!(ended.errors.contains("weights and metrics are in run"), "{}", ended.errors);
    assert_eq!(checkpoints(&folder.join("run")).last().unwrap(), "step-00000012");
    // A rank that ends without `MPI_Finalize` counts as failed, for Hydra only if another one still runs.
    match Launcher::used() {
        Launcher::OpenMpi => assert_eq!(ended.code, Some(1), "{}", ended.errors),
        Launcher::Hydra => assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}"),
    }
}
