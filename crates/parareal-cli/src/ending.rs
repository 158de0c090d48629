//! Outcomes of commands and their exit codes.

use std::process::ExitCode;

/// Outcome of a command.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    Done,
    Failed,
    BadInput,
    Interrupted,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Done => 0,
            Ending::Failed => 1,
            Ending::BadInput => 2,
            Ending::Interrupted => 130,
        })
    }
}
