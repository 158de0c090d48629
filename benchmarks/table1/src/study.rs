//! The rows of all tables. The constants at the top determine networks, data and training.

use parareal_data::DatasetName;
use parareal_models::{CoarseKind, PAPER_EPOCHS, PAPER_WIDTH, Precision, UnitKind};

use crate::network::{Coarse, Network, parameters, width_for};
use crate::paper::{PAPER_DATASETS, PAPER_EPOCH_SECONDS, PAPER_PARAMETERS, PaperCells};
use crate::row::{Epochs, Row, Source, Training};
use crate::{Result, network};

/// Learning rates. Those of serial networks and of the recommended unit were chosen on held-out training images, for ResNet-29
/// and ResNet-20.
#[derive(Clone, Copy, Debug)]
struct Rates {
    serial: f64,
    recommended: f64,
    /// The rate of all other coarse networks.
    others: f64,
}

const RATES: Rates = Rates { serial: 0.05, recommended: 0.05, others: 0.05 };

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
    /// Number of training images, for estimates only.
    images: usize,
}

const CIFAR_29: Setup = Setup {
    id: "cifar10-29",
    dataset: DatasetName::Cifar10,
    depth: 29,
    limit_train: None,
    epochs: 12,
    batch_size: BATCH_SIZE,
    rates: RATES,
    images: 8_336,
};
const MNIST_20: Setup = Setup {
    id: "mnist-20",
    dataset: DatasetName::Mnist,
    depth: 20,
    limit_train: Some(10_000),
    epochs: 6,
    batch_size: BATCH_SIZE,
    rates: Rates { serial: 0.1, ..RATES },
    images: 10_000,
};
const CIFAR_56: Setup = Setup {
    id: "cifar10-56",
    dataset: DatasetName::Cifar10,
    depth: 56,
    limit_train: None,
    epochs: 12,
    batch_size: BATCH_SIZE,
    rates: RATES,
    images: 8_336,
};

const BATCH_SIZE: usize = 32;

/// The default run of `parareal train`, and the same with as many images of other data sets.
const SHAPES_110: Setup = Setup {
    id: "shapes-110",
    dataset: DatasetName::Shapes,
    depth: 110,
    limit_train: None,
    epochs: 3,
    batch_size: 16,
    rates: RATES,
    images: 6_000,
};
const MNIST_110: Setup =
    Setup { id: "mnist-110", dataset: DatasetName::Mnist, limit_train: Some(6_000), ..SHAPES_110 };
const CIFAR_110: Setup = Setup {
    id: "cifar10-110",
    dataset: DatasetName::Cifar10,
    limit_train: Some(6_000),
    ..SHAPES_110
};

/// Setup of the comparison of coarse units. All units are trained with its rate for the recommended unit.
const SCREENING: Setup = Setup { id: "screening", epochs: 4, ..CIFAR_29 };
/// Numbers of units of the compared coarse networks.
const SCREENED_UNITS: [usize; 3] = [1, 2, 4];

/// Learning rates to compare.
pub(crate) const TRIED_RATES: [f64; 3] = [0.02, 0.05, 0.1];
/// Networks for which learning rates are compared, each with the epochs of its setup. The last one takes much
/// longer than the others.
const RATED: [(&Setup, Kind); 13] = [
    (&CIFAR_29, Kind::Serial),
    (&CIFAR_29, Kind::Cut(3, Coarse::RECOMMENDED)),
    (&CIFAR_29, Kind::Cut(3, NEXT_BEST)),
    (&MNIST_20, Kind::Serial),
    (&MNIST_20, Kind::Cut(3, Coarse::RECOMMENDED)),
    (&MNIST_20, Kind::Cut(3, NEXT_BEST)),
    (&SHAPES_110, Kind::Serial),
    (&SHAPES_110, Kind::Cut(2, Coarse::RECOMMENDED)),
    (&MNIST_110, Kind::Serial),
    (&MNIST_110, Kind::Cut(2, Coarse::RECOMMENDED)),
    (&CIFAR_110, Kind::Serial),
    (&CIFAR_110, Kind::Cut(2, Coarse::RECOMMENDED)),
    (&CIFAR_29, Kind::Cut(3, Coarse::BASIC)),
];

