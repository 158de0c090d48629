//! The order of runs, and what is left to do.

use crate::record::Results;
use crate::row::{Epochs, Row};

/// A run that is not finished.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending<'a> {
    pub(crate) row: &'a Row,
    pub(crate) seed: u64,
    /// `None` while they depend on other runs.
    pub(crate) epochs: Option<usize>,
    /// Estimated seconds of training.
    pub(crate) seconds: f64,
}

/// Returns the runs that are left, seed by seed over all rows.
pub(crate) fn pending<'a>(rows: &'a [Row], results: &Results) -> Vec<Pending<'a>> {
    let last = rows.iter().flat_map(|row| &row.seeds).max().copied().unwrap_or(0);
    let mut left = Vec::new();
    for seed in 0..=last {
        for row in rows.iter().filter(|row| row.seeds.contains(&seed)) {
            if results.get(row, seed).is_none() {
                let (epochs, seconds) = (results.epochs(row), seconds(row, rows, results));
                left.push(Pending { row, seed, epochs, seconds });
            }
        }
    }
    left
}

/// Estimates the seconds of a run: from finished runs of the row, otherwise from a guess for an epoch.
fn seconds(row: &Row, rows: &[Row], results: &Results) -> f64 {
    let finished = results.of(row);
    if !finished.is_empty() {
        let sum: f64 = finished.iter().map(|record| record.train_seconds).sum();
        return sum / finished.len() as f64;
    }
    match &row.epochs {
        Epochs::Fixed(epochs) => *epochs as f64 * row.guessed_epoch,
        Epochs::AsLongAs { cut, .. } => {
            let cut = rows.iter().find(|other| other.id == *cut);
            cut.map_or(row.guessed_epoch, |cut| seconds(cut, rows, results))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, row};
    use crate::study;

    #[test]
    fn runs_go_seed_by_seed_and_finished_ones_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::small(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let left = pending(&rows, &results);
        let all: usize = rows.iter().map(|row| row.seeds.len()).sum();
        assert_eq!(left.len(), all);
        assert!(left.is_sorted_by_key(|run| run.seed));
        assert_eq!((left[0].row.id.as_str(), left[0].seed), ("cifar10-29-n1", 1));
        assert_eq!(left[0].seconds, 12.0 * rows[0].guessed_epoch);

        let serial = row("cifar10-29-n1");
        results.add(record(&serial, 1, 12, 0.3, 60.0)).unwrap();
        let left = pending(&rows, &results);
        assert_eq!(left.len(), all - 1);
        assert_eq!(left[0].row.id, "cifar10-29-n3-recommended");
        // The next seed of the row takes as long as the first.
        let next = left.iter().find(|run| run.row.id == serial.id).unwrap();
        assert_eq!((next.seed, next.seconds), (2, 60.0));
        let same = left.iter().find(|run| run.row.id == "cifar10-29-n1-same-time").unwrap();
        let cut = left.iter().find(|run| run.row.id == "cifar10-29-n3-recommended").unwrap();
        assert_eq!((same.epochs, same.seconds), (None, cut.seconds));
    }
}
