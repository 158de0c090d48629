//! Results as tables in Markdown, between two marks of a file.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::record::{Results, RunRecord};
use crate::statistics::Mean;
use crate::study::Row;

/// The lines between which a table stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) begin: &'static str,
    pub(crate) end: &'static str,
}

/// Marks of the small table.
pub(crate) const SMALL: Marks =
    Marks { begin: "<!-- table: made by table1 -->", end: "<!-- end of table -->" };
/// Marks of the full table.
pub(crate) const FULL: Marks =
    Marks { begin: "<!-- full table: made by table1 -->", end: "<!-- end of full table -->" };

impl Marks {
    /// Puts a text between the marks of a document, instead of what is there.
    ///
    /// # Errors
    /// If the document lacks one of the marks.
    pub(crate) fn insert(self, document: &str, text: &str) -> Result<String, String> {
        let lacking = |mark| format!("there is no line {mark}");
        let (before, rest) = document.split_once(self.begin).ok_or_else(|| lacking(self.begin))?;
        let (_, after) = rest.split_once(self.end).ok_or_else(|| lacking(self.end))?;
        Ok(format!("{before}{}\n{text}\n{}{after}", self.begin, self.end))
    }
}

/// Returns the headings of the rows, in order.
pub(crate) fn groups(rows: &[Row]) -> Vec<&str> {
    let mut groups: Vec<&str> = Vec::new();
    for row in rows {
        if !groups.contains(&row.group.as_str()) {
            groups.push(&row.group);
        }
    }
    groups
}

/// The title of a row, with its epochs where they were derived.
pub(crate) fn title(row: &Row, results: &Results) -> String {
    match (&row.epochs, results.epochs(row)) {
        (crate::study::Epochs::AsLongAs { .. }, Some(epochs)) => {
            format!("{} ({epochs} epochs)", row.title)
        }
        _ => row.title.clone(),
    }
}

/// Error in percent at the end of each run, by seed.
pub(crate) fn errors(records: &[&RunRecord]) -> Vec<(u64, f64)> {
    records.iter().map(|record| (record.seed, 100.0 * record.test_error)).collect()
}

/// Returns the tables of all groups, with remarks on how they were made.
pub(crate) fn markdown(rows: &[Row], results: &Results) -> String {
    let all: Vec<_> = rows.iter().flat_map(|row| results.of(row)).collect();
    if all.is_empty() {
        return "No run has finished yet.".into();
    }
    let mut sections = Vec::new();
    for group in groups(rows) {
        let own: Vec<_> = rows.iter().filter(|row| row.group == group).collect();
        let records: Vec<_> = own.iter().flat_map(|row| results.of(row)).collect();
        if records.is_empty() {
            continue;
        }
        let images = |count: fn(&RunRecord) -> usize| {
            let counts: BTreeSet<_> = records.iter().map(|record| count(record)).collect();
            let counts: Vec<_> = counts.into_iter().map(grouped).collect();
            counts.join(" or ")
        };
        let epochs = results.epochs(own[0]).unwrap_or_default();
        sections.push(format!(
            "**{group}**: {} training and {} test images, {epochs} epochs\n\n{}",
            images(|record| record.train_images),
            images(|record| record.test_images),
            table(&own, results)
        ));
    }
    sections.push(remarks(&all));
    sections.join("\n\n")
}

fn table(rows: &[&Row], results: &Results) -> String {
    let serial = results.of(rows[0]);
    let serial_seconds = mean(&serial, |record| record.train_seconds);
    let paper_serial = rows[0].paper.seconds;
    let has_paper_seconds = rows.iter().any(|row| row.paper.seconds.is_some());
    let mut heads = vec![
        "network",
        "parameters",
        "seeds",
        "test error (%)",
        "minus N = 1 (points)",
        "wall clock",
        "saved",
        "paper: parameters",
        "paper: error (%)",
    ];
    if has_paper_seconds {
        heads.extend(["paper: wall clock", "paper: saved"]);
    }
    let mut lines = vec![heads.iter().map(|head| (*head).to_string()).collect::<Vec<_>>()];
    lines.push(vec!["---".into(); heads.len()]);
    for (index, row) in rows.iter().enumerate() {
        let records = results.of(row);
        let own = errors(&records);
        let values: Vec<f64> = own.iter().map(|(_, error)| *error).collect();
        let difference = match index {
            0 => None,
            _ => Mean::of_differences(&own, &errors(&serial)),
        };
        let seconds = mean(&records, |record| record.train_seconds);
        let saved = |seconds: Option<f64>, serial: Option<f64>| {
            let share = seconds.zip(serial).filter(|_| index > 0);
            share.map_or("-".into(), |(own, serial)| {
                format!("{:.1} %", 100.0 * (1.0 - own / serial))
            })
        };
        let mut cells = vec![
            title(row, results),
            records.first().map_or("-".into(), |record| millions(record.parameters as f64 / 1e6)),
            records.len().to_string(),
            Mean::of(&values).map_or("-".into(), |mean| with_error(mean, "")),
            difference.map_or("-".into(), |mean| with_error(mean, "+")),
            seconds.map_or("-".into(), duration),
            saved(seconds, serial_seconds),
            row.paper.parameters.map_or("-".into(), |paper| format!("{paper:.1}M")),
            row.paper.error.map_or("-".into(), |error| format!("{error:.2}")),
        ];
        if has_paper_seconds {
            cells.push(row.paper.seconds.map_or("-".into(), duration));
            cells.push(saved(row.paper.seconds, paper_serial));
        }
        lines.push(cells);
    }
    let lines: Vec<_> = lines.iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
    lines.join("\n")
}

