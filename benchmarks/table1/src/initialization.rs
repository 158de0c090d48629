//! Tables of the comparison of initial weights.

use parareal_run::InterfaceRecord;

use crate::record::{Results, RunRecord};
use crate::row::Row;
use crate::table::{counts, duration, error_after, lines, mean, remarks};

/// Mean durations, in seconds, of the parts of a row's runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parts {
    /// Duration of the run whose weights they start from, including its distillation.
    pub(crate) source: f64,
    pub(crate) distillation: f64,
    pub(crate) training: f64,
}

impl Parts {
    /// Returns the parts of a row; `None` until a run of the row, and of the row that it starts from, has
    /// finished.
    pub(crate) fn of(row: &Row, results: &Results) -> Option<Self> {
        let records = results.of(row);
        let source = match &row.source {
            Some(source) => mean(&results.of(&source.row), |record| {
                record.train_seconds + distillation_seconds(record)
            })?,
            None => 0.0,
        };
        let distillation = mean(&records, distillation_seconds)?;
        Some(Self {
            source,
            distillation,
            training: mean(&records, |record| record.train_seconds)?,
        })
    }

    /// Returns the duration before the training, in seconds.
    pub(crate) fn before_training(&self) -> f64 {
        self.source + self.distillation
    }
}

fn distillation_seconds(record: &RunRecord) -> f64 {
    record.distillation.as_ref().map_or(0.0, |distillation| distillation.seconds)
}

/// Returns three tables: errors after each epoch, times, and losses of distillations.
pub(crate) fn markdown(rows: &[Row], results: &Results) -> String {
    let own: Vec<_> = rows.iter().collect();
    let records: Vec<_> = rows.iter().flat_map(|row| results.of(row)).collect();
    let mut sections = vec![counts(&own, results), errors(rows, results), times(rows, results)];
    sections.extend(losses(rows, results));
    let text = "One seed. The total includes the source run. Losses are squared errors, each \
                divided by the squared norm of its target: in the first step, and on average over the last steps.";
    sections.push(remarks(text, &records));
    sections.join("\n\n")
}

/// Returns a table of the mean error after each epoch.
fn errors(rows: &[Row], results: &Results) -> String {
    let epochs = rows.iter().filter_map(|row| results.epochs(row)).max().unwrap_or(0);
    let mut head = vec!["validation error (%) after epoch".to_string()];
    head.extend((1..=epochs).map(|epoch| epoch.to_string()));
    let mut cells = vec![head];
    for row in rows {
        let records = results.of(row);
        let error = |epoch| error_after(&records, epoch);
        let mut line = vec![row.title.clone()];
        line.extend(
            (0..epochs).map(|epoch| error(epoch).map_or("-".into(), |error| format!("{error:.1}"))),
        );
        cells.push(line);
    }
    lines(cells)
}

/// Returns a table of the wall clock of each part of the runs.
fn times(rows: &[Row], results: &Results) -> String {
    let head = ["wall clock", "serial run", "distillation", "training", "total"];
    let mut cells = vec![head.map(String::from).to_vec()];
    for row in rows {
        let mut line = vec![row.title.clone()];
        let found = Parts::of(row, results);
        line.extend(found.map_or(["-"; 4].map(String::from), |parts| {
            let Parts { source, distillation, training } = parts;
            [source, distillation, training, parts.before_training() + training]
                .map(|part| if part > 0.0 { duration(part) } else { String::new() })
        }));
        cells.push(line);
    }
    lines(cells)
}

/// Returns a table of the losses at each interface for the first seed; `None` until a distillation has
/// finished.
fn losses(rows: &[Row], results: &Results) -> Option<String> {
    let mut cells = Vec::new();
    for row in rows {
        let records = results.of(row);
        let Some(found) = records.first().and_then(|record| record.distillation.as_ref()) else {
            continue;
        };
        let of = |losses: &InterfaceRecord| {
            format!("{:.2} / {:.2}", losses.preprocessing, losses.coarse)
        };
        let ends = found.first.iter().zip(&found.last);
        let mut line = vec![row.title.clone(), found.steps.to_string()];
        line.extend(ends.map(|(first, last)| format!("{} → {}", of(first), of(last))));
        cells.push(line);
    }
    let interfaces = cells.iter().map(Vec::len).max()? - 2;
    let mut head = vec!["losses of `C_{j+1}` / `F_j`".to_string(), "steps".into()];
    head.extend((1..=interfaces).map(|interface| format!("interface {interface}")));
    cells.insert(0, head);
    Some(lines(cells))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::DistillationResult;
    use crate::record::tests::{record, row};
    use crate::study;

    fn distilled(seconds: f64) -> RunRecord {
        let losses = |coarse| {
            [1.0, 0.5].map(|preprocessing| InterfaceRecord { preprocessing, coarse }).to_vec()
        };
        let distillation =
            DistillationResult { steps: 200, seconds, first: losses(7.0), last: losses(0.125) };
        let run = record(&row("initialization-distilled"), 1, 6, 0.3, 600.0);
        RunRecord { distillation: Some(distillation), ..run }
    }

    #[test]
    fn tables_have_errors_times_and_losses() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::initialization(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        results.add(distilled(90.0)).unwrap();
        // The duration of the run that this run starts from is not known.
        assert_eq!(Parts::of(&rows[2], &results), None);
        results.add(record(&row("initialization-serial-29"), 1, 6, 0.4, 300.0)).unwrap();
        let text = markdown(&rows, &results);
        let own: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("| N = 3 from depth 29, distilled"))
            .collect();
        assert_eq!(
            own,
            [
                "| N = 3 from depth 29, distilled | 35.0 | 34.0 | 33.0 | 32.0 | 31.0 | 30.0 |",
                "| N = 3 from depth 29, distilled | 5.0 min | 1.5 min | 10.0 min | 16.5 min |",
                "| N = 3 from depth 29, distilled | 200 | 1.00 / 7.00 → 1.00 / 0.12 | 0.50 / 7.00 → 0.50 / 0.12 |",
            ],
            "{text}"
        );
        for line in [
            "| N = 1, depth 29 |  |  | 5.0 min | 5.0 min |",
            "| N = 3 from scratch | - | - | - | - |",
            "| losses of `C_{j+1}` / `F_j` | steps | interface 1 | interface 2 |",
        ] {
            assert!(text.lines().any(|own| own == line), "{text}");
        }
        assert!(text.contains("2 of 2 runs shared the machine"), "{text}");
    }

    #[test]
    fn there_are_no_losses_without_a_distillation() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::initialization(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        results.add(record(&rows[0], 1, 6, 0.4, 300.0)).unwrap();
        assert_eq!(losses(&rows, &results), None);
    }
}
