//! The processes of one command under `mpirun`: how they begin, and how they end.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use parareal::exec::panic_message;
use parareal_run::Traffic;
use parareal_train::{ExecutorKind, ProcessGroup, TrainError};
use parareal_vision::Settings;

use crate::failure::Failure;
use crate::output::{note, table};
use crate::{Ending, advice};

/// Who works on the run that these settings, a file of them, or a run's folder describe.
pub(crate) fn group(
    flags: &Settings,
    file: Option<&Path>,
    resumed: Option<&Path>,
) -> Result<ProcessGroup, TrainError> {
    let config = resumed.map(|folder| folder.join("config.toml"));
    let files = [file, config.as_deref()].into_iter().flatten();
    // What is wrong with a file is told when it is read for its settings.
    let executors = files.filter_map(|path| Settings::read(path).ok()?.executor);
    let executor = flags.executor.into_iter().chain(executors).next();
    match executor == Some(ExecutorKind::Mpi)
        || (cfg!(feature = "mpi") && ProcessGroup::launched() > 1)
    {
        true => ProcessGroup::join(),
        false => Ok(ProcessGroup::alone()),
    }
}

/// Does something on all ranks. What went wrong on one of them is told with its number, and ends all.
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
        Ok(ended) => match group.finish() {
            Ok(()) => ended,
            Err(error) => abort(group, &error.to_string(), 1),
        },
    }
}

/// Says what is wrong with a command line, once where all ranks have the same: `message` is its
/// short form, `print` shows all of it.
pub(crate) fn refuse(message: &str, print: impl FnOnce()) {
    if !cfg!(feature = "mpi") || ProcessGroup::launched() == 1 {
        return print();
    }
    let Ok(group) = ProcessGroup::join() else { return print() };
    // Ranks whose command line is right wait for this one.
    match group.agree::<(), _>(Err(TrainError::Usage { message: message.into() })) {
        Err(TrainError::Agreed { rank: None, .. }) => print(),
        Err(error @ TrainError::Agreed { .. }) => note(&format!("error: {error}")),
        _ => {}
    }
    // The launcher ends all when one of them ends like this, so they wait for the one that speaks.
    let _ = group.finish();
}

fn abort(group: &ProcessGroup, message: &str, code: i32) -> ! {
    note(&format!("error: rank {}: {}", group.rank(), parareal_text::one_line(message)));
    group.abort(code)
}

/// What each rank has sent in a step, on average.
pub(crate) fn traffic(sent: &[Traffic]) -> String {
    let mut rows =
        vec![["rank", "to neighbours a step", "given to all-reduces"].map(String::from).to_vec()];
    for (rank, sent) in sent.iter().enumerate() {
        let mean = |bytes: u64| format!("{} B", bytes / sent.steps.max(1));
        rows.push(vec![rank.to_string(), mean(sent.interfaces), mean(sent.reduced)]);
    }
    table(&rows)
}

#[cfg(all(test, feature = "mpi"))]
#[path = "ranks_tests.rs"]
mod tests;
