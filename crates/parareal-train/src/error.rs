//! What can go wrong, and whose fault it is.

use std::io;
use std::path::{Path, PathBuf};

use parareal::exec::ExecError;
use parareal::net::NetError;
use parareal::plan::PlanError;
use parareal_data::{DataError, OneLine, one_line};
use parareal_models::resnet::{Missing, ResNetError};
use thiserror::Error;

use crate::checkpoint::{FORMAT_VERSION, OLDEST_FORMAT};

/// Why a run cannot start, or did not end well. Every message is one line.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A command line that is not understood.
    #[error("{message}")]
    Usage {
        /// What is wrong with it.
        message: String,
    },
    /// A setting with a value that it cannot have.
    #[error("{name} is {found}: {expected}")]
    Setting {
        /// The key of the setting.
        name: &'static str,
        /// The value.
        found: String,
        /// What it should be, and what to do.
        expected: String,
    },
    /// A key of a configuration file that means nothing.
    #[error("{path}: line {line}: unknown key `{}`; the nearest known one is `{nearest}`", one_line(key), path = OneLine(path))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The known key most like it.
        nearest: &'static str,
    },
    /// A configuration file that cannot be understood.
    #[error("{path}: {message}", path = OneLine(path))]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A device that is not there.
    #[error("there is no device `{name}`{hint}; there are: {present}")]
    NoDevice {
        /// The device asked for.
        name: String,
        /// Why, where that is known.
        hint: String,
        /// The devices that are there.
        present: String,
    },
    /// An output folder that holds something.
    #[error("{path} is not an empty folder", path = OneLine(path))]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that holds no run.
    #[error("{path} holds no run: {message}", path = OneLine(path))]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        message: String,
    },
    /// A run that another process works on.
    #[error("another process trains in {path}: wait for it, or end it", path = OneLine(path))]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// Images that are not those that a run has seen so far.
    #[error(
        "the images of {dataset} are not those that the run in {path} was trained on",
        path = OneLine(path)
    )]
    OtherImages {
        /// The folder of the run.
        path: PathBuf,
        /// The data set.
        dataset: String,
    },
    /// Images whose classes are not those of a run, or are numbered otherwise.
    #[error(
        "the classes of the run in {path} are {}, those of the images are {}: the same are \
         expected, in the same order",
        one_line(&theirs.join(", ")),
        one_line(&ours.join(", ")),
        path = OneLine(path)
    )]
    OtherClasses {
        /// The folder of the run.
        path: PathBuf,
        /// The classes of the run.
        theirs: Vec<String>,
        /// The classes of the images.
        ours: Vec<String>,
    },
    /// A network whose scores are infinite or not numbers.
    #[error(
        "{path}: the network's scores are not finite, so its training had diverged: take an earlier \
         checkpoint, or train again with a smaller learning rate",
        path = OneLine(path)
    )]
    ScoresNotFinite {
        /// The folder of the checkpoint.
        path: PathBuf,
    },
    /// A checkpoint of a format that this program does not read.
    #[error(
        "{path}: the checkpoint has format {found}, and this program reads formats {OLDEST_FORMAT} to \
         {FORMAT_VERSION}: use the version of the program that saved it",
        path = OneLine(path)
    )]
    CheckpointFormat {
        /// Its manifest.
        path: PathBuf,
        /// The format that it names.
        found: u32,
    },
    /// Saved weights that are damaged or of another network.
    #[error("{path}: {message}", path = OneLine(path))]
    Weights {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file that would be overwritten.
    #[error("{path} exists", path = OneLine(path))]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// A name that a file or folder cannot be written under.
    #[error("cannot write {path}: {}", one_line(message), path = OneLine(path))]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// The fault of the name.
        message: String,
    },
    /// A picture that cannot be drawn.
    #[error("cannot draw {path}: {message}", path = OneLine(path))]
    Picture {
        /// The file.
        path: PathBuf,
        /// What stood in the way.
        message: String,
    },
    /// Images that cannot be loaded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A depth that no network has.
    #[error(transparent)]
    Depth(#[from] ResNetError),
    /// A network that cannot be cut like this.
    #[error(transparent)]
    Network(#[from] NetError),
    /// A loss that is infinite or not a number.
    #[error(
        "the loss is {loss} at step {step} with learning rate {learning_rate:?}: the run has diverged; \
         take a smaller learning rate, or larger batches"
    )]
    Diverged {
        /// The step, from 1.
        step: usize,
        /// Its learning rate.
        learning_rate: f64,
        /// The loss.
        loss: f64,
    },
    /// Weights, or what the optimizer keeps of them, that are infinite or not a number.
    #[error(
        "`{}` is not finite after step {step} with learning rate {learning_rate:?}: the run has \
         diverged; take a smaller learning rate, or larger batches",
        one_line(name)
    )]
    WeightsDiverged {
        /// The first such tensor.
        name: String,
        /// The step, from 1.
        step: usize,
        /// Its learning rate.
        learning_rate: f64,
    },
    /// A loss of the test or validation images that is infinite or not a number.
    #[error(
        "the scores of the {images} images are not finite after step {step} (loss {loss}): the run \
         has diverged; take a smaller learning rate, or larger batches"
    )]
    EvaluationDiverged {
        /// The images: "test" or "validation".
        images: &'static str,
        /// The step, from 1.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// A step that cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Costs that do not fit the network.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A file that holds no costs.
    #[error("{path} holds no costs: {message}", path = OneLine(path))]
    Costs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A worker failed.
    #[error(transparent)]
    Executor(#[from] ExecError),
    /// The executor mpi in a program that is built without MPI.
    #[error("executor is mpi: this program is built without MPI")]
    WithoutMpi,
    /// A folder that a rank does not see.
    #[error(
        "{path} is not there: ranks need a folder that all of them see, on a shared file system",
        path = OneLine(path)
    )]
    NotShared {
        /// The folder.
        path: PathBuf,
    },
    /// What all ranks of a run know to have gone wrong, and this one has to say.
    #[error("{message}")]
    Agreed {
        /// What it is, with the number of the rank where not all have it.
        message: String,
        /// Whether something else was to be asked for or given.
        bad_input: bool,
    },
    /// What all ranks of a run know to have gone wrong, and another one says.
    #[error("{message}")]
    Elsewhere {
        /// What it is.
        message: String,
        /// Whether something else was to be asked for or given.
        bad_input: bool,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}", path = OneLine(path))]
    File {
        /// What was tried: "read", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl TrainError {
    /// Whether something else was to be asked for or given, and not something failed while
    /// running.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Diverged { .. }
            | Self::WeightsDiverged { .. }
            | Self::EvaluationDiverged { .. }
            | Self::File { .. }
            | Self::Picture { .. } => false,
            Self::Agreed { bad_input, .. } | Self::Elsewhere { bad_input, .. } => *bad_input,
            Self::Executor(error) => matches!(error, ExecError::Workers { .. }),
            _ => true,
        }
    }

    /// A setting with a value that it cannot have.
    pub fn setting(name: &'static str, found: impl ToString, expected: impl Into<String>) -> Self {
        let (found, expected) = (one_line(&found.to_string()), one_line(&expected.into()));
        Self::Setting { name, found, expected }
    }

    /// Whether all ranks of a run know of it, so that they can end together.
    pub fn is_agreed(&self) -> bool {
        matches!(self, Self::Agreed { .. } | Self::Elsewhere { .. })
    }

    /// The step in or after which a run diverged, where it did.
    pub(crate) fn diverged_at(&self) -> Option<usize> {
        match self {
            Self::Diverged { step, .. }
            | Self::WeightsDiverged { step, .. }
            | Self::EvaluationDiverged { step, .. } => Some(*step),
            _ => None,
        }
    }

    /// Ranks that cannot go on together.
    pub(crate) fn ranks(message: &str) -> Self {
        Self::Executor(ExecError::Ranks(message.into()))
    }

    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }

    /// Returns true for a checkpoint that is damaged, and not merely unreadable here and now.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Weights { .. })
    }

    pub(crate) fn weights(path: &Path, message: impl Into<String>) -> Self {
        // Parsers quote what they do not know as it is.
        Self::Weights { path: path.to_path_buf(), message: one_line(&message.into()) }
    }
}