/// Setups of the comparison of initial weights, all with the rate for N = 1.
const INITIALIZATION: Setup = Setup { id: "initialization", epochs: 6, ..CIFAR_29 };
const SHALLOW: Setup = Setup { depth: 20, ..INITIALIZATION };
/// The cut network that is trained with different initial weights.
const INITIALIZED: Kind = Kind::Cut(3, Coarse::of(UnitKind::Depthwise, 4));
/// The coarse networks that are compared with the paper's beside the recommended ones.
const NEXT_BEST: Coarse = Coarse::of(UnitKind::Depthwise, 2);
/// Number of steps of a distillation.
const DISTILLATION: usize = 200;

/// Number of seeds of the comparison of precisions.
const PRECISION_SEEDS: u64 = 3;

/// A limit on how much larger the error of one row may be than that of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// Identifier of the limited row.
    pub(crate) row: &'static str,
    /// Identifier of the row to compare with.
    pub(crate) reference: &'static str,
    /// Limit on the upper confidence bound of the mean difference, in percentage points.
    pub(crate) points: f64,
}

/// The goals of the recommended coarse network and of the next best one, which takes 2.7 times as long on the chain.
pub(crate) const GOALS: [Goal; 4] = [
    Goal { row: "cifar10-29-n3-recommended", reference: "cifar10-29-n3-basic", points: 2.0 },
    Goal { row: "cifar10-29-n3-depthwise-2", reference: "cifar10-29-n3-basic", points: 2.0 },
    Goal { row: "mnist-20-n3-recommended", reference: "mnist-20-n3-basic", points: 0.3 },
    Goal { row: "mnist-20-n3-depthwise-2", reference: "mnist-20-n3-basic", points: 0.3 },
];
/// Number of pairs of runs with the same seed that are required to decide on a goal.
pub(crate) const GOAL_PAIRS: usize = 5;

/// Processor time per image in seconds, for estimates: for a unit of the serial network, for a unit of a
/// coarse network, and for 10⁶ multiply-adds of a coarse network. Measured with ResNet-29 on one thread of an
/// AMD EPYC (AVX-512).
const SECONDS: [f64; 3] = [0.58e-3, 1.1e-3, 0.034e-3];

/// Kinds of rows of the small table.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Serial,
    /// N = 1 with as many parameters as N = 3 with the recommended unit.
    Widened,
    /// N = 1, trained for as long as N = 3 with the recommended unit takes.
    SameTime,
    /// A number of subnetworks with these coarse networks.
    Cut(usize, Coarse),
}

/// The rows of the small table with their seeds. Runs are started in this order, seed by seed. `depthwise` × 2 and `basic` × 1 have
/// the next best results in the screening.
const ROWS: [(&Setup, Kind, u64); 14] = [
    (&CIFAR_29, Kind::Serial, 5),
    (&CIFAR_29, Kind::Cut(3, Coarse::RECOMMENDED), 5),
    (&CIFAR_29, Kind::Widened, 5),
    (&CIFAR_29, Kind::SameTime, 5),
    (&CIFAR_29, Kind::Cut(3, Coarse::BASIC), 5),
    (&MNIST_20, Kind::Serial, 3),
    (&MNIST_20, Kind::Cut(3, Coarse::RECOMMENDED), 5),
    (&MNIST_20, Kind::Cut(3, Coarse::BASIC), 5),
    (&MNIST_20, Kind::Cut(3, NEXT_BEST), 5),
    (&CIFAR_29, Kind::Cut(6, Coarse::RECOMMENDED), 3),
    (&CIFAR_56, Kind::Serial, 3),
    (&CIFAR_56, Kind::Cut(3, Coarse::RECOMMENDED), 3),
    (&CIFAR_29, Kind::Cut(3, NEXT_BEST), 5),
    (&CIFAR_29, Kind::Cut(3, Coarse::of(UnitKind::Basic, 1)), 3),
];

