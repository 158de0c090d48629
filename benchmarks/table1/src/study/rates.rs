//! The rows of the comparison of learning rates on held-out images.

use super::{
    CIFAR_29, CIFAR_110, DEPTHWISE_2, Kind, MNIST_20, MNIST_110, SHAPES_110, Setup, holding_out,
    rehearsed, row_of,
};
use crate::Result;
use crate::network::Coarse;
use crate::row::Row;

/// Learning rates to compare.
pub(crate) const TRIED_RATES: [f64; 3] = [0.02, 0.05, 0.1];
/// Networks for which learning rates are compared, each with the epochs of its setup.
const RATED: [(&Setup, Kind); 12] = [
    (&CIFAR_29, Kind::Serial),
    (&CIFAR_29, Kind::RECOMMENDED),
    (&CIFAR_29, Kind::Cut(3, DEPTHWISE_2)),
    (&MNIST_20, Kind::Serial),
    (&MNIST_20, Kind::RECOMMENDED),
    (&MNIST_20, Kind::Cut(3, DEPTHWISE_2)),
    (&SHAPES_110, Kind::Serial),
    (&SHAPES_110, Kind::Cut(2, Coarse::RECOMMENDED)),
    (&MNIST_110, Kind::Serial),
    (&MNIST_110, Kind::Cut(2, Coarse::RECOMMENDED)),
    (&CIFAR_110, Kind::Serial),
    (&CIFAR_110, Kind::Cut(2, Coarse::RECOMMENDED)),
];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_compared_on_held_out_images_with_the_settings_of_the_small_table() {
        let rows = rates(false).unwrap();
        assert_eq!(rows.len(), RATED.len() * TRIED_RATES.len());
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
}