/// How the runs were made.
fn remarks(records: &[&RunRecord]) -> String {
    let distinct = |of: fn(&RunRecord) -> String| {
        let values: BTreeSet<_> = records.iter().map(|record| of(record)).collect();
        values.into_iter().collect::<Vec<_>>()
    };
    let list = |of| distinct(of).join(", ");
    let mut text = format!(
        "Test error after the last epoch: mean and standard error over seeds; differences are of runs with the same \
         seed. Wall clock: mean time of training without evaluations, {} at a time on {}. {} finished {} \
         at {} {}.",
        distinct(|record| record.runs_at_a_time.to_string()).join(" or ")
            + if records.iter().all(|record| record.runs_at_a_time == 1) {
                " run"
            } else {
                " runs"
            },
        list(|record| format!("{} cores of {}", record.cores, record.cpu)),
        if records.len() == 1 { "1 run".into() } else { format!("{} runs", records.len()) },
        days(&distinct(|record| record.date.clone())),
        if distinct(|record| record.commit.clone()).len() == 1 { "commit" } else { "commits" },
        list(|record| record.commit.clone()),
    );
    let shared = records.iter().filter(|record| record.shared_machine).count();
    if shared > 0 {
        let _ = write!(
            text,
            " {shared} of {} runs shared the machine with other work, at the lowest priority: their wall clock is \
             no measurement of speed.",
            records.len()
        );
    }
    text
}

/// The days from the first to the last of a sorted list.
fn days(days: &[String]) -> String {
    match days {
        [first, .., last] => format!("from {first} to {last}"),
        _ => format!("on {}", days.join("")),
    }
}

fn mean(records: &[&RunRecord], of: fn(&RunRecord) -> f64) -> Option<f64> {
    Some(Mean::of(&records.iter().map(|record| of(record)).collect::<Vec<_>>())?.mean)
}

/// A mean with its standard error, where there is one; `sign` is a plus if the sign is always shown.
fn with_error(mean: Mean, sign: &str) -> String {
    let value =
        if sign.is_empty() { format!("{:.2}", mean.mean) } else { format!("{:+.2}", mean.mean) };
    match mean.error {
        Some(error) => format!("{value} ± {error:.2}"),
        None => value,
    }
}

/// A number of millions with three digits or so.
fn millions(count: f64) -> String {
    if count < 10.0 { format!("{count:.2}M") } else { format!("{count:.1}M") }
}

/// A duration in hours or minutes.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.0} s"),
        s if s < 3_600.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

/// A number with commas between groups of three digits.
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
    use super::*;
    use crate::record::tests::{record, row};
    use crate::study;

    #[test]
    fn tables_stand_between_marks() {
        let document = format!("Text.\n{}\nold\n{}\nMore.\n", SMALL.begin, SMALL.end);
        let new = SMALL.insert(&document, "new").unwrap();
        assert_eq!(new, format!("Text.\n{}\nnew\n{}\nMore.\n", SMALL.begin, SMALL.end));
        assert_eq!(SMALL.insert(&new, "new").unwrap(), new);
        assert!(FULL.insert(&document, "new").unwrap_err().contains("full table"));
        assert!(SMALL.insert(SMALL.begin, "new").is_err());
    }

    #[test]
    fn the_readme_has_the_marks_of_both_tables() {
        let readme = include_str!("../README.md");
        for marks in [SMALL, FULL] {
            marks.insert(readme, "").unwrap();
        }
    }

    #[test]
    fn a_table_has_means_paired_differences_and_the_papers_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::small(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        assert_eq!(markdown(&rows, &results), "No run has finished yet.");
        let (serial, cut) = (row("cifar10-29-n1"), row("cifar10-29-n3-recommended"));
        for (seed, one, three) in [(1, 0.30, 0.26), (2, 0.32, 0.30)] {
            results.add(record(&serial, seed, 12, one, 600.0)).unwrap();
            results.add(record(&cut, seed, 12, three, 900.0)).unwrap();
        }
        results.derive(&rows).unwrap();
        let text = markdown(&rows, &results);
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
                "| {} | 0.31M | 2 | 28.00 ± 2.00 | -3.00 ± 1.00 | 15.0 min | -50.0 % | 15.9M | 4.61 |",
                cut.title
            )
        );
        assert!(line("N = 1, wall clock of N = 3 (18 epochs)").contains("| - | 0 | - | - | - |"));
        assert!(text.contains("8,336 training and 1,017 test images, 12 epochs"), "{text}");
        assert!(text.contains("4 of 4 runs shared the machine"), "{text}");
        assert!(!text.contains("MNIST") && !text.contains("paper: wall clock"), "{text}");
    }

    #[test]
    fn the_full_table_has_the_papers_wall_clock() {
        let folder = tempfile::tempdir().unwrap();
        let rows =
            study::full(&[parareal_data::DatasetName::Cifar100], &[1, 3], &[1], false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        for (row, error, hours) in [(&rows[0], 0.21, 20.0), (&rows[1], 0.2, 15.0)] {
            results.add(record(row, 1, 200, error, 3_600.0 * hours)).unwrap();
        }
        let text = markdown(&rows, &results);
        assert!(
            text.contains(
                "| N = 1 | 0.31M | 1 | 21.00 | - | 20.0 h | - | 10.3M | 21.13 | 22.7 h | - |"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "| N = 3 | 0.31M | 1 | 20.00 | -1.00 | 15.0 h | 25.0 % | 15.9M | 21.14 | 16.5 h | 27.6 % |"
            ),
            "{text}"
        );
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