/// Returns the rows of the small table, in the order of their runs.
///
/// # Errors
/// If a network cannot be built.
pub(crate) fn small(rehearse: bool) -> Result<Vec<Row>> {
    let rows = ROWS.iter().map(|&(setup, kind, seeds)| row_of(setup, kind, seeds));
    rehearsed(rows.collect::<Result<_>>()?, rehearse)
}

/// Returns a row for each kind of coarse unit and number of units. Rows with the same number form a group.
///
/// # Errors
/// If a network cannot be built.
pub(crate) fn screening(rehearse: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for kind in UnitKind::CONVOLUTIONAL {
        for count in SCREENED_UNITS {
            // Additional units that consist of the skip connection alone would not change the function.
            let is_none = kind == UnitKind::None;
            if is_none && count > 1 {
                continue;
            }
            let coarse = Coarse { kind: kind.into(), units: (!is_none).then_some(count) };
            let row = row_of(&SCREENING, Kind::Cut(3, coarse), 1)?;
            rows.push(Row {
                group: format!("{}, N = 3, N_c = {count}", row.group),
                title: if is_none { kind.to_string() } else { format!("{kind} × {count}") },
                ..holding_out(row, SCREENING.rates.recommended)
            });
        }
    }
    rehearsed(rows, rehearse)
}

/// Returns a row for each network and learning rate. Rows of the same network form a group.
///
/// # Errors
/// If a network cannot be built.
pub(crate) fn rates(rehearse: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (setup, kind) in RATED {
        for rate in TRIED_RATES {
            let row = row_of(setup, kind, 1)?;
            rows.push(Row {
                id: format!("rates-{}-lr{rate}", row.id),
                group: format!("{}: {}", row.group, row.title),
                title: format!("learning rate {rate}"),
                ..holding_out(row, rate)
            });
        }
    }
    rehearsed(rows, rehearse)
}

/// Returns the rows of the cut network with different initial weights. Each row comes after the serial row
/// that provides its initial weights.
///
/// # Errors
/// If a network cannot be built.
pub(crate) fn initialization(rehearse: bool) -> Result<Vec<Row>> {
    let row = |setup: &Setup, kind, name: &str, title: &str| {
        let row = row_of(setup, kind, 1)?;
        Ok::<_, Box<dyn std::error::Error>>(Row {
            id: format!("{}-{name}", setup.id),
            group: "CIFAR-10 (subset), initial weights".into(),
            title: title.into(),
            ..holding_out(row, INITIALIZATION.rates.serial)
        })
    };
    let serial = row(&INITIALIZATION, Kind::Serial, "serial-29", "N = 1, depth 29")?;
    let shallow = row(&SHALLOW, Kind::Serial, "serial-20", "N = 1, depth 20")?;
    let from = |row: &Row, distillation| Source {
        row: Box::new(row.clone()),
        epochs: INITIALIZATION.epochs,
        interpolates: false,
        distillation,
    };
    let started = |name, title: &str, source| {
        let row = row(&INITIALIZATION, INITIALIZED, name, &format!("N = 3 from {title}"))?;
        Ok::<_, Box<dyn std::error::Error>>(Row { source: Some(source), ..row })
    };
    let steps = Some(DISTILLATION);
    let interpolated = Source { interpolates: true, ..from(&shallow, None) };
    let rows = vec![
        serial.clone(),
        row(&INITIALIZATION, INITIALIZED, "scratch", "N = 3 from scratch")?,
        started("distilled", "depth 29, distilled", from(&serial, steps))?,
        started("from-serial", "depth 29", from(&serial, None))?,
        shallow.clone(),
        started("nested", "depth 20", from(&shallow, None))?,
        started("nested-distilled", "depth 20, distilled", from(&shallow, steps))?,
        started("nested-interpolated", "depth 20, interpolated", interpolated)?,
    ];
    rehearsed(rows, rehearse)
}

