//! The processes of one command under `mpirun`: how they begin, and how they end.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use parareal::exec::panic_message;
use parareal_train::{ExecutorKind, Sent, Settings, Team, TrainError};

use crate::failure::Failure;
use crate::output::{note, table};
use crate::{Ending, advice};

/// Who works on the run that these settings, a file of them, or a run's folder describe.
pub(crate) fn team(
    flags: &Settings,
    file: Option<&Path>,
    resumed: Option<&Path>,
) -> Result<Team, TrainError> {
    let config = resumed.map(|folder| folder.join("config.toml"));
    let files = [file, config.as_deref()].into_iter().flatten();
    // What is wrong with a file is told when it is read for its settings.
    let executors = files.filter_map(|path| Settings::read(path).ok()?.executor);
    let executor = flags.executor.into_iter().chain(executors).next();
    match executor == Some(ExecutorKind::Mpi) || (cfg!(feature = "mpi") && Team::launched() > 1) {
        true => Team::join(),
        false => Ok(Team::alone()),
    }
}

/// Does something on all ranks. What went wrong on one of them is told with its number, and ends all.
pub(crate) fn together(
    team: &Team,
    work: impl FnOnce() -> Result<Ending, Failure>,
) -> Result<Ending, Failure> {
    if !team.is_ranks() {
        return work();
    }
    match catch_unwind(AssertUnwindSafe(work)) {
        Err(panic) if team.size() == 1 => resume_unwind(panic),
        Ok(Err(error)) if team.size() > 1 && !error.is_agreed() => {
            let code = if error.is_bad_input() { 2 } else { 1 };
            abort(team, &advice::message(&error), code)
        }
        Err(panic) => abort(team, &panic_message(&*panic), 1),
        Ok(ended) => match team.finish() {
            Ok(()) => ended,
            Err(error) => abort(team, &error.to_string(), 1),
        },
    }
}

/// Says what is wrong with a command line, once where all ranks have the same: `message` is its
/// short form, `print` shows all of it.
pub(crate) fn refuse(message: &str, print: impl FnOnce()) {
    if !cfg!(feature = "mpi") || Team::launched() == 1 {
        return print();
    }
    let Ok(team) = Team::join() else { return print() };
    // Ranks whose command line is right wait for this one.
    match team.agree::<()>(Err(TrainError::Usage { message: message.into() })) {
        Err(TrainError::Agreed { message: agreed, .. }) if agreed == message => print(),
        Err(TrainError::Agreed { message, .. }) => note(&format!("error: {message}")),
        _ => {}
    }
    // The launcher ends all when one of them ends like this, so they wait for the one that speaks.
    let _ = team.finish();
}

fn abort(team: &Team, message: &str, code: i32) -> ! {
    note(&format!("error: rank {}: {}", team.rank(), parareal_data::one_line(message)));
    team.abort(code)
}

/// What each rank has sent in a step, on average.
pub(crate) fn traffic(sent: &[Sent]) -> String {
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
