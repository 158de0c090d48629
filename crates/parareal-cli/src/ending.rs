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

impl Ending {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
            Self::Interrupted => 130,
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending.code())
    }
}