/// Returns rows of the small table in each precision. Rows of the same network form a group, 32-bit floats first.
///
/// # Errors
/// If a network cannot be built.
pub(crate) fn precision(rehearse: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for kind in [Kind::Serial, Kind::Cut(3, Coarse::RECOMMENDED)] {
        let single = row_of(&CIFAR_29, kind, PRECISION_SEEDS)?;
        let group = format!("{}, {}", single.group, single.title);
        let half = Row {
            id: format!("{}-bf16", single.id),
            title: "bfloat16".into(),
            precision: Precision::Bf16,
            group: group.clone(),
            ..single.clone()
        };
        rows.extend([Row { title: "32-bit floats".into(), group, ..single }, half]);
    }
    rehearsed(rows, rehearse)
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
    let shape = network::shape_of(dataset)?;
    let serial = Network { depth, width: PAPER_WIDTH, subnetworks: 1, coarse: None };
    let cut = |subnetworks, coarse| Network { subnetworks, coarse: Some(coarse), ..serial };
    let (name, network, learning_rate) = match kind {
        Kind::Serial => ("n1".to_string(), serial, rates.serial),
        Kind::Widened => {
            let wanted = parameters(&cut(3, Coarse::RECOMMENDED), shape)?.total;
            let of_width = |width| Ok(parameters(&Network { width, ..serial }, shape)?.total);
            let network = Network { width: width_for(wanted, of_width)?, ..serial };
            ("n1-wide".into(), network, rates.serial)
        }
        Kind::SameTime => ("n1-same-time".into(), serial, rates.serial),
        Kind::Cut(count, coarse) => {
            let (name, rate) = match coarse.kind {
                CoarseKind::Auto => ("recommended", rates.recommended),
                kind => (kind.name(), rates.others),
            };
            let units = coarse.units.map(|units| format!("-{units}")).unwrap_or_default();
            (format!("n{count}-{name}{units}"), cut(count, coarse), rate)
        }
    };
    let title = match kind {
        Kind::Widened => format!("N = 1, width {}: parameters of N = 3", network.width),
        Kind::SameTime => "N = 1, wall clock of N = 3".into(),
        _ => network.title()?,
    };
    let name_of_images = match dataset {
        DatasetName::Mnist => "MNIST",
        DatasetName::Shapes => "Built-in images",
        _ => "CIFAR-10 (subset)",
    };
    let [fine, unit, multiply_adds] = SECONDS;
    let units = (depth - 2) as f64 / 3.0;
    let mut seconds = fine * units * (network.width as f64 / PAPER_WIDTH as f64).powf(2.2);
    for choice in network.coarse_choices()? {
        seconds += choice.units as f64 * unit + choice.multiply_adds as f64 / 1e6 * multiply_adds;
    }
    let epochs = match kind {
        Kind::SameTime => {
            let cut = Kind::Cut(3, Coarse::RECOMMENDED);
            Epochs::AsLongAs(Box::new(row_of(setup, cut, seeds)?))
        }
        _ => Epochs::Fixed(epochs),
    };
    let paper = match kind {
        Kind::Widened | Kind::SameTime => PaperCells::default(),
        _ => PaperCells::of(dataset, network.subnetworks),
    };
    Ok(Row {
        id: format!("{id}-{name}"),
        group: format!("{name_of_images}, ResNet-{depth}"),
        title,
        dataset,
        network,
        precision: Precision::default(),
        limit_train,
        epochs,
        seeds: (1..=seeds).collect(),
        held_out: false,
        paper,
        guessed_epoch: seconds * images as f64,
        source: None,
        training: Training::Small { learning_rate, batch_size, limit_test: None },
    })
}

