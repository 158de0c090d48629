//! Why a command did not come to its end.

use std::io;
use std::path::PathBuf;

use parareal::ode::OdeError;
use parareal_data::DataError;
use parareal_data::fetch::FetchError;
use parareal_report::ReportError;
use parareal_train::TrainError;
use thiserror::Error;

use crate::images::FolderError;

/// Every message is one line.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Ode(#[from] OdeError),
    #[error(transparent)]
    Images(#[from] FolderError),
    /// Flags that do not go together.
    #[error("{0}")]
    Flag(String),
    #[error("cannot draw: {0}")]
    Draw(String),
    #[error("cannot write {path}: {source}", path = path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::Train(error.into())
    }
}

impl Failure {
    /// Whether all ranks know of it.
    pub(crate) fn is_agreed(&self) -> bool {
        matches!(self, Self::Train(error) if error.is_agreed())
    }

    /// Whether another rank says it.
    pub(crate) fn is_told_elsewhere(&self) -> bool {
        matches!(self, Self::Train(TrainError::Elsewhere { .. }))
    }

    /// Whether something else was to be asked for or given, and not something failed while
    /// running.
    pub(crate) fn is_bad_input(&self) -> bool {
        match self {
            Self::Train(error) => error.is_bad_input(),
            Self::Fetch(error) => error.is_bad_input(),
            Self::Report(error) => error.is_bad_input(),
            Self::Ode(error) => error.is_bad_input(),
            Self::Images(_) | Self::Flag(_) => true,
            Self::Write { .. } | Self::Draw(_) => false,
        }
    }
}
