//! The ranks of a command under `mpirun`: joining, reporting and ending.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::Duration;

use parareal_run::Traffic;
use parareal_text::panic_message;
use parareal_train::{ExecutorKind, Launcher, ProcessGroup, TrainError};
use parareal_vision::Settings;

use crate::advice;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{note, table};

/// Default and smallest number of seconds without a heartbeat after which all ranks end.
const TIMEOUT: u64 = 600;
const LEAST_TIMEOUT: u64 = 5;

/// Returns the process group for a run. The executor is taken from the flags, the configuration file, or the
/// folder of a resumed run, in this order. Tasks of Slurm's `srun` for which another executor than MPI is set, by a
/// flag or in the file, are independent runs.
///
/// Ranks end once one of them has sent no heartbeat for `timeout` seconds, by default [`TIMEOUT`], even while they join;
/// 0 disables the check. [`check_timeout`] tells whether the value is valid.
pub(crate) fn group(
    flags: &Settings,
    file: Option<&Path>,
    resumed: Option<&Path>,
    timeout: Option<u64>,
) -> Result<ProcessGroup, TrainError> {
    // Errors in a file are ignored here and reported later, when its settings are used.
    let read = |path: &Path| Settings::read(path).ok()?.executor;
    let set = flags.executor.or_else(|| read(file?));
    let recorded = || read(&resumed?.join("config.toml"));
    let joins = match (set.or_else(recorded), ProcessGroup::launched()) {
        (Some(ExecutorKind::Mpi), _) => true,
        (_, None | Some((_, 1))) => false,
        (_, Some((Launcher::Slurm, _))) if set.is_some() => false,
        // Ranks for which another executor is set are refused together.
        _ => cfg!(feature = "mpi"),
    };
    if joins { join(timeout.unwrap_or(TIMEOUT)) } else { Ok(ProcessGroup::alone()) }
}

/// Joins the other ranks, with a limit of this number of seconds without a heartbeat; 0 disables it.
fn join(timeout: u64) -> Result<ProcessGroup, TrainError> {
    let joined = match timeout {
        0 => ProcessGroup::join(),
        _ => {
            let timeout = Duration::from_secs(timeout.max(LEAST_TIMEOUT));
            ProcessGroup::join_watched(timeout, |error| {
                note(&format!("error: {}", advice::message(&error.into())));
                1
            })
        }
    };
    if let Err(error @ TrainError::MpiHangs { .. }) = joined {
        note(&format!("error: {error}"));
        ProcessGroup::exit(Ending::Failed.code().into());
    }
    joined
}

/// Checks the value of `--timeout`.
pub(crate) fn check_timeout(group: &ProcessGroup, seconds: Option<u64>) -> Result<(), Failure> {
    let refused = |value, expected| {
        Failure::Flag(format!("invalid value `{value}` for --timeout: {expected}"))
    };
    group.agree(match seconds {
        Some(value) if !group.is_ranks() => {
            Err(refused(value, "requires the mpi executor; leave it unset"))
        }
        Some(value @ 1..LEAST_TIMEOUT) => {
            Err(refused(value, "expected at least 5, or 0 for no limit"))
        }
        _ => Ok(()),
    })
}

/// Runs a command on all ranks. The failure of a rank is reported with the number of the rank and ends all
/// ranks.
pub(crate) fn together(
    group: &ProcessGroup,
    work: impl FnOnce() -> Result<Ending, Failure>,
) -> Result<Ending, Failure> {
    if !group.is_ranks() {
        return work();
    }
    match catch_unwind(AssertUnwindSafe(work)) {
        Err(panic) if group.size() == 1 => resume_unwind(panic),
        Ok(Err(error)) if group.size() > 1 && !error.is_agreed() => {
            let code = if error.is_bad_input() { 2 } else { 1 };
            abort(group, &advice::message(&error), code)
        }
        Err(panic) => abort(group, &panic_message(&*panic), 1),
        Ok(ended) => {
            // The launcher ends all ranks once one rank ends with an error code, so the error is printed before they part.
            let ended = ended.unwrap_or_else(|error| error.report());
            match finish(group, ended) {
                Ok(()) => Ok(ended),
                Err(error) => abort(group, &error.to_string(), 1),
            }
        }
    }
}

/// Reports an invalid command line. If all ranks have the same error, one rank reports it with `print`, which
/// shows the full error. Otherwise one rank with an error prints the short form, `message`, and its rank.
pub(crate) fn refuse(message: &str, print: impl FnOnce()) {
    let are_ranks = match ProcessGroup::launched() {
        None | Some((_, 1)) => false,
        Some((Launcher::Slurm, _)) if are_independent(std::env::args()) => false,
        Some(_) => cfg!(feature = "mpi"),
    };
    if !are_ranks {
        return print();
    }
    let Ok(group) = join(TIMEOUT) else { return print() };
    // Ranks with a valid command line wait for this rank.
    match group.agree::<(), _>(Err(Failure::Flag(message.into()))) {
        Err(Failure::Agreed { rank: None, .. }) => print(),
        Err(failure @ Failure::Agreed { .. }) => note(&format!("error: {failure}")),
        _ => {}
    }
    // The launcher ends all ranks once one rank ends with an error code. All ranks therefore wait here until
    // the error is printed.
    let _ = finish(&group, Ending::BadInput);
}

/// Returns true if the command line, which may be invalid, sets another executor than MPI.
fn are_independent(arguments: impl Iterator<Item = String>) -> bool {
    let mut rest = arguments.skip_while(|argument| !argument.starts_with("--executor"));
    let value = rest.next().and_then(|flag| match flag.strip_prefix("--executor=") {
        Some(value) => Some(value.to_string()),
        None => rest.next(),
    });
    value.is_some_and(|value| value != ExecutorKind::Mpi.to_string())
}

/// Finalizes MPI. Ends the process with the exit code of `ended` if MPI hangs, because all ranks have finished then.
fn finish(group: &ProcessGroup, ended: Ending) -> Result<(), TrainError> {
    let finished = group.finish();
    if let Err(error @ TrainError::Finalize { .. }) = &finished {
        note(&format!("note: rank {}: {error}", group.rank()));
        let _ = io::stdout().flush();
        ProcessGroup::exit(ended.code().into());
    }
    finished
}

fn abort(group: &ProcessGroup, message: &str, code: i32) -> ! {
    note(&format!("error: rank {}: {}", group.rank(), parareal_text::one_line(message)));
    group.abort(code)
}

/// Returns a table of the average number of bytes that each rank sent per step.
pub(crate) fn traffic(sent: &[Traffic]) -> String {
    let mut rows = vec![
        ["rank", "to neighbors per step", "to all-reduces per step"].map(String::from).to_vec(),
    ];
    for (rank, sent) in sent.iter().enumerate() {
        let mean = |bytes: u64| format!("{} B", bytes / sent.steps.max(1));
        rows.push(vec![rank.to_string(), mean(sent.interfaces), mean(sent.reduced)]);
    }
    table(&rows)
}

#[cfg(all(test, feature = "mpi"))]
#[path = "ranks_tests.rs"]
mod tests;