/// Returns the rows of the paper's Table 1 for some of its data sets and numbers of subnetworks.
///
/// # Errors
/// If a data set or a number of subnetworks is not in the paper's table.
pub(crate) fn full(
    datasets: &[DatasetName],
    counts: &[usize],
    seeds: &[u64],
    rehearse: bool,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &dataset in datasets {
        let set = PAPER_DATASETS.iter().find(|set| set.name == dataset);
        let set = set.ok_or_else(|| format!("the paper's Table 1 has no {dataset}"))?;
        for &subnetworks in counts {
            if PAPER_PARAMETERS.iter().all(|&(count, _)| count != subnetworks) {
                return Err(format!("the paper's Table 1 has no N = {subnetworks}").into());
            }
            let coarse = (subnetworks > 1).then_some(Coarse::BASIC);
            let network = Network { depth: 1001, width: PAPER_WIDTH, subnetworks, coarse };
            let row = Row {
                id: format!("full-{dataset}-n{subnetworks}"),
                group: format!("{dataset}, ResNet-1001"),
                title: format!("N = {subnetworks}"),
                dataset,
                network,
                precision: Precision::default(),
                limit_train: None,
                epochs: Epochs::Fixed(PAPER_EPOCHS),
                seeds: seeds.to_vec(),
                held_out: false,
                paper: PaperCells::of(dataset, subnetworks),
                guessed_epoch: PAPER_EPOCH_SECONDS * set.images[0] as f64 / 50_000.0,
                source: None,
                training: Training::Paper,
            };
            rows.push(row);
        }
    }
    rehearsed(rows, rehearse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_small_table_start_with_n_1_and_have_names_of_their_own() {
        let rows = small(false).unwrap();
        for row in &rows {
            let first = rows.iter().find(|other| other.group == row.group).unwrap();
            assert_eq!(first.title, "N = 1");
            assert_eq!(rows.iter().filter(|other| other.id == row.id).count(), 1);
        }
        let runs: usize = rows.iter().map(|row| row.seeds.len()).sum();
        assert_eq!(runs, 6 * 5 + 2 * 3 + (3 + 3 * 5) + 2 * 3);
    }

    #[test]
    fn arguments_say_what_a_row_is() {
        let rows = small(false).unwrap();
        let arguments = |id: &str, epochs| {
            let row = rows.iter().find(|row| row.id == id).unwrap();
            row.arguments(2, epochs).join(" ")
        };
        assert_eq!(
            arguments("cifar10-29-n1", 12),
            "--dataset cifar10 --depth 29 --subnetworks 1 --epochs 12 --batch-size 32 \
             --learning-rate 0.05 --schedule step --milestones 8,11 --seed 2"
        );
        let cut = arguments("mnist-20-n3-recommended", 6);
        let expected =
            "--subnetworks 3 --coarse-unit coarsened --coarse-units 1 --limit-train 10000 --epochs";
        assert!(cut.contains(expected), "{cut}");
        let basic = arguments("mnist-20-n3-basic", 6);
        assert!(basic.contains("--coarse-unit basic --limit-train"), "{basic}");
        assert!(arguments("cifar10-29-n1-wide", 12).contains("--width "));
    }

    #[test]
    fn the_widened_network_has_the_parameters_of_the_cut_one() {
        let rows = small(false).unwrap();
        let parameters = |id: &str| {
            let row = rows.iter().find(|row| row.id == id).unwrap();
            parameters(&row.network, network::shape_of(row.dataset).unwrap()).unwrap().total as f64
        };
        let ratio = parameters("cifar10-29-n1-wide") / parameters("cifar10-29-n3-recommended");
        assert!((0.93..1.07).contains(&ratio), "{ratio}");
    }

    #[test]
    fn the_recommended_row_has_the_units_of_the_default_and_the_other_one_the_papers() {
        let rows = small(false).unwrap();
        let choices = |id: &str| {
            let row = rows.iter().find(|row| row.id == id).unwrap();
            let choices = row.network.coarse_choices().unwrap();
            choices.into_iter().map(|choice| (choice.kind, choice.units)).collect::<Vec<_>>()
        };
        assert_eq!(choices("cifar10-29-n3-recommended"), [(UnitKind::RECOMMENDED, 1); 2]);
        assert_eq!(choices("cifar10-29-n6-recommended"), [(UnitKind::RECOMMENDED, 1); 5]);
        assert_eq!(choices("mnist-20-n3-basic"), [(UnitKind::Basic, 4); 2]);
    }

    #[test]
    fn goals_are_of_rows_with_enough_seeds() {
        let rows = small(false).unwrap();
        for id in GOALS.iter().flat_map(|goal| [goal.row, goal.reference]) {
            let row = rows.iter().find(|row| row.id == id).unwrap();
            assert_eq!(row.seeds.len(), GOAL_PAIRS, "{id}");
        }
    }

    #[test]
    fn units_are_compared_on_held_out_images() {
        let rows = screening(false).unwrap();
        // The skip connection alone has no number of units.
        assert_eq!(rows.len(), 3 * (UnitKind::CONVOLUTIONAL.len() - 1) + 1);
        let arguments = |id: &str| {
            let row = rows.iter().find(|row| row.id == id).unwrap();
            row.arguments(1, 4).join(" ")
        };
        assert_eq!(
            arguments("screening-n3-grouped-2"),
            "--dataset cifar10 --depth 29 --subnetworks 3 --coarse-unit grouped --coarse-units 2 \
             --epochs 4 --validation 0.15 --limit-test 0 --batch-size 32 --learning-rate 0.05 \
             --schedule step --milestones 3 --seed 1"
        );
        assert!(!arguments("screening-n3-none").contains("--coarse-units"));
        assert!(rows.iter().all(|row| row.held_out && row.seeds == [1]));
    }

    #[test]
    fn rates_are_compared_on_held_out_images_with_the_settings_of_the_small_table() {
        let rows = rates(false).unwrap();
        assert_eq!(rows.len(), RATED.len() * TRIED_RATES.len());
        let last = rows.len() - TRIED_RATES.len();
        assert!(rows[last..].iter().all(|row| row.network.coarse == Some(Coarse::BASIC)));
        let row = rows.iter().find(|row| row.id == "rates-mnist-20-n1-lr0.1").unwrap();
        assert_eq!(row.learning_rate(), Some(0.1));
        assert_eq!(
            row.arguments(1, 6).join(" "),
            "--dataset mnist --depth 20 --subnetworks 1 --limit-train 10000 --epochs 6 \
             --validation 0.15 --limit-test 0 --batch-size 32 --learning-rate 0.1 --schedule step \
             --milestones 4,5 --seed 1"
        );
        // The flags of the default run.
        let row =
            rows.iter().find(|row| row.id == "rates-shapes-110-n2-recommended-lr0.05").unwrap();
        assert_eq!(
            row.arguments(1, 3).join(" "),
            "--dataset shapes --depth 110 --subnetworks 2 --coarse-unit coarsened --coarse-units 1 --epochs 3 \
             --validation 0.15 --limit-test 0 --batch-size 16 --learning-rate 0.05 --schedule step \
             --milestones 2 --seed 1"
        );
        assert!(rows.iter().all(|row| row.held_out && row.seeds == [1]));
        let rehearsed = rates(true).unwrap();
        assert!(rehearsed[2].arguments(1, 2).join(" ").contains("--learning-rate 0.1 "));
    }

    #[test]
    fn precisions_are_compared_with_the_runs_of_the_small_table() {
        let (rows, small) = (precision(false).unwrap(), small(false).unwrap());
        assert_eq!(rows.len(), 4);
        for pair in rows.chunks(2) {
            let of_table = small.iter().find(|row| row.id == pair[0].id).unwrap();
            let [own, table, half] =
                [&pair[0], of_table, &pair[1]].map(|row| row.arguments(2, 12).join(" "));
            assert_eq!(own, table);
            assert_eq!(half, own.replace(" --epochs", " --precision bf16 --epochs"));
            assert_eq!(pair[0].group, pair[1].group);
        }
    }

    #[test]
    fn initial_weights_are_compared_with_the_same_settings_otherwise() {
        let rows = initialization(false).unwrap();
        let arguments = |id: &str| {
            let row = rows.iter().find(|row| row.id == id).unwrap();
            row.arguments(1, 6).join(" ")
        };
        let scratch = arguments("initialization-scratch");
        assert_eq!(
            scratch,
            "--dataset cifar10 --depth 29 --subnetworks 3 --coarse-unit depthwise --coarse-units 4 \
             --epochs 6 --validation 0.15 --limit-test 0 --batch-size 32 --learning-rate 0.05 \
             --schedule step --milestones 4,5 --seed 1"
        );
        let with = |added: &str| scratch.replace("--seed", &format!("{added} --seed"));
        for (id, added) in [
            ("from-serial", "--init-from RUN-OF-initialization-serial-29"),
            ("distilled", "--init-from RUN-OF-initialization-serial-29 --distill 200"),
            ("nested", "--init-from RUN-OF-initialization-serial-20"),
            ("nested-distilled", "--init-from RUN-OF-initialization-serial-20 --distill 200"),
            (
                "nested-interpolated",
                "--init-from RUN-OF-initialization-serial-20 --init-units interpolate",
            ),
        ] {
            assert_eq!(arguments(&format!("initialization-{id}")), with(added));
        }
        assert!(arguments("initialization-serial-20").contains("--depth 20 --subnetworks 1 "));
        assert!(rows.iter().all(|row| row.held_out && row.seeds == [1]));
        // The source of each row is an earlier row with the same settings.
        for (index, row) in rows.iter().enumerate() {
            let Some(source) = &row.source else { continue };
            let before = rows[..index].iter().find(|before| before.id == source.row.id).unwrap();
            assert_eq!(row.source_arguments(1), Some(before.arguments(1, 6)));
        }
    }

    #[test]
    fn the_full_table_has_the_papers_settings_and_numbers() {
        let counts = PAPER_PARAMETERS.map(|(count, _)| count);
        let sets = PAPER_DATASETS.map(|set| set.name);
        let rows = full(&sets, &counts, &[1], false).unwrap();
        assert_eq!(rows.len(), 20);
        let row = rows.iter().find(|row| row.id == "full-cifar100-n6").unwrap();
        assert_eq!(
            row.arguments(1, 200).join(" "),
            "--dataset cifar100 --recipe paper --depth 1001 --subnetworks 6 --coarse-unit basic \
             --epochs 200 --seed 1"
        );
        let expected =
            PaperCells { parameters: Some(16.1), error: Some(20.87), seconds: Some(42_493.0) };
        assert_eq!(row.paper, expected);
        let mnist = rows.iter().find(|row| row.id == "full-mnist-n6").unwrap();
        assert_eq!(mnist.paper.seconds, None);
        assert!(full(&sets, &[4], &[1], false).is_err());
        assert!(full(&[DatasetName::Shapes], &[1], &[1], false).is_err());
    }

    #[test]
    fn a_rehearsal_takes_built_in_images_and_two_seeds() {
        let rows = full(&[DatasetName::Svhn], &[18], &[1, 2, 3], true).unwrap();
        assert_eq!((rows[0].dataset, rows[0].seeds.len()), (DatasetName::Shapes, 2));
        let arguments = rows[0].arguments(1, 2).join(" ");
        assert!(arguments.contains("--depth 56") && !arguments.contains("recipe"), "{arguments}");
        let rows = initialization(true).unwrap();
        let distilled = rows.iter().find(|row| row.id == "initialization-distilled").unwrap();
        assert!(distilled.arguments(1, 2).join(" ").contains("--distill 2 "));
        assert_eq!(distilled.source_arguments(1), Some(rows[0].arguments(1, 2)));
    }
}
