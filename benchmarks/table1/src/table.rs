//! Results as Markdown tables: errors with their differences, and functions that all tables share.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use parareal_models::CostTable;
use parareal_text::count;

use crate::Result;
use crate::arguments::distinct;
use crate::conditions::Conditions;
use crate::goals::goals;
use crate::record::{Results, RunRecord};
use crate::row::{Epochs, Row};
use crate::statistics::Mean;
use crate::times::Measurement;

/// Returns the headings of the groups of rows, in order.
pub(crate) fn groups(rows: &[Row]) -> Vec<&str> {
    distinct(&rows.iter().map(|row| row.group.as_str()).collect::<Vec<_>>())
}

/// Returns the title of a row, with the number of epochs if it follows from measured times.
pub(crate) fn title(row: &Row, results: &Results) -> String {
    match (&row.epochs, results.epochs(row)) {
        (Epochs::AsLongAs(_), Some(epochs)) => {
            format!("{} ({epochs} epochs)", row.title)
        }
        _ => row.title.clone(),
    }
}

/// Returns the name of the error that is compared.
pub(crate) fn error_name(rows: &[&Row]) -> &'static str {
    if rows.iter().any(|row| row.held_out) { "validation error" } else { "test error" }
}

/// Returns the error in percent at the end of each run, by seed.
pub(crate) fn errors(records: &[&RunRecord]) -> Vec<(u64, f64)> {
    records.iter().map(|record| (record.seed, 100.0 * record.error)).collect()
}

/// Returns the mean error over seeds after the epoch with this index, from 0, in percent.
pub(crate) fn error_after(records: &[&RunRecord], epoch: usize) -> Option<f64> {
    let of_epoch = records.iter().filter_map(|record| record.errors.get(epoch));
    let values: Vec<_> = of_epoch.map(|error| 100.0 * error).collect();
    Some(Mean::of(&values)?.mean)
}

/// Explanation of the errors of a table.
pub(crate) const TEST_ERRORS: &str = "Test error after the last epoch: mean and standard error over seeds; differences are of \
                                      runs with the same seed, and the number of pairs is given if some seeds have none.";

/// Returns the tables of all groups, with goals and remarks on the runs.
///
/// # Errors
/// If a network of a goal cannot be built, or measured costs lack one of its components.
pub(crate) fn markdown(
    rows: &[Row],
    results: &Results,
    costs: Option<&CostTable>,
) -> Result<String> {
    let all: Vec<_> = rows.iter().flat_map(|row| results.of(row)).collect();
    let mut sections = Vec::new();
    for group in groups(rows) {
        let own: Vec<_> = rows.iter().filter(|row| row.group == group).collect();
        if own.iter().any(|row| !results.of(row).is_empty()) {
            let counts = counts(&own, results);
            sections.push(format!("**{group}**: {counts}\n\n{}", table(&own, results)));
        }
    }
    sections.extend(goals(rows, results, costs)?);
    sections.push(match results.times() {
        None => remarks(TEST_ERRORS, &all),
        Some(times) => {
            let measured = rows.iter().filter_map(|row| times.of(row)).map(|measured| {
                let Measurement { cpu, cores, commit, date, .. } = measured;
                format!("on {cores} cores of {cpu}, {date}, commit {commit}")
            });
            let measured: BTreeSet<_> = measured.collect();
            let measured: Vec<_> = measured.into_iter().collect();
            let text = format!(
                "{TEST_ERRORS} Wall clock: images times epochs times the time of an image in training, measured with one \
                 run at a time, networks in turn ({}).",
                measured.join("; "),
            );
            remarks_without_times(&text, &all)
        }
    });
    Ok(sections.join("\n\n"))
}

/// Returns the numbers of images and epochs of the finished runs of some rows.
pub(crate) fn counts(rows: &[&Row], results: &Results) -> String {
    let records: Vec<_> = rows.iter().flat_map(|row| results.of(row)).collect();
    let images = |count: fn(&RunRecord) -> usize| {
        let counts: BTreeSet<_> = records.iter().map(|record| count(record)).collect();
        let counts: Vec<_> = counts.into_iter().map(grouped).collect();
        counts.join(" or ")
    };
    let epochs = rows.first().and_then(|row| results.epochs(row)).unwrap_or_default();
    format!(
        "{} training and {} {} images, {epochs} epochs",
        images(|record| record.train_images),
        images(|record| record.evaluated_images),
        if rows.iter().any(|row| row.held_out) { "held-out" } else { "test" },
    )
}

