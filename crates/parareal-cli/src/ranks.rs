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
/// folder of a resumed run, in this order.
///
/// Ranks end once one of them has sent no heartbeat for `timeout` seconds, by default [`TIMEOUT`], even while they join;
/// 0 disables the check. [`check_timeout`] tells whether the value is valid.
pub(crate) fn group(
    flags: &Settings,
    file: Option<&Path>,
    resumed: Option<&Path>,
    timeout: Option<u64>,
) -> Result<ProcessGroup, TrainError> {
    let config = resumed.map(|folder| folder.join("config.toml"));
    let files = [file, config.as_deref()].into_iter().flatten();
    // Errors in a file are ignored here and reported later, when its settings are used.
    let executors = files.filter_map(|path| Settings::read(path).ok()?.executor);
    let executor = flags.executor.into_iter().chain(executors).next();
    let joins = match (executor, ProcessGroup::launched()) {
        (Some(ExecutorKind::Mpi), _) => true,
        // Tasks of `srun` with another executor are independent runs. Ranks of a launcher of MPI are refused together.
        (Some(_), Some((Launcher::Slurm, _))) | (_, None | Some((_, 1))) => false,
        _ => cfg!(feature = "mpi"),
    };
    let timeout = timeout.unwrap_or(TIMEOUT);
    match joins {
        true if timeout == 0 => ProcessGroup::join(),
        true => {
            let timeout = Duration::from_secs(timeout.max(LEAST_TIMEOUT));
            ProcessGroup::join_watched(timeout, |error| {
                note(&format!("error: {}", advice::message(&error.into())));
                1
            })
        }
        false => Ok(ProcessGroup::alone()),
    }
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
    if !cfg!(feature = "mpi")
        || ProcessGroup::launched().is_none_or(|(_, processes)| processes == 1)
    {
        return print();
    }
    let Ok(group) = ProcessGroup::join() else { return print() };
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

/// Finalizes MPI. Ends the process with the exit code of `ended` if MPI hangs, because all ranks have finished then.
fn finish(group: &ProcessGroup, ended: Ending) -> Result<(), TrainError> {
    let finished = group.finish();
    if let Err(error @ TrainError::Finalize { .. }) = &finished {
        note(&format!("note: rank {}: {error}", group.rank()));
        let _ = io::stdout().flush();
        group.exit(ended.code().into());
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
