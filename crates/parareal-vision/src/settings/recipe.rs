//! Recipes: named sets of defaults.

use std::fmt;
use std::str::FromStr;

use parareal_data::DatasetName;
use parareal_train::TrainError;

/// A set of defaults for unset settings. The defaults themselves are in the definitions of the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recipe {
    /// A small network that learns the built-in images in minutes.
    #[default]
    Quick,
    /// The paper's depth, epochs, batches and learning rates.
    Paper,
}

impl Recipe {
    /// Returns the paper's recipe for the paper's data sets at depth 1001, otherwise the quick one.
    #[must_use]
    pub fn of(dataset: Option<DatasetName>, depth: Option<usize>) -> Self {
        use DatasetName::{Cifar10, Cifar100, Mnist, Svhn};
        match (dataset, depth) {
            (Some(Mnist | Cifar10 | Cifar100 | Svhn), Some(1001)) => Self::Paper,
            _ => Self::default(),
        }
    }
}

impl FromStr for Recipe {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        match text {
            "quick" => Ok(Self::Quick),
            "paper" => Ok(Self::Paper),
            _ => Err(TrainError::setting("recipe", text, "expected quick or paper")),
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quick => "quick",
            Self::Paper => "paper",
        })
    }
}