/// Formats rows of cells as a table. The first row is the header.
pub(crate) fn lines(mut rows: Vec<Vec<String>>) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    rows.insert(1.min(rows.len()), vec!["---".into(); columns]);
    let rows: Vec<_> = rows.iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
    rows.join("\n")
}

/// Returns the table of a group: errors, differences and wall clock beside the paper's.
fn table(rows: &[&Row], results: &Results) -> String {
    let serial_row = rows.iter().find(|row| row.network.subnetworks == 1);
    let serial = serial_row.map(|row| errors(&results.of(row))).unwrap_or_default();
    let seconds_of = |row: &Row| {
        if results.times().is_none() {
            return mean(&results.timed(row), |record| record.train_seconds);
        }
        let run = results.of(row).into_iter().next()?;
        Some(results.image_seconds(row)? * (run.train_images * results.epochs(row)?) as f64)
    };
    let serial_seconds = serial_row.and_then(|row| seconds_of(row));
    let paper_serial = serial_row.and_then(|row| row.paper.seconds);
    let has_paper_seconds = rows.iter().any(|row| row.paper.seconds.is_some());
    let mut heads = vec![
        "network",
        "parameters",
        "seeds",
        "test error (%)",
        "minus N = 1 (points)",
        "wall clock",
        "relative to N = 1",
        "paper, ResNet-1001: parameters",
        "paper: error (%)",
    ];
    if has_paper_seconds {
        heads.extend(["paper: wall clock", "paper: relative to N = 1"]);
    }
    let mut cells_of_rows = vec![heads.iter().map(|head| (*head).to_string()).collect::<Vec<_>>()];
    for row in rows {
        let records = results.of(row);
        let own = errors(&records);
        let values: Vec<f64> = own.iter().map(|(_, error)| *error).collect();
        let is_serial = serial_row.is_some_and(|serial| serial.id == row.id);
        let difference = Mean::of_differences(&own, &serial).filter(|_| !is_serial);
        let seconds = seconds_of(row);
        let share = |seconds: Option<f64>, serial: Option<f64>| {
            let share = seconds.zip(serial).filter(|_| !is_serial);
            share.map_or("-".into(), |(own, serial)| format!("{:.2}", own / serial))
        };
        let mut cells = vec![
            title(row, results),
            records.first().map_or("-".into(), |record| millions(record.parameters as f64 / 1e6)),
            records.len().to_string(),
            Mean::of(&values).map_or("-".into(), |mean| with_error(mean, "")),
            difference.map_or("-".into(), |mean| paired(mean, records.len())),
            seconds.map_or("-".into(), duration),
            share(seconds, serial_seconds),
            row.paper.parameters.map_or("-".into(), |paper| format!("{paper:.1}M")),
            row.paper.error.map_or("-".into(), |error| format!("{error:.2}")),
        ];
        if has_paper_seconds {
            cells.push(row.paper.seconds.map_or("-".into(), duration));
            cells.push(share(row.paper.seconds, paper_serial));
        }
        cells_of_rows.push(cells);
    }
    lines(cells_of_rows)
}

/// Returns remarks on runs with their wall clock: `text`, which explains the numbers, then when, where and how the runs were
/// made.
pub(crate) fn remarks(text: &str, records: &[&RunRecord]) -> String {
    let mut text = format!(
        "{text} Wall clock: mean time of training without evaluations, {}. {}",
        runs_at_a_time(records),
        finished(records)
    );
    let others = records.iter().filter(|record| !record.conditions.was_alone()).count();
    if others > 0 {
        let _ = write!(
            text,
            " {others} of {} shared the machine with other runs or other work: their wall clock does not measure speed.",
            count(records.len(), "run"),
        );
    }
    text
}

/// Returns remarks on runs whose times are not shown.
pub(crate) fn remarks_without_times(text: &str, records: &[&RunRecord]) -> String {
    format!("{text} Trained {}. {}", runs_at_a_time(records), finished(records))
}

/// Returns the distinct values of runs, sorted.
fn sorted_values(records: &[&RunRecord], of: fn(&RunRecord) -> String) -> Vec<String> {
    let values: BTreeSet<_> = records.iter().map(|record| of(record)).collect();
    values.into_iter().collect()
}

