//! Tests that start themselves once more as the ranks of an MPI program.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use parareal::exec::World;

/// Set in a process that is a rank.
const RANK: &str = "PARAREAL_TEST_RANK";
/// No test of ranks takes longer, unless they wait for each other in vain.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a test ran under `mpirun`.
pub struct Ended {
    pub status: ExitStatus,
    pub output: String,
    pub errors: String,
    pub time: Duration,
}

/// Runs `body` in each of so many ranks, for each number of them; the test that calls this has
/// this name. Skips with a message where there is no `mpirun`.
pub fn on_ranks(ranks: &[usize], name: &str, body: impl FnOnce(&World)) {
    if std::env::var_os(RANK).is_some() {
        let world = World::init().unwrap();
        body(&world);
        world.finalize().unwrap();
        return;
    }
    for &count in ranks {
        let Some(Ended { status, output, errors, .. }) = start(count, name) else { return };
        assert!(status.success(), "{count} ranks: {status}\n{output}\n{errors}");
        // Ranks write at once, and "ok" is written by itself.
        assert_eq!(output.matches(" 1 passed").count(), count, "{output}");
    }
}

/// Starts this test as so many ranks, and waits until they have ended.
pub fn start(ranks: usize, name: &str) -> Option<Ended> {
    as_ranks(ranks, name).map(wait)
}

/// What starts this test as so many ranks.
pub fn as_ranks(ranks: usize, name: &str) -> Option<Command> {
    let mut command = mpirun(ranks)?;
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(RANK, "1");
    Some(command)
}

/// Whether this process is a rank.
pub fn is_rank() -> bool {
    std::env::var_os(RANK).is_some()
}

/// `mpirun` for more ranks than cores, if it is there.
pub fn mpirun(ranks: usize) -> Option<Command> {
    if Command::new("mpirun").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no mpirun");
        return None;
    }
    let mut command = Command::new("mpirun");
    command
        .args(["-n", &ranks.to_string()])
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1");
    Some(command)
}

/// Waits for its end, which is within the patience.
pub fn wait(mut command: Command) -> Ended {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let output = std::thread::spawn(move || std::io::read_to_string(output).unwrap());
    let errors = std::thread::spawn(move || std::io::read_to_string(errors).unwrap());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the ranks did not come to an end");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (output, errors) = (output.join().unwrap(), errors.join().unwrap());
    Ended { status, output, errors, time: begun.elapsed() }
}
