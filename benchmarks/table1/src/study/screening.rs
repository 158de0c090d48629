//! The rows of the comparison of coarse units on held-out images.

use parareal_models::UnitKind;

use super::{CIFAR_29, Kind, Setup, holding_out, rehearsed, row_of};
use crate::Result;
use crate::network::Coarse;
use crate::row::Row;

/// Setup of the comparison of coarse units. All units are trained with its rate for the recommended unit.
const SCREENING: Setup = Setup { id: "screening", epochs: 4, ..CIFAR_29 };
/// Numbers of units of the compared coarse networks.
const SCREENED_UNITS: [usize; 3] = [1, 2, 4];

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
                ..holding_out(row, SCREENING.rates.cut)
            });
        }
    }
    rehearsed(rows, rehearse)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
