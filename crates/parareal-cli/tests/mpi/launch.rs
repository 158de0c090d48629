//! Starting the binary as ranks.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No run of these tests takes longer, unless its ranks wait for each other in vain.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a run has ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
    /// From the start, or from the last [`Running::since`], on.
    pub(crate) time: Duration,
}

impl Ended {
    /// The lines that say what was wrong; the launcher has others of its own.
    pub(crate) fn refusals(&self) -> Vec<&str> {
        self.errors.lines().filter(|line| line.starts_with("error: ")).collect()
    }

    #[track_caller]
    pub(crate) fn assert_done(&self) {
        assert_eq!(self.code, Some(0), "{}", self.errors);
    }
}

/// A run under way.
pub(crate) struct Running {
    child: Child,
    output: JoinHandle<String>,
    errors: JoinHandle<String>,
    begun: Instant,
}

/// So many ranks with these arguments.
pub(crate) type Part<'a> = (usize, &'a [&'a str]);

/// Starts ranks in a folder, where there is an `mpirun`.
pub(crate) fn start(folder: &Path, parts: &[Part<'_>]) -> Option<Running> {
    start_by(folder, parts, None, &[])
}

/// As [`start`], each rank by a script of the shell, with these variables set.
pub(crate) fn start_by(
    folder: &Path,
    parts: &[Part<'_>],
    script: Option<&str>,
    environment: &[(&str, &str)],
) -> Option<Running> {
    if Command::new("mpirun").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no mpirun");
        return None;
    }
    let mut command = Command::new("mpirun");
    for (index, (ranks, arguments)) in parts.iter().enumerate() {
        if index > 0 {
            command.arg(":");
        }
        command.args(["-n", &ranks.to_string()]);
        command.args(script.into_iter().flat_map(|script| ["sh", "-c", script]));
        command.arg(env!("CARGO_BIN_EXE_parareal")).args(*arguments);
    }
    let mut child = command
        .current_dir(folder)
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let output = std::thread::spawn(move || std::io::read_to_string(output).unwrap());
    let errors = std::thread::spawn(move || std::io::read_to_string(errors).unwrap());
    Some(Running { child, output, errors, begun: Instant::now() })
}

/// Runs ranks to their end.
pub(crate) fn run(folder: &Path, parts: &[Part<'_>]) -> Option<Ended> {
    start(folder, parts).map(Running::wait)
}

impl Running {
    /// Waits for this many steps in the metrics of a run.
    pub(crate) fn wait_for_steps(&mut self, run: &Path, steps: usize) {
        let taken = || {
            let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
            metrics.matches("\"event\":\"step\"").count()
        };
        while taken() < steps {
            self.assert_patience();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the launcher.
    pub(crate) fn signal(&self, signal: &str) {
        send(signal, self.child.id());
    }

    /// The processes of the ranks, in their order.
    pub(crate) fn ranks(&self) -> Vec<u32> {
        let parent = self.child.id().to_string();
        let found = Command::new("pgrep").args(["-P", &parent, "parareal"]).output().unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        found.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Counts the time from here on.
    pub(crate) fn since(&mut self) {
        self.begun = Instant::now();
    }

    /// Whether it comes to its end so soon.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> bool {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begun.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    pub(crate) fn wait(mut self) -> Ended {
        while !self.ends_within(PATIENCE.saturating_sub(self.begun.elapsed())) {
            self.assert_patience();
        }
        let status = self.child.wait().unwrap();
        let time = self.begun.elapsed();
        let (output, errors) = (self.output.join().unwrap(), self.errors.join().unwrap());
        Ended { code: status.code(), output, errors, time }
    }

    fn assert_patience(&mut self) {
        if self.begun.elapsed() > PATIENCE {
            self.child.kill().unwrap();
            panic!("the ranks did not come to an end");
        }
    }
}

pub(crate) fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status();
    assert!(sent.unwrap().success());
}
