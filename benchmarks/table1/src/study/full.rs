//! The rows of the paper's Table 1.

use parareal_data::DatasetName;
use parareal_models::{PAPER_DEPTH, PAPER_EPOCHS, PAPER_IMAGES, PAPER_WIDTH, Precision};

use super::rehearsed;
use crate::Result;
use crate::network::{Coarse, Network};
use crate::paper::{PAPER_DATASETS, PAPER_EPOCH_SECONDS, PAPER_PARAMETERS, PaperCells};
use crate::row::{Epochs, Row, Training};

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
            let network = Network { depth: PAPER_DEPTH, width: PAPER_WIDTH, subnetworks, coarse };
            let row = Row {
                id: format!("full-{dataset}-n{subnetworks}"),
                group: format!("{dataset}, ResNet-{PAPER_DEPTH}"),
                title: format!("N = {subnetworks}"),
                dataset,
                images: Some(set.images),
                network,
                precision: Precision::default(),
                limit_train: None,
                epochs: Epochs::Fixed(PAPER_EPOCHS),
                seeds: seeds.to_vec(),
                held_out: false,
                paper: PaperCells::of(dataset, subnetworks),
                guessed_epoch: PAPER_EPOCH_SECONDS * set.images[0] as f64 / PAPER_IMAGES as f64,
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
    use crate::study::initialization;

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
