//! The studies: sets of runs that are compared with each other, and the rows of their tables. The constants at the top
//! determine networks, data and training.

mod full;
mod initialization;
mod precision;
mod rates;
mod screening;
mod small;

use parareal_data::DatasetName;
use parareal_models::{CoarseKind, PAPER_WIDTH, Precision, UnitKind};

pub(crate) use self::full::full;
pub(crate) use self::initialization::initialization;
pub(crate) use self::precision::precision;
pub(crate) use self::rates::{TRIED_RATES, rates};
pub(crate) use self::screening::screening;
pub(crate) use self::small::{GOAL_PAIRS, GOALS, small};
use crate::Result;
use crate::network::{self, Coarse, Network, parameters, width_for};
use crate::paper::PaperCells;
use crate::row::{Epochs, Row, Training};

/// A set of runs that are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Study {
    /// A small version of the paper's Table 1.
    Small,
    /// The paper's Table 1.
    Full,
    /// Coarse units, on held-out images.
    Screening,
    /// Learning rates, on held-out images.
    Rates,
    /// Initial weights, on held-out images.
    Initialization,
    /// Precisions of states.
    Precision,
}

/// Learning rates of serial and cut networks, chosen on held-out training images for ResNet-29 and ResNet-20. All coarse networks use the
/// rate of the recommended unit.
#[derive(Clone, Copy, Debug)]
struct Rates {
    serial: f64,
    cut: f64,
}

const RATES: Rates = Rates { serial: 0.05, cut: 0.05 };

/// A group of runs on one data set that are compared with each other.
#[derive(Clone, Copy, Debug)]
struct Setup {
    id: &'static str,
    dataset: DatasetName,
    depth: usize,
    limit_train: Option<usize>,
    epochs: usize,
    batch_size: usize,
    rates: Rates,
    /// Numbers of training and test images of the data set.
    images: [usize; 2],
}

/// Batch size of ResNet-20, ResNet-29 and ResNet-56.
const BATCH_SIZE: usize = 32;
/// Numbers of training and test images of the subset of CIFAR-10.
const CIFAR_SUBSET: [usize; 2] = [8_336, 1_017];

const CIFAR_29: Setup = Setup {
    id: "cifar10-29",
    dataset: DatasetName::Cifar10,
    depth: 29,
    limit_train: None,
    epochs: 12,
    batch_size: BATCH_SIZE,
    rates: RATES,
    images: CIFAR_SUBSET,
};
const MNIST_20: Setup = Setup {
    id: "mnist-20",
    dataset: DatasetName::Mnist,
    depth: 20,
    limit_train: Some(10_000),
    epochs: 6,
    batch_size: BATCH_SIZE,
    rates: Rates { serial: 0.1, ..RATES },
    images: [60_000, 10_000],
};
const CIFAR_56: Setup = Setup {
    id: "cifar10-56",
    dataset: DatasetName::Cifar10,
    depth: 56,
    limit_train: None,
    epochs: 12,
    batch_size: BATCH_SIZE,
    rates: RATES,
    images: CIFAR_SUBSET,
};

/// The default run of `parareal train`, and the same with as many images of other data sets.
const SHAPES_110: Setup = Setup {
    id: "shapes-110",
    dataset: DatasetName::Shapes,
    depth: 110,
    limit_train: None,
    epochs: 3,
    batch_size: 16,
    rates: RATES,
    images: [6_000, 1_000],
};
const MNIST_110: Setup = Setup {
    id: "mnist-110",
    dataset: DatasetName::Mnist,
    limit_train: Some(6_000),
    images: MNIST_20.images,
    ..SHAPES_110
};
const CIFAR_110: Setup = Setup {
    id: "cifar10-110",
    dataset: DatasetName::Cifar10,
    limit_train: Some(6_000),
    images: CIFAR_SUBSET,
    ..SHAPES_110
};

/// A coarse network that is compared with the paper's, beside the recommended one.
const DEPTHWISE_2: Coarse = Coarse::of(UnitKind::Depthwise, 2);

/// Processor time per image in seconds, for estimates: for a unit of the serial network, for a unit of a
/// coarse network, and for 10⁶ multiply-adds of a coarse network. Measured with ResNet-29 on one thread of an
/// AMD EPYC (AVX-512).
const SECONDS: [f64; 3] = [0.58e-3, 1.1e-3, 0.034e-3];

/// The exponent with which the time of a serial network grows with its width: about that of its multiply-adds.
const WIDTH_EXPONENT: f64 = 2.2;

/// A kind of row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// N = 1.
    Serial,
    /// N = 1 with as many parameters as N = 3 with the recommended unit.
    Widened,
    /// N = 1, trained for as long as N = 3 with the recommended unit takes.
    SameTime,
    /// A number of subnetworks with these coarse networks.
    Cut(usize, Coarse),
}

impl Kind {
    /// N = 3 with the recommended unit.
    const RECOMMENDED: Self = Self::Cut(3, Coarse::RECOMMENDED);

