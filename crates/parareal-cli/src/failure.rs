//! Failures of commands.

use std::io;
use std::path::PathBuf;

use parareal_data::DataError;
use parareal_data::fetch::FetchError;
use parareal_ode::OdeError;
use parareal_report::ReportError;
use parareal_train::{SharedError, TrainError};
use parareal_vision::VisionError;
use thiserror::Error;

use crate::advice;
use crate::commands::predict::images::FolderError;
use crate::ending::Ending;
use crate::output::note;

/// The failure of a command.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Vision(#[from] VisionError),
    #[error(transparent)]
    Images(#[from] FolderError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Ode(#[from] OdeError),
    /// A command line with wrong flags.
    #[error("{0}")]
    Flag(String),
    /// A failure that all ranks know, and that this rank reports.
    #[error("{}{failure}", rank.map_or_else(String::new, |rank| format!("rank {rank}: ")))]
    Agreed { rank: Option<usize>, failure: Box<Failure>, bad_input: bool },
    #[error("cannot draw the plot: {0}")]
    Draw(String),
    #[error("cannot write {path}: {source}", path = path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        Self::Vision(error.into())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::Vision(error.into())
    }
}

impl Failure {
    /// Creates the failure of a flag that requires `--timeline`.
    pub(crate) fn without_timeline(flag: &str) -> Self {
        Self::Flag(format!("{flag} requires --timeline"))
    }

    /// Creates the failure of `--workers auto` for another command than `train`.
    pub(crate) fn automatic_workers() -> Self {
        Self::Flag(
            "invalid value `auto` for --workers: expected a whole number; only `train` chooses it"
                .into(),
        )
    }

    /// Returns true if all ranks know the failure.
    pub(crate) fn is_agreed(&self) -> bool {
        match self {
            Self::Vision(error) => error.is_agreed(),
            Self::Agreed { .. } => true,
            _ => false,
        }
    }

    /// Prints the failure, unless another rank reports it, and returns the outcome of the command.
    pub(crate) fn report(&self) -> Ending {
        let is_told_elsewhere =
            matches!(self, Self::Vision(error) if error.is_reported_elsewhere());
        if !is_told_elsewhere {
            note(&format!("error: {}", advice::message(self)));
        }
        if self.is_bad_input() { Ending::BadInput } else { Ending::Failed }
    }

    /// Returns true if the input is wrong, and false if something failed while running.
    pub(crate) fn is_bad_input(&self) -> bool {
        match self {
            Self::Vision(error) => error.is_bad_input(),
            Self::Fetch(error) => error.is_bad_input(),
            Self::Report(error) => error.is_bad_input(),
            Self::Ode(error) => error.is_bad_input(),
            Self::Agreed { bad_input, .. } => *bad_input,
            Self::Flag(_) | Self::Images(_) => true,
            Self::Write { .. } | Self::Draw(_) => false,
        }
    }
}

impl SharedError for Failure {
    fn is_bad_input(&self) -> bool {
        self.is_bad_input()
    }

    fn is_agreed(&self) -> bool {
        self.is_agreed()
    }

    fn agreed(self, rank: Option<usize>, bad_input: bool) -> Self {
        Self::Agreed { rank, failure: Box::new(self), bad_input }
    }
}
