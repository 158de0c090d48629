//! The remaining runs and their order.

use std::collections::BTreeMap;

use crate::record::Results;
use crate::row::{Epochs, Row};
use crate::scratch::{Scratch, has_checkpoint, is_complete};
use crate::table::mean;

/// A run that has not finished.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending<'a> {
    pub(crate) row: &'a Row,
    pub(crate) seed: u64,
    /// Number of epochs; `None` until the times that it follows from are measured.
    pub(crate) epochs: Option<usize>,
    pub(crate) estimate: Estimate,
}

/// An estimate of the training time of a run, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Estimate {
    /// The mean time of the finished runs of the row.
    OfRuns(f64),
    /// A guess, without any finished run.
    Guessed(f64),
}

impl Estimate {
    pub(crate) fn seconds(self) -> f64 {
        match self {
            Self::OfRuns(seconds) | Self::Guessed(seconds) => seconds,
        }
    }
}

/// Returns the remaining runs: all rows with the first seed, then all rows with the second, and so on.
pub(crate) fn pending<'a>(rows: &'a [Row], results: &Results) -> Vec<Pending<'a>> {
    let last = rows.iter().flat_map(|row| &row.seeds).max().copied().unwrap_or(0);
    let mut left = Vec::new();
    for seed in 0..=last {
        for row in rows.iter().filter(|row| row.seeds.contains(&seed)) {
            if results.get(row, seed).is_none() {
                let (epochs, estimate) = (results.epochs(row), estimate(row, results));
                left.push(Pending { row, seed, epochs, estimate });
            }
        }
    }
    left
}

/// The runs that this process has started, by row and seed. The value is true until the run ends.
#[derive(Debug, Default)]
pub(crate) struct Started(BTreeMap<(String, u64), bool>);

impl Started {
    /// Records that a run starts.
    pub(crate) fn begin(&mut self, row: &Row, seed: u64) {
        self.0.insert((row.id.clone(), seed), true);
    }

    /// Records that a run has ended, whether it finished or not.
    pub(crate) fn end(&mut self, row: &Row, seed: u64) {
        self.0.insert((row.id.clone(), seed), false);
    }

    fn has(&self, row: &Row, seed: u64) -> bool {
        self.0.contains_key(&(row.id.clone(), seed))
    }

    fn is_active(&self, row: &Row, seed: u64) -> bool {
        self.0.get(&(row.id.clone(), seed)) == Some(&true)
    }

    fn any_is_active(&self) -> bool {
        self.0.values().any(|is_active| *is_active)
    }
}

/// The next action of a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next<'a> {
    /// Starts this run.
    Run {
        row: &'a Row,
        seed: u64,
        epochs: usize,
        /// True if the result of the run is stored, but other runs need its folder, which is missing.
        again: bool,
    },
    /// Waits for the end of an active run, because other runs may depend on it.
    Wait,
    /// Ends.
    Done,
}

/// Returns the next action. A run that starts from the weights of another run waits until the other run has
/// finished, unless it can be resumed.
pub(crate) fn next<'a>(
    rows: &'a [Row],
    results: &Results,
    scratch: &Scratch,
    started: &Started,
) -> Next<'a> {
    let mut left = pending(rows, results);
    left.retain(|run| !started.has(run.row, run.seed));
    for Pending { row, seed, epochs, .. } in &left {
        let (row, seed) = (*row, *seed);
        let Some(epochs) = *epochs else { continue };
        let ready = Next::Run { row, seed, epochs, again: false };
        let Some(source) = &row.source else { return ready };
        if has_checkpoint(&scratch.run(row, seed, epochs)) {
            return ready;
        }
        if results.get(&source.row, seed).is_none() || started.is_active(&source.row, seed) {
            continue;
        }
        if is_complete(&scratch.run(&source.row, seed, source.epochs)) {
            return ready;
        }
        if !started.has(&source.row, seed) {
            return Next::Run { row: &source.row, seed, epochs: source.epochs, again: true };
        }
    }
    if left.is_empty() || !started.any_is_active() { Next::Done } else { Next::Wait }
}

