//! The rows of the small version of the paper's Table 1, and its goals.

use parareal_models::UnitKind;

use super::{CIFAR_29, CIFAR_56, DEPTHWISE_2, Kind, MNIST_20, Setup, rehearsed, row_of};
use crate::Result;
use crate::network::Coarse;
use crate::row::Row;

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

/// The rows of the small table with their seeds. Runs are started in this order, seed by seed. `depthwise` × 2 and `basic` × 1 have
/// the next best results in the screening.
const ROWS: [(&Setup, Kind, u64); 14] = [
    (&CIFAR_29, Kind::Serial, 5),
    (&CIFAR_29, Kind::RECOMMENDED, 5),
    (&CIFAR_29, Kind::Widened, 5),
    (&CIFAR_29, Kind::SameTime, 5),
    (&CIFAR_29, Kind::Cut(3, Coarse::BASIC), 5),
    (&MNIST_20, Kind::Serial, 5),
    (&MNIST_20, Kind::RECOMMENDED, 5),
    (&MNIST_20, Kind::Cut(3, Coarse::BASIC), 5),
    (&MNIST_20, Kind::Cut(3, DEPTHWISE_2), 5),
    (&CIFAR_29, Kind::Cut(6, Coarse::RECOMMENDED), 3),
    (&CIFAR_56, Kind::Serial, 3),
    (&CIFAR_56, Kind::RECOMMENDED, 3),
    (&CIFAR_29, Kind::Cut(3, DEPTHWISE_2), 5),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{parameters, shape_of};

    #[test]
    fn rows_of_the_small_table_start_with_n_1_and_have_names_of_their_own() {
        let rows = small(false).unwrap();
        for row in &rows {
            let first = rows.iter().find(|other| other.group == row.group).unwrap();
            assert_eq!(first.title, "N = 1");
            assert_eq!(rows.iter().filter(|other| other.id == row.id).count(), 1);
        }
        let runs: usize = rows.iter().map(|row| row.seeds.len()).sum();
        assert_eq!(runs, 6 * 5 + 2 * 3 + 4 * 5 + 2 * 3);
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
            parameters(&row.network, shape_of(row.dataset).unwrap()).unwrap().total as f64
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
}
