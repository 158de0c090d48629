//! Child processes.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::{consts, flag};

use crate::{INTERRUPTED, Result};

/// Polling interval for a child process.
const PERIOD: Duration = Duration::from_millis(100);

/// Returns a flag that is set when the process is asked to stop.
///
/// # Errors
/// If the signals cannot be handled.
pub(crate) fn stopped_by_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [consts::SIGINT, consts::SIGTERM] {
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Runs `parareal train`, whose messages are appended to `log`, and asks it to stop once `stop` is set.
///
/// Returns false if it was asked to stop before it had finished.
///
/// # Errors
/// If it cannot be started or fails. The message has its last line.
pub(crate) fn run_to_end(mut command: Command, log: &Path, stop: &AtomicBool) -> Result<bool> {
    let messages = File::options().create(true).append(true).open(log)?;
    let earlier = messages.metadata()?.len() as usize;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages);
    // Signals from a terminal reach only this program, which passes them on.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let program = command.get_program().to_owned();
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    let mut asked = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if stop.load(Ordering::Relaxed) && !asked {
            asked = true;
            ask_to_stop(&mut child)?;
        }
        thread::sleep(PERIOD);
    };
    match status.code() {
        Some(0) => Ok(true),
        // Without a code, a signal has ended it.
        None if asked => Ok(false),
        Some(code) if asked && code == i32::from(INTERRUPTED) => Ok(false),
        _ => {
            let text = fs::read(log).unwrap_or_default();
            let text = String::from_utf8_lossy(text.get(earlier..).unwrap_or_default());
            let last = text.lines().last().unwrap_or("no error message");
            Err(format!("parareal train: {status}: {last}").into())
        }
    }
}

/// Returns a command that runs a program, with the lowest priority if `nice` is available.
pub(crate) fn with_low_priority(program: &Path) -> Command {
    let nice = Command::new("nice").args(["-n", "19", "true"]).status();
    if nice.is_ok_and(|status| status.success()) {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(program);
        return command;
    }
    Command::new(program)
}

/// Asks a run to write a checkpoint and stop.
#[cfg(unix)]
fn ask_to_stop(child: &mut Child) -> Result<()> {
    Command::new("kill").arg("-TERM").arg(child.id().to_string()).status()?;
    Ok(())
}

/// Kills a run. It can be resumed from its last checkpoint.
#[cfg(not(unix))]
fn ask_to_stop(child: &mut Child) -> Result<()> {
    Ok(child.kill()?)
}

/// Returns the date in UTC, or `unknown` if the system has no `date` command.
pub(crate) fn today() -> String {
    output("date", &["-u", "+%Y-%m-%d"]).unwrap_or_else(|| "unknown".into())
}

/// Returns the output of a program without the final line break; `None` if the program fails.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_string())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_error_has_the_last_line_of_this_process() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let running = AtomicBool::new(false);
        let run = |script| run_to_end(shell(script), &log, &running);
        assert!(run("echo fine >&2").unwrap());
        let error = run("exit 3").unwrap_err().to_string();
        assert!(error.ends_with(": no error message"), "{error}");
        let error = run("echo first >&2; echo last >&2; exit 3").unwrap_err().to_string();
        assert!(error.ends_with("3: last"), "{error}");
        assert_eq!(fs::read_to_string(&log).unwrap(), "fine\nfirst\nlast\n");
    }

    #[test]
    fn a_process_that_fails_after_a_signal_is_not_an_interrupted_one() {
        let folder = tempfile::tempdir().unwrap();
        // Asks the process to stop once it has a handler.
        let run = |name: &str, handler: &str| {
            let (log, ready) =
                (folder.path().join(name), folder.path().join(format!("{name}-ready")));
            let script = format!("{handler}; touch {}; sleep 20 & wait; exit 0", ready.display());
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                let ended = scope
                    .spawn(|| run_to_end(shell(&script), &log, &stop).map_err(|e| e.to_string()));
                while !ready.exists() {
                    thread::sleep(Duration::from_millis(5));
                }
                stop.store(true, Ordering::Relaxed);
                ended.join().unwrap()
            })
        };
        assert_eq!(run("killed", ":"), Ok(false));
        assert_eq!(run("interrupted", "trap 'exit 130' TERM"), Ok(false));
        let error = run("failed", "trap 'echo disk full >&2; exit 1' TERM").unwrap_err();
        assert!(error.ends_with("disk full"), "{error}");
    }
}