/// Returns the number of runs that were trained at a time, and the processors.
fn runs_at_a_time(records: &[&RunRecord]) -> String {
    let runs = match records.iter().all(|record| record.conditions.runs_at_a_time == 1) {
        true => "run",
        false => "runs",
    };
    let cpus = |record: &RunRecord| {
        let Conditions { cores, cpu, .. } = &record.conditions;
        format!("{} of {cpu}", count(*cores, "core"))
    };
    format!(
        "{} {runs} at a time on {}",
        sorted_values(records, |record| record.conditions.runs_at_a_time.to_string()).join(" or "),
        sorted_values(records, cpus).join(", "),
    )
}

/// Returns the number of runs, with dates and commits.
fn finished(records: &[&RunRecord]) -> String {
    let commits = records.iter().flat_map(|record| record.conditions.commit.split(", "));
    let commits: Vec<_> = commits.collect::<BTreeSet<_>>().into_iter().collect();
    format!(
        "{} finished {} at {} {}.",
        count(records.len(), "run"),
        days(&sorted_values(records, |record| record.date.clone())),
        if commits.len() == 1 { "commit" } else { "commits" },
        commits.join(", "),
    )
}

/// Formats the range of a sorted list of dates.
fn days(days: &[String]) -> String {
    match days {
        [first, .., last] => format!("from {first} to {last}"),
        _ => format!("on {}", days.join("")),
    }
}

/// Returns the mean of a value over runs; `None` without any.
pub(crate) fn mean(records: &[&RunRecord], of: fn(&RunRecord) -> f64) -> Option<f64> {
    Some(Mean::of(&records.iter().map(|record| of(record)).collect::<Vec<_>>())?.mean)
}

/// Formats the mean of paired differences, with the number of pairs if it is not that of the runs.
pub(crate) fn paired(mean: Mean, runs: usize) -> String {
    let text = with_error(mean, "+");
    match mean.samples {
        pairs if pairs == runs => text,
        pairs => format!("{text} ({})", count(pairs, "pair")),
    }
}

/// Formats a mean with its standard error, if there is one. `sign` is `+` to always show the sign, otherwise
/// empty.
pub(crate) fn with_error(mean: Mean, sign: &str) -> String {
    let value =
        if sign.is_empty() { format!("{:.2}", mean.mean) } else { format!("{:+.2}", mean.mean) };
    match mean.standard_error {
        Some(error) => format!("{value} ± {error:.2}"),
        None => value,
    }
}

/// Formats a number of millions with about three digits.
pub(crate) fn millions(count: f64) -> String {
    if count < 10.0 { format!("{count:.2}M") } else { format!("{count:.1}M") }
}

/// Formats a duration in seconds, minutes or hours.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.0} s"),
        s if s < 3_600.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

