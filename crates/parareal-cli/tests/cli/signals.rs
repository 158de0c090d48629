//! Signals: those that were ignored when the program started, and those of batch systems.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{checkpoints, errors};

/// Starts a run that takes longer than a test, and waits for its first step. `before` is a shell
/// command to run first.
fn started(folder: &Path, before: &str) -> Child {
    let arguments = ["train", "--depth", "11", "--output", "run", "--limit-test", "0"];
    let timeline = ["--timeline", "step.svg"];
    let child = Command::new("sh")
        .current_dir(folder)
        .args(["-c", &format!("{before}\nexec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_parareal")])
        .args(arguments)
        .args(timeline)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_steps(folder, 1);
    child
}

fn steps(folder: &Path) -> usize {
    fs::read(folder.join("run/metrics.jsonl"))
        .map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}

fn wait_for_steps(folder: &Path, count: usize) {
    let begun = Instant::now();
    while steps(folder) < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "there were too few steps");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn send(child: &Child, signals: &[&str]) {
    for signal in signals {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([*signal, &pid]).status().unwrap().success());
    }
}

#[track_caller]
fn assert_stopped(child: Child, folder: &Path) -> Output {
    let output = child.wait_with_output().unwrap();
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("stopping after this step"), "{message}");
    assert!(message.contains("parareal train --resume --output run`"), "{message}");
    assert_eq!(checkpoints(&folder.join("run")).len(), 1, "{message}");
    // The timeline is that of the tenth step, or of the last one.
    let (_, step) = message.split_once("stopped after step ").unwrap();
    let step: usize = step.split_once(';').unwrap().0.parse().unwrap();
    let written = format!("wrote the timeline of step {} to step.svg", step.min(10));
    assert!(message.contains(&written), "{message}");
    let picture = fs::read_to_string(folder.join("step.svg")).unwrap();
    assert!(picture.contains(&format!(", step {}<", step.min(10))), "{message}");
    output
}

/// Signals are ignored under `nohup`, and in background processes of a script.
#[cfg(target_os = "linux")]
#[test]
fn signals_that_were_ignored_at_the_start_stay_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let child = started(folder, "trap '' HUP INT USR1");
    send(&child, &["-HUP", "-INT", "-USR1"]);
    wait_for_steps(folder, steps(folder) + 3);
    send(&child, &["-TERM"]);
    assert_stopped(child, folder);
}

#[test]
fn repeated_signals_of_batch_systems_save_a_checkpoint() {
    for signal in ["-USR1", "-USR2", "-XCPU", "-HUP"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let child = started(folder, "");
        // `timeout` and launchers send a signal twice: to the process and to its group.
        send(&child, &[signal, signal]);
        assert_stopped(child, folder);
    }
}

/// The program waits for a reader of its output, a named pipe.
#[test]
fn a_second_interrupt_stops_immediately() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(Command::new("mkfifo").arg(folder.join("plot")).status().unwrap().success());
    let mut child = Command::new(env!("CARGO_BIN_EXE_parareal"))
        .current_dir(folder)
        .args(["ode", "--plot", "plot", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    send(&child, &["-INT"]);
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(child.try_wait().unwrap(), None);
    send(&child, &["-INT"]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(
        errors(&output),
        "stopping after this iteration; press Ctrl-C again to stop immediately\n"
    );
}
