//! The rows of the comparison of precisions.

use parareal_models::Precision;

use super::{CIFAR_29, Kind, rehearsed, row_of};
use crate::Result;
use crate::row::Row;

/// Number of seeds of the comparison of precisions.
const PRECISION_SEEDS: u64 = 3;

/// Returns rows of the small table in each precision. Rows of the same network form a group, 32-bit floats first.
///
/// # Errors
/// If a network cannot be built.
pub(crate) fn precision(rehearse: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for kind in [Kind::Serial, Kind::RECOMMENDED] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::small;

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
}