    /// Returns the last part of the row's identifier.
    fn name(self) -> String {
        match self {
            Self::Serial => "n1".into(),
            Self::Widened => "n1-wide".into(),
            Self::SameTime => "n1-same-time".into(),
            Self::Cut(count, Coarse { kind, units }) => {
                let name = if kind == CoarseKind::Auto { "recommended" } else { kind.name() };
                let units = units.map(|units| format!("-{units}")).unwrap_or_default();
                format!("n{count}-{name}{units}")
            }
        }
    }

    /// Returns the network.
    ///
    /// # Errors
    /// If the network cannot be built.
    fn network(self, setup: &Setup) -> Result<Network> {
        let serial =
            Network { depth: setup.depth, width: PAPER_WIDTH, subnetworks: 1, coarse: None };
        match self {
            Self::Serial | Self::SameTime => Ok(serial),
            Self::Widened => {
                let shape = network::shape_of(setup.dataset)?;
                let wanted = parameters(&Self::RECOMMENDED.network(setup)?, shape)?.total;
                let of_width = |width| Ok(parameters(&Network { width, ..serial }, shape)?.total);
                Ok(Network { width: width_for(wanted, of_width)?, ..serial })
            }
            Self::Cut(subnetworks, coarse) => {
                Ok(Network { subnetworks, coarse: Some(coarse), ..serial })
            }
        }
    }

    /// Returns the title of the row.
    ///
    /// # Errors
    /// If the network cannot be cut.
    fn title(self, network: &Network) -> Result<String> {
        Ok(match self {
            Self::Widened => format!("N = 1, width {}: parameters of N = 3", network.width),
            Self::SameTime => "N = 1, wall clock of N = 3".into(),
            Self::Serial | Self::Cut(..) => network.title()?,
        })
    }

    /// Returns the paper's numbers for the same N, which stand beside the serial network, the paper's coarse network and
    /// the recommended one.
    fn paper(self, dataset: DatasetName) -> PaperCells {
        match self {
            Self::Serial => PaperCells::of(dataset, 1),
            Self::Cut(count, Coarse::RECOMMENDED | Coarse::BASIC) => PaperCells::of(dataset, count),
            _ => PaperCells::default(),
        }
    }
}

/// Changes a row to use held-out images instead of test images, another learning rate, and a single seed.
fn holding_out(mut row: Row, rate: f64) -> Row {
    if let Training::Small { learning_rate, .. } = &mut row.training {
        *learning_rate = rate;
    }
    Row { held_out: true, seeds: vec![1], paper: PaperCells::default(), ..row }
}

fn rehearsed(rows: Vec<Row>, rehearse: bool) -> Result<Vec<Row>> {
    Ok(if rehearse { rows.into_iter().map(Row::rehearsed).collect() } else { rows })
}

/// Returns the row of a kind of network in a setup.
///
/// # Errors
/// If the network cannot be built.
fn row_of(setup: &Setup, kind: Kind, seeds: u64) -> Result<Row> {
    let Setup { id, dataset, depth, limit_train, epochs, batch_size, rates, images } = *setup;
    let network = kind.network(setup)?;
    let name_of_images = match dataset {
        DatasetName::Mnist => "MNIST",
        DatasetName::Shapes => "Built-in images",
        _ => "CIFAR-10 (subset)",
    };
    let epochs = match kind {
        Kind::SameTime => Epochs::AsLongAs(Box::new(row_of(setup, Kind::RECOMMENDED, seeds)?)),
        _ => Epochs::Fixed(epochs),
    };
    let learning_rate = if network.subnetworks == 1 { rates.serial } else { rates.cut };
    let trained = limit_train.unwrap_or(images[0]).min(images[0]);
    Ok(Row {
        id: format!("{id}-{}", kind.name()),
        group: format!("{name_of_images}, ResNet-{depth}"),
        title: kind.title(&network)?,
        dataset,
        images: Some(images),
        network,
        precision: Precision::default(),
        limit_train,
        epochs,
        seeds: (1..=seeds).collect(),
        held_out: false,
        paper: kind.paper(dataset),
        guessed_epoch: guessed_seconds(&network)? * trained as f64,
        source: None,
        training: Training::Small { learning_rate, batch_size, limit_test: None },
    })
}

/// Estimates the processor time of a network for an image in seconds.
///
/// # Errors
/// If the network cannot be cut.
fn guessed_seconds(network: &Network) -> Result<f64> {
    let [fine, unit, multiply_adds] = SECONDS;
    let units = (network.depth - 2) as f64 / 3.0;
    let widening = network.width as f64 / PAPER_WIDTH as f64;
    let mut seconds = fine * units * widening.powf(WIDTH_EXPONENT);
    for choice in network.coarse_choices()? {
        seconds += choice.units as f64 * unit + choice.multiply_adds as f64 / 1e6 * multiply_adds;
    }
    Ok(seconds)
}