/// Formats a number with commas between groups of three digits.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use parareal_data::DatasetName;

    use super::*;
    use crate::record::tests::{alone, record, row, times};
    use crate::study;

    #[test]
    fn a_table_has_means_paired_differences_and_the_papers_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::small(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let (serial, cut) = (row("cifar10-29-n1"), row("cifar10-29-n3-recommended"));
        for (seed, one, three) in [(1, 0.30, 0.26), (2, 0.32, 0.30)] {
            results.add(alone(record(&serial, seed, 12, one, 600.0))).unwrap();
            results.add(alone(record(&cut, seed, 12, three, 900.0))).unwrap();
        }
        let text = markdown(&rows, &results, None).unwrap();
        let line = |start: &str| {
            let start = format!("| {start} |");
            text.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{text}"))
        };
        // Deviations of 1 point each: sqrt(2/1/2).
        assert_eq!(
            line("N = 1"),
            "| N = 1 | 0.31M | 2 | 31.00 ± 1.00 | - | 10.0 min | - | 10.3M | 4.96 |"
        );
        // Differences -4 and -2.
        assert_eq!(
            line(&cut.title),
            format!(
                "| {} | 0.31M | 2 | 28.00 ± 2.00 | -3.00 ± 1.00 | 15.0 min | 1.50 | 15.9M | 4.61 |",
                cut.title
            )
        );
        assert!(line("N = 1, wall clock of N = 3").contains("| - | 0 | - | - | - |"));
        assert!(text.contains("8,336 training and 1,017 test images, 12 epochs"), "{text}");
        assert!(!text.contains("shared the machine"), "{text}");
        assert!(!text.contains("MNIST") && !text.contains("paper: wall clock"), "{text}");
    }

    #[test]
    fn the_wall_clock_of_runs_beside_other_work_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::small(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let serial = row("cifar10-29-n1");
        results.add(record(&serial, 1, 12, 0.3, 6000.0)).unwrap();
        let text = markdown(&rows, &results, None).unwrap();
        assert!(text.contains("| N = 1 | 0.31M | 1 | 30.00 | - | - | - |"), "{text}");
        assert!(text.contains("1 of 1 run shared the machine"), "{text}");
        results.add(alone(record(&serial, 2, 12, 0.3, 600.0))).unwrap();
        let text = markdown(&rows, &results, None).unwrap();
        assert!(text.contains("| N = 1 | 0.31M | 2 | 30.00 ± 0.00 | - | 10.0 min | - |"), "{text}");
    }

    #[test]
    fn the_wall_clock_is_that_of_measured_times() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::small(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let cut = row("cifar10-29-n3-recommended");
        results.add(alone(record(&row("cifar10-29-n1"), 1, 12, 0.3, 6000.0))).unwrap();
        results.add(record(&cut, 1, 12, 0.2, 6000.0)).unwrap();
        // 8,336 images and 12 epochs.
        results.add_times(times(0.006, 0.012)).unwrap();
        let text = markdown(&rows, &results, None).unwrap();
        assert!(text.contains("| N = 1 | 0.31M | 1 | 30.00 | - | 10.0 min | - |"), "{text}");
        let line = format!("| {} | 0.31M | 1 | 20.00 | -10.00 | 20.0 min | 2.00 |", cut.title);
        assert!(text.contains(&line), "{text}");
        assert!(text.contains("| N = 1, wall clock of N = 3 (24 epochs) | - | 0 |"), "{text}");
        assert!(
            text.contains("(on 2 cores of some processor, 2026-01-02, commit 0123abc)"),
            "{text}"
        );
        assert!(!text.contains("shared the machine"), "{text}");
        // A network without a measured time has no wall clock.
        results.add(alone(record(&row("cifar10-29-n3-basic"), 1, 12, 0.2, 60.0))).unwrap();
        let text = markdown(&rows, &results, None).unwrap();
        assert!(
            text.contains("| N = 3, basic × 4 | 0.31M | 1 | 20.00 | -10.00 | - | - |"),
            "{text}"
        );
    }

    /// Returns the paper's table for CIFAR-100 with a run for each number of subnetworks, whose error and hours are given.
    fn full_table(runs: &[(usize, f64, f64)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let counts: Vec<usize> = runs.iter().map(|(subnetworks, ..)| *subnetworks).collect();
        let rows = study::full(&[DatasetName::Cifar100], &counts, &[1], false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        for (row, (_, error, hours)) in rows.iter().zip(runs) {
            results.add(alone(record(row, 1, 200, *error, 3_600.0 * hours))).unwrap();
        }
        markdown(&rows, &results, None).unwrap()
    }

    #[test]
    fn the_full_table_has_the_papers_wall_clock() {
        let text = full_table(&[(1, 0.21, 20.0), (3, 0.2, 15.0)]);
        assert!(
            text.contains(
                "| N = 1 | 0.31M | 1 | 21.00 | - | 20.0 h | - | 10.3M | 21.13 | 22.7 h | - |"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "| N = 3 | 0.31M | 1 | 20.00 | -1.00 | 15.0 h | 0.75 | 15.9M | 21.14 | 16.5 h | 0.72 |"
            ),
            "{text}"
        );
    }

    #[test]
    fn without_a_serial_row_nothing_is_compared_with_it() {
        let text = full_table(&[(3, 0.2, 1.0), (6, 0.2, 1.0)]);
        assert!(text.contains("| N = 6 | 0.31M | 1 | 20.00 | - | 1.0 h | - |"), "{text}");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [7, 1_017, 73_257, 1_000_000].map(grouped),
            ["7", "1,017", "73,257", "1,000,000"]
        );
        assert_eq!([40.0, 90.0, 7_200.0].map(duration), ["40 s", "1.5 min", "2.0 h"]);
    }
}
