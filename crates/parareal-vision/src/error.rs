//! Errors of image classification.

use std::path::PathBuf;

use parareal::exec::ExecError;
use parareal::net::NetError;
use parareal::plan::PlanError;
use parareal_data::DataError;
use parareal_models::{ArchitectureError, CostError};
use parareal_text::{OneLine, list, one_line};
use parareal_train::{SharedError, TrainError};
use thiserror::Error;

/// Reasons why a run cannot start, a network cannot be evaluated, or a step cannot be planned or measured.
/// Every message is one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VisionError {
    /// Training failed, or a setting has an invalid value.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// An unknown key in a configuration file.
    #[error("{path}: line {line}: unknown key `{}`; did you mean `{nearest}`?", one_line(key), path = OneLine(path))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The most similar known key.
        nearest: &'static str,
    },
    /// The folder of a run of `parareal_train::Trainer`, not of the command.
    #[error(
        "{path} is the folder of a run of another program, with its own network; resume or evaluate it \
         with that program",
        path = OneLine(path)
    )]
    OtherProgram {
        /// The folder of the run.
        path: PathBuf,
    },
    /// The configuration of a run of another program, which trains its own network.
    #[error(
        "{path} is the configuration of a run of another program, with its own network; expected settings of \
         `parareal train`",
        path = OneLine(path)
    )]
    OtherProgramConfig {
        /// The file.
        path: PathBuf,
    },
    /// A configuration file that cannot be parsed.
    #[error("{path}: {message}", path = OneLine(path))]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// Description of the fault.
        message: String,
    },
    /// Images that differ from those that a run was trained on.
    #[error(
        "the images of {dataset} differ from those that the run in {path} was trained on",
        path = OneLine(path)
    )]
    OtherImages {
        /// The folder of the run.
        path: PathBuf,
        /// The data set.
        dataset: String,
    },
    /// Images whose classes, or whose class numbers, differ from those of a run or a file of weights.
    #[error(
        "the classes of the images differ from those of {path}: {}",
        difference(theirs, ours),
        path = OneLine(path)
    )]
    OtherClasses {
        /// The folder of the run, or the file.
        path: PathBuf,
        /// Its classes.
        theirs: Vec<String>,
        /// The classes of the images.
        ours: Vec<String>,
    },
    /// A network whose scores are infinite or NaN.
    #[error(
        "{path}: the scores of the network are not finite, because its training diverged; try an \
         earlier checkpoint, or train again with a smaller learning rate",
        path = OneLine(path)
    )]
    ScoresNotFinite {
        /// The folder of the checkpoint.
        path: PathBuf,
    },
    /// Images that cannot be loaded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A depth that is not valid for a ResNet.
    #[error(transparent)]
    Depth(#[from] ArchitectureError),
    /// A step that cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Costs that do not fit the network.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// A file that is not an exported network, or whose weights do not fit.
    #[error("cannot read weights from {path}: {message}", path = OneLine(path))]
    WeightFile {
        /// The file.
        path: PathBuf,
        /// Description of the fault.
        message: String,
    },
    /// A file without a valid table of costs.
    #[error("cannot read costs from {path}: {message}", path = OneLine(path))]
    Costs {
        /// The file.
        path: PathBuf,
        /// Description of the fault.
        message: String,
    },
    /// An error that all processes of a run know, and that this process reports.
    #[error("{}{error}", rank.map_or_else(String::new, |rank| format!("rank {rank}: ")))]
    Agreed {
        /// The rank on which the error occurred; `None` if it occurred on all ranks.
        rank: Option<usize>,
        /// The error.
        error: Box<VisionError>,
        /// True if bad input caused the error on every rank that has one.
        bad_input: bool,
    },
}

impl VisionError {
    /// Returns true if the input is wrong, and false if something failed while running.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Train(error) => error.is_bad_input(),
            Self::Agreed { bad_input, .. } => *bad_input,
            _ => true,
        }
    }

    /// Returns true if another process of the run reports the error.
    #[must_use]
    pub fn is_reported_elsewhere(&self) -> bool {
        matches!(self, Self::Train(TrainError::Elsewhere { .. }))
    }

    /// Creates the error of a setting with an invalid value.
    pub fn setting(name: &'static str, found: impl ToString, expected: impl Into<String>) -> Self {
        TrainError::setting(name, found, expected).into()
    }
}

impl From<NetError> for VisionError {
    fn from(error: NetError) -> Self {
        Self::Train(error.into())
    }
}

/// Wraps the error of a task for the trainer.
impl From<VisionError> for TrainError {
    fn from(error: VisionError) -> Self {
        match error {
            VisionError::Train(error) => error,
            error => Self::Task { bad_input: error.is_bad_input(), error: Box::new(error) },
        }
    }
}

impl From<ExecError> for VisionError {
    fn from(error: ExecError) -> Self {
        Self::Train(error.into())
    }
}

impl SharedError for VisionError {
    fn is_bad_input(&self) -> bool {
        self.is_bad_input()
    }

    fn is_agreed(&self) -> bool {
        match self {
            Self::Train(error) => SharedError::is_agreed(error),
            Self::Agreed { .. } => true,
            _ => false,
        }
    }

    fn agreed(self, rank: Option<usize>, bad_input: bool) -> Self {
        Self::Agreed { rank, error: Box::new(self), bad_input }
    }
}

/// Largest number of classes that a message lists.
const LISTED_CLASSES: usize = 20;

/// Describes how classes differ: with all names if there are few, otherwise with the first class that differs.
fn difference(theirs: &[String], ours: &[String]) -> String {
    let name = |names: &[String], class: usize| match names.get(class) {
        Some(name) => format!("`{}`", one_line(name)),
        None => "absent".into(),
    };
    if theirs.len().max(ours.len()) <= LISTED_CLASSES {
        let [theirs, ours] = [theirs, ours].map(|names| list(names, LISTED_CLASSES));
        return format!("expected {theirs}, got {ours}");
    }
    let numbers = format!("expected {} classes, got {}", theirs.len(), ours.len());
    let class =
        (0..theirs.len().max(ours.len())).find(|&class| theirs.get(class) != ours.get(class));
    let class = class.unwrap_or_default();
    format!("{numbers}; class {class} is {} instead of {}", name(ours, class), name(theirs, class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_differ_are_described_in_few_words() {
        let names = |count: usize| (0..count).map(|class| format!("c{class}")).collect::<Vec<_>>();
        assert_eq!(difference(&names(2), &names(1)), "expected c0, c1, got c0");
        let mut others = names(300);
        others[200] = "x\ny".into();
        let expected = "expected 300 classes, got 300; class 200 is `x\\ny` instead of `c200`";
        assert_eq!(difference(&names(300), &others), expected);
        let expected = "expected 300 classes, got 299; class 299 is absent instead of `c299`";
        assert_eq!(difference(&names(300), &names(299)), expected);
    }
}