/// Estimates the duration of a run from finished runs of the row or, without any, from a guess for an epoch.
fn estimate(row: &Row, results: &Results) -> Estimate {
    if let Some(seconds) = mean(&results.of(row), |record| record.train_seconds) {
        return Estimate::OfRuns(seconds);
    }
    match &row.epochs {
        Epochs::Fixed(epochs) => Estimate::Guessed(*epochs as f64 * row.guessed_epoch),
        Epochs::AsLongAs(other) => Estimate::Guessed(estimate(other, results).seconds()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, row};
    use crate::study;

    #[test]
    fn runs_go_seed_by_seed_and_finished_ones_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::small(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let left = pending(&rows, &results);
        let all: usize = rows.iter().map(|row| row.seeds.len()).sum();
        assert_eq!(left.len(), all);
        assert!(left.is_sorted_by_key(|run| run.seed));
        assert_eq!((left[0].row.id.as_str(), left[0].seed), ("cifar10-29-n1", 1));
        assert_eq!(left[0].estimate, Estimate::Guessed(12.0 * rows[0].guessed_epoch));

        let serial = row("cifar10-29-n1");
        results.add(record(&serial, 1, 12, 0.3, 60.0)).unwrap();
        let left = pending(&rows, &results);
        assert_eq!(left.len(), all - 1);
        assert_eq!(left[0].row.id, "cifar10-29-n3-recommended");
        // The estimate for the next seed of the row is the time of the first.
        let next = left.iter().find(|run| run.row.id == serial.id).unwrap();
        assert_eq!((next.seed, next.estimate), (2, Estimate::OfRuns(60.0)));
        let same = left.iter().find(|run| run.row.id == "cifar10-29-n1-same-time").unwrap();
        let cut = left.iter().find(|run| run.row.id == "cifar10-29-n3-recommended").unwrap();
        assert_eq!((same.epochs, same.estimate), (None, cut.estimate));
    }

    /// Describes the next action: the row, and whether it is trained again.
    fn told(next: Next<'_>) -> String {
        match next {
            Next::Run { row, again, .. } => {
                row.id.replace("initialization-", "") + if again { " again" } else { "" }
            }
            Next::Wait => "wait".into(),
            Next::Done => "done".into(),
        }
    }

    /// Returns the serial network of depth 29 and the two rows that start from its run.
    fn serial_and_started() -> Vec<Row> {
        let mut rows = study::initialization(false).unwrap();
        rows.truncate(4);
        // The row from scratch.
        rows.remove(1);
        rows
    }

    /// Creates a folder like that of a complete run.
    fn complete(folder: &std::path::Path) {
        std::fs::create_dir_all(folder.join("checkpoints/step-00000004")).unwrap();
        let end = parareal_run::Line::End(Default::default());
        std::fs::write(folder.join("metrics.jsonl"), serde_json::to_string(&end).unwrap()).unwrap();
    }

    #[test]
    fn a_run_waits_for_the_one_that_it_starts_from() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch { folder: folder.path().join("scratch") };
        let rows = serial_and_started();
        let mut results = Results::read(folder.path()).unwrap();
        let mut started = Started::default();
        let next = |results: &Results, started: &Started| {
            told(super::next(&rows, results, &scratch, started))
        };
        assert_eq!(next(&results, &started), "serial-29");
        started.begin(&rows[0], 1);
        assert_eq!(next(&results, &started), "wait");
        complete(&scratch.run(&rows[0], 1, 6));
        results.add(record(&rows[0], 1, 6, 0.4, 60.0)).unwrap();
        started.end(&rows[0], 1);
        assert_eq!(next(&results, &started), "distilled");
        started.begin(&rows[1], 1);
        assert_eq!(next(&results, &started), "from-serial");
        started.begin(&rows[2], 1);
        assert_eq!(next(&results, &started), "done");
        // A failed run is not started again, and neither are the runs that depend on it.
        let results = Results::read(&folder.path().join("none")).unwrap();
        let mut started = Started::default();
        started.begin(&rows[0], 1);
        started.end(&rows[0], 1);
        assert_eq!(next(&results, &started), "done");
    }

    #[test]
    fn a_source_whose_folder_is_gone_is_trained_again_for_runs_that_cannot_be_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch { folder: folder.path().join("scratch") };
        let rows = serial_and_started();
        let mut results = Results::read(folder.path()).unwrap();
        results.add(record(&rows[0], 1, 6, 0.4, 60.0)).unwrap();
        let mut started = Started::default();
        let next = |results: &Results, started: &Started| {
            told(super::next(&rows, results, &scratch, started))
        };
        assert_eq!(next(&results, &started), "serial-29 again");
        let resumable = scratch.run(&rows[1], 1, 6).join("checkpoints/step-00000004");
        std::fs::create_dir_all(resumable).unwrap();
        assert_eq!(next(&results, &started), "distilled");
        started.begin(&rows[1], 1);
        assert_eq!(next(&results, &started), "serial-29 again");
        started.begin(&rows[0], 1);
        // The run is complete, but its result is not stored yet.
        complete(&scratch.run(&rows[0], 1, 6));
        assert_eq!(next(&results, &started), "wait");
        started.end(&rows[0], 1);
        assert_eq!(next(&results, &started), "from-serial");
    }
}
