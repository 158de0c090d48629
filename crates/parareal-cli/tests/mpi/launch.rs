//! Starting the binary as ranks.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use parareal_testing::ranks::{Ended, Launcher, Running, mpirun};

/// A number of ranks with the same arguments.
pub(crate) type Part<'a> = (usize, &'a [&'a str]);

/// Starts ranks in a folder.
pub(crate) fn start(folder: &Path, parts: &[Part<'_>]) -> Running {
    start_with(folder, parts, None, &[])
}

/// Starts ranks in a folder with these environment variables, each through a shell script, if given, that
/// receives the command as its arguments.
pub(crate) fn start_with(
    folder: &Path,
    parts: &[Part<'_>],
    script: Option<&str>,
    environment: &[(&str, &str)],
) -> Running {
    let mut command = mpirun();
    for (index, (ranks, arguments)) in parts.iter().enumerate() {
        if index > 0 {
            command.arg(":");
        }
        command.args(["-n", &ranks.to_string()]);
        command.args(script.into_iter().flat_map(|script| ["sh", "-c", script]));
        command.arg(env!("CARGO_BIN_EXE_parareal")).args(*arguments);
    }
    Running::start(command.current_dir(folder).envs(environment.iter().copied()))
}

/// Runs ranks in a folder until they end.
pub(crate) fn run(folder: &Path, parts: &[Part<'_>]) -> Ended {
    start(folder, parts).wait()
}

/// Waits until the metrics of a run have at least this number of steps.
pub(crate) fn wait_for_steps(running: &mut Running, run: &Path, steps: usize) {
    let taken = || {
        let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
        metrics.matches("\"event\":\"step\"").count()
    };
    while taken() < steps {
        running.assert_alive();
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns a script that limits the size of files of one rank, as on a full disk, and then runs its arguments.
pub(crate) fn on_a_full_disk(rank: usize) -> String {
    let variable = Launcher::used().rank_variable();
    format!("trap '' XFSZ; [ ${variable} = {rank} ] && ulimit -f 16; exec \"$0\" \"$@\"")
}

/// Returns the processes of the ranks, in their order.
pub(crate) fn processes(running: &Running) -> Vec<u32> {
    match Launcher::used() {
        Launcher::OpenMpi => children(running.id(), "parareal"),
        // Hydra starts the ranks through another process.
        Launcher::Hydra => children(children(running.id(), "hydra_pmi_proxy")[0], "parareal"),
    }
}

fn children(parent: u32, name: &str) -> Vec<u32> {
    let found = Command::new("pgrep").args(["-P", &parent.to_string(), name]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    found.lines().map(|line| line.parse().unwrap()).collect()
}

/// Sends a signal to a process.
pub(crate) fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status();
    assert!(sent.unwrap().success());
}
