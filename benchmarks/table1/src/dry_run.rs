//! The report of a dry run.

use parareal_text::count;

use crate::queue::{self, Estimate, Pending};
use crate::record::Results;
use crate::row::{Row, Training};
use crate::runner::command;
use crate::table::duration;

/// Returns the remaining runs with their commands and estimated times. `jobs` runs are trained at a time, with `further`
/// arguments.
pub(crate) fn report(rows: &[Row], results: &Results, jobs: usize, further: &[String]) -> String {
    let left = queue::pending(rows, results);
    let mut text = String::new();
    for Pending { row, seed, epochs, estimate } in &left {
        let command = match epochs {
            Some(epochs) => command(row, *seed, *epochs, further),
            None => "(the number of epochs follows from --times)".into(),
        };
        text += &format!(
            "{}, {}, seed {seed}: {}\n  {command}\n",
            row.group,
            row.title,
            told(row, *estimate)
        );
    }
    let total: f64 = left.iter().map(|run| run.estimate.seconds()).sum();
    let is_paper = left.iter().any(|run| run.row.training == Training::Paper);
    let told = match is_paper {
        true => String::new(),
        false => format!(": about {}, {jobs} at a time", duration(total / jobs as f64)),
    };
    text + &format!("{} left{told}\n", count(left.len(), "run"))
}

fn told(row: &Row, estimate: Estimate) -> String {
    match estimate {
        Estimate::OfRuns(seconds) => format!("about {}, as its other runs", duration(seconds)),
        Estimate::Guessed(seconds) if row.training == Training::Paper => {
            format!("the paper's N = 1 would take {}", duration(seconds))
        }
        Estimate::Guessed(seconds) => format!("about {}", duration(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use parareal_data::DatasetName;

    use super::*;
    use crate::record::tests::{alone, record};
    use crate::study;

    #[test]
    fn a_dry_run_shows_commands_and_times() {
        let folder = tempfile::tempdir().unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let rows = study::full(&[DatasetName::Cifar100], &[1, 3], &[1, 2], false).unwrap();
        let text = report(&rows, &results, 1, &["--device".into(), "cuda:0".into()]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "cifar100, ResNet-1001, N = 1, seed 1: the paper's N = 1 would take 22.7 h"
        );
        assert!(lines[1].starts_with("  parareal train --dataset cifar100 --recipe paper "));
        assert!(lines[1].contains(" --device cuda:0 "), "{text}");
        assert_eq!(lines[8], "4 runs left");
        results.add(alone(record(&rows[1], 1, 200, 0.2, 7_200.0))).unwrap();
        let text = report(&rows, &results, 1, &[]);
        assert!(text.contains("N = 3, seed 2: about 2.0 h, as its other runs\n"), "{text}");

        let rows = study::rates(false).unwrap();
        let text = report(&rows[..1], &results, 2, &[]);
        assert!(text.contains("1 run left: about ") && text.ends_with(", 2 at a time\n"), "{text}");
    }
}
