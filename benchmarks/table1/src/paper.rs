//! The numbers of the paper's Table 1 and Table 3.

use parareal_data::DatasetName;
use parareal_models::{PAPER_EPOCHS, PAPER_SECONDS};

/// Numbers of subnetworks in the paper's Table 1, with the numbers of parameters in millions.
pub(crate) const PAPER_PARAMETERS: [(usize, f64); 5] =
    [(1, 10.3), (3, 15.9), (6, 16.1), (12, 16.2), (18, 19.4)];

/// A data set of the paper's Table 1: the numbers of training and test images, and the error in percent for
/// each number of subnetworks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaperDataset {
    pub(crate) name: DatasetName,
    pub(crate) images: [usize; 2],
    pub(crate) errors: [f64; 5],
}

pub(crate) const PAPER_DATASETS: [PaperDataset; 4] = [
    PaperDataset {
        name: DatasetName::Cifar10,
        images: [50_000, 10_000],
        errors: [4.96, 4.61, 4.20, 4.37, 4.02],
    },
    PaperDataset {
        name: DatasetName::Cifar100,
        images: [50_000, 10_000],
        errors: [21.13, 21.14, 20.87, 20.42, 20.40],
    },
    PaperDataset {
        name: DatasetName::Mnist,
        images: [60_000, 10_000],
        errors: [0.34, 0.31, 0.31, 0.28, 0.33],
    },
    PaperDataset {
        name: DatasetName::Svhn,
        images: [73_257, 26_032],
        errors: [3.17, 3.11, 3.21, 3.25, 3.29],
    },
];

/// Duration of an epoch of ResNet-1001 (N = 1, 50,000 images) in the paper, in seconds. It is used for
/// estimates only.
pub(crate) const PAPER_EPOCH_SECONDS: f64 = PAPER_SECONDS[0].1 / PAPER_EPOCHS as f64;

/// The paper's numbers for a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PaperCells {
    /// Number of parameters in millions.
    pub(crate) parameters: Option<f64>,
    /// Error in percent.
    pub(crate) error: Option<f64>,
    /// Wall-clock time of the whole training in seconds.
    pub(crate) seconds: Option<f64>,
}

impl PaperCells {
    /// Returns the paper's results for a data set and a number of subnetworks.
    pub(crate) fn of(dataset: DatasetName, subnetworks: usize) -> Self {
        let index = PAPER_PARAMETERS.iter().position(|&(count, _)| count == subnetworks);
        let set = PAPER_DATASETS.iter().find(|set| set.name == dataset);
        let timed = dataset == DatasetName::Cifar100;
        let seconds = PAPER_SECONDS.iter().find(|(count, _)| timed && *count == subnetworks);
        Self {
            parameters: index.map(|index| PAPER_PARAMETERS[index].1),
            error: index.zip(set).map(|(index, set)| set.errors[index]),
            seconds: seconds.map(|&(_, seconds)| seconds),
        }
    }
}
