//! The command line.

use std::path::PathBuf;

use clap::Parser;
use parareal_data::DatasetName;

use crate::Result;
use crate::paper::{PAPER_DATASETS, PAPER_PARAMETERS};
use crate::record::Results;
use crate::row::Row;
use crate::study::{self, Study};

/// Flags of trained runs.
const OF_RUNS: [&str; 5] = ["shared", "jobs", "workers", "threads", "dry_run"];
/// Flags of everything that runs `parareal`.
const OF_MACHINE: [&str; 5] = ["data_dir", "scratch", "parareal", "commit", "device"];
/// Flags of what is made from stored results.
const OF_RESULTS: [&str; 3] = ["summary", "write", "check"];

/// Trains the remaining runs of a table and stores their results; resumes interrupted runs
#[derive(Parser, Debug)]
#[command(name = "table1")]
pub(crate) struct Arguments {
    /// Folder that holds each data set in a folder of its name
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Folder of unfinished runs, which are resumed; the folders of finished runs are deleted once no other run
    /// starts from them
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// Program to train with; it is copied, so that it can be rebuilt during the runs [default:
    /// target/release/parareal]
    #[arg(long, value_name = "FILE")]
    pub(crate) parareal: Option<PathBuf>,
    /// Commit of the program, for the results [default: that of the working tree]
    #[arg(long, value_name = "COMMIT", requires = "parareal")]
    pub(crate) commit: Option<String>,
    /// Runs that are trained at the same time [default: 2; 1 with --full]
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Workers of a run [default: 1; with --full that of `parareal train`]
    #[arg(long, value_name = "K")]
    workers: Option<usize>,
    /// Threads of a worker [default: 1; with --full that of `parareal train`]
    #[arg(long, value_name = "T")]
    threads: Option<usize>,
    /// Note in each result that the machine also does other work
    #[arg(long)]
    pub(crate) shared: bool,
    /// Measure the time of an image for all networks, in turn; nothing else should run on the machine
    #[arg(
        long,
        conflicts_with_all = OF_RUNS,
        conflicts_with_all = OF_RESULTS,
        conflicts_with_all = ["rehearse", "full", "screening", "rates", "initialization", "precision"]
    )]
    pub(crate) times: bool,
    /// Show the remaining runs with their commands and estimated times, without training
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Try every row with a few built-in images, in a folder of its own
    #[arg(long, conflicts_with_all = OF_RESULTS)]
    pub(crate) rehearse: bool,
    /// Print the tables from the results so far
    #[arg(long, conflicts_with_all = ["write", "check"], conflicts_with_all = OF_RUNS, conflicts_with_all = OF_MACHINE)]
    pub(crate) summary: bool,
    /// Write the tables to README.md and draw the plot next to it
    #[arg(long, conflicts_with = "check", conflicts_with_all = OF_RUNS, conflicts_with_all = OF_MACHINE)]
    pub(crate) write: bool,
    /// Fail if README.md or the plot differ from the results
    #[arg(long, conflicts_with_all = OF_RUNS, conflicts_with_all = OF_MACHINE)]
    pub(crate) check: bool,
    /// The paper's configuration: ResNet-1001, batch 128, 200 epochs, complete data sets
    #[arg(long)]
    pub(crate) full: bool,
    /// Compare coarse units on held-out training images, for ../coarse-units
    #[arg(long, conflicts_with = "full")]
    screening: bool,
    /// Compare learning rates on held-out training images, for ../coarse-units
    #[arg(long, conflicts_with_all = ["full", "screening"])]
    rates: bool,
    /// Compare initial weights on held-out training images, for ../initialization
    #[arg(long, conflicts_with_all = ["full", "screening", "rates"])]
    initialization: bool,
    /// Compare precisions, with runs of the small table and others
    #[arg(long, conflicts_with_all = ["full", "screening", "rates", "initialization"])]
    precision: bool,
    /// Device of the full runs, for example cuda:0; can be repeated for several devices [default: cpu]
    #[arg(long, value_name = "DEVICE", requires = "full")]
    device: Vec<String>,
    /// Data sets to train for the full table
    #[arg(
        long,
        value_name = "NAME,..",
        requires = "full",
        value_delimiter = ',',
        conflicts_with_all = OF_RESULTS,
        default_values_t = PAPER_DATASETS.map(|set| set.name)
    )]
    datasets: Vec<DatasetName>,
    /// Numbers of subnetworks to train for the full table
    #[arg(
        long,
        value_name = "N,..",
        requires = "full",
        value_delimiter = ',',
        conflicts_with_all = OF_RESULTS,
        default_values_t = PAPER_PARAMETERS.map(|(count, _)| count)
    )]
    subnetworks: Vec<usize>,
    /// Rows to train or to time, by the names of the files in results/ without -seedN.json [default: all]
    #[arg(
        long,
        value_name = "ROW,..",
        value_delimiter = ',',
        conflicts_with_all = ["rehearse", "initialization"],
        conflicts_with_all = OF_RESULTS
    )]
    rows: Vec<String>,
    /// Seeds to train [default: all; 1 with --full]
    #[arg(
        long,
        value_name = "S,..",
        value_delimiter = ',',
        conflicts_with_all = ["times", "rehearse", "initialization"],
        conflicts_with_all = OF_RESULTS
    )]
    seeds: Vec<u64>,
}

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|&value| value > 0).ok_or_else(|| "expected at least 1".into())
}

impl Arguments {
    pub(crate) fn study(&self) -> Study {
        match self {
            Self { full: true, .. } => Study::Full,
            Self { screening: true, .. } => Study::Screening,
            Self { rates: true, .. } => Study::Rates,
            Self { initialization: true, .. } => Study::Initialization,
            Self { precision: true, .. } => Study::Precision,
            _ => Study::Small,
        }
    }

    /// Returns the rows of the table. The full table made from stored results has the seeds of all of them.
    ///
    /// # Errors
    /// If a network cannot be built, or the paper's table has no such row.
    pub(crate) fn rows(&self, results: &Results) -> Result<Vec<Row>> {
        match self.study() {
            Study::Small => study::small(self.rehearse),
            Study::Full => {
                let seeds = match (self.is_from_results(), &self.seeds[..]) {
                    (true, _) => results.seeds(),
                    (false, []) => vec![1],
                    (false, seeds) => distinct(seeds),
                };
                let (datasets, counts) = (distinct(&self.datasets), distinct(&self.subnetworks));
                study::full(&datasets, &counts, &seeds, self.rehearse)
            }
            Study::Screening => study::screening(self.rehearse),
            Study::Rates => study::rates(self.rehearse),
            Study::Initialization => study::initialization(self.rehearse),
            Study::Precision => study::precision(self.rehearse),
        }
    }

    /// Returns true if tables are made from stored results.
    fn is_from_results(&self) -> bool {
        self.summary || self.write || self.check
    }

    /// Returns the rows and seeds that the command line selects.
    ///
    /// # Errors
    /// If the table lacks a row or a seed, or times are to be measured for a part of a group.
    pub(crate) fn selected(&self, rows: &[Row]) -> Result<Vec<Row>> {
        if let Some(id) = self.rows.iter().find(|id| rows.iter().all(|row| row.id != **id)) {
            let known: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
            return Err(format!("--rows {id}: expected some of {}", known.join(", ")).into());
        }
        let mut selected = rows.to_vec();
        selected.retain(|row| self.rows.is_empty() || self.rows.contains(&row.id));
        for seed in &self.seeds {
            if selected.iter().all(|row| !row.seeds.contains(seed)) {
                return Err(format!("--seeds {seed}: no row has this seed").into());
            }
        }
        if self.times {
            check_groups(rows, &selected)?;
        }
        for row in &mut selected {
            row.seeds.retain(|seed| self.seeds.is_empty() || self.seeds.contains(seed));
        }
        Ok(selected)
    }

    /// Returns the number of runs that are trained at the same time.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.unwrap_or(if self.full { 1 } else { 2 })
    }

    /// Returns the arguments of `parareal train` that do not affect the result.
    pub(crate) fn machine_arguments(&self) -> Vec<String> {
        let default = (!self.full).then_some(1);
        let mut list = Vec::new();
        for (name, value) in [("--workers", self.workers), ("--threads", self.threads)] {
            if let Some(value) = value.or(default) {
                list.extend([name.to_string(), value.to_string()]);
            }
        }
        for device in &self.device {
            list.extend(["--device".to_string(), device.clone()]);
        }
        list
    }
}

/// Checks that the selected rows are all rows of their groups: times are compared within a group, so they have to be measured
/// together.
///
/// # Errors
/// If a row is missing.
fn check_groups(rows: &[Row], selected: &[Row]) -> Result<()> {
    let is_selected = |row: &Row| selected.iter().any(|other| other.id == row.id);
    let in_group = |row: &Row| selected.iter().any(|other| other.group == row.group);
    let missing: Vec<_> = rows.iter().filter(|row| in_group(row) && !is_selected(row)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = missing.iter().map(|row| row.id.as_str()).collect();
    Err(format!("--rows: the times of a group are measured together; add {}", ids.join(",")).into())
}

/// Returns the values without repetitions, in order.
pub(crate) fn distinct<T: Copy + PartialEq>(values: &[T]) -> Vec<T> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(value) {
            found.push(*value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;
    use crate::record::tests::record;

    fn parsed(line: &str) -> std::result::Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("table1").chain(line.split_whitespace()))
    }

    fn no_results() -> Results {
        Results::read(std::path::Path::new("no such folder")).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_flag_selects_the_study() {
        for (line, expected) in [
            ("", Study::Small),
            ("--full", Study::Full),
            ("--screening --check", Study::Screening),
            ("--rates --write", Study::Rates),
            ("--initialization --rehearse", Study::Initialization),
            ("--rows cifar10-29-n1 --seeds 2", Study::Small),
            ("--times --rows mnist-20-n1", Study::Small),
        ] {
            assert_eq!(parsed(line).unwrap().study(), expected, "{line}");
        }
    }

    #[test]
    fn flags_that_would_have_no_effect_are_refused() {
        for line in [
            "--screening --rates",
            "--initialization --rates",
            "--initialization --seeds 2",
            "--full --seeds 1,2 --check",
            "--full --datasets mnist --write",
            "--write --jobs 1",
            "--check --data-dir images",
            "--summary --rehearse",
            "--summary --shared",
            "--times --jobs 2",
            "--rehearse --seeds 1",
            "--rows mnist-20-n1 --check",
        ] {
            assert_eq!(parsed(line).unwrap_err().kind(), ErrorKind::ArgumentConflict, "{line}");
        }
        let error = parsed("--jobs 0").unwrap_err();
        assert!(error.to_string().contains("expected at least 1"), "{error}");
    }

    #[test]
    fn the_full_table_has_the_given_seeds_and_those_of_all_results() {
        let rows = |line: &str, results: &Results| parsed(line).unwrap().rows(results).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let given = rows("--full --seeds 2,5,2 --datasets mnist,mnist", &results);
        assert!(given.iter().all(|row| row.seeds == [2, 5]));
        assert_eq!(given.len(), PAPER_PARAMETERS.len());
        assert!(rows("--full", &results).iter().all(|row| row.seeds == [1]));
        results.add(record(&given[0], 5, 200, 0.1, 60.0)).unwrap();
        results.add(record(&given[1], 2, 200, 0.1, 60.0)).unwrap();
        let written = rows("--full --write", &results);
        assert_eq!(written.len(), PAPER_PARAMETERS.len() * PAPER_DATASETS.len());
        assert!(written.iter().all(|row| row.seeds == [2, 5]));
    }

    #[test]
    fn rows_and_seeds_are_selected() {
        let selected = |line: &str| {
            let arguments = parsed(line).unwrap();
            let rows = arguments.selected(&arguments.rows(&no_results()).unwrap());
            let runs =
                |row: &Row| row.seeds.iter().map(|seed| format!("{} {seed}", row.id)).collect();
            rows.map(|rows| {
                rows.iter().flat_map(runs as fn(&Row) -> Vec<String>).collect::<Vec<_>>()
            })
            .map_err(|error| error.to_string())
        };
        assert_eq!(
            selected("--rows mnist-20-n1,cifar10-29-n1 --seeds 2,3").unwrap(),
            ["cifar10-29-n1 2", "cifar10-29-n1 3", "mnist-20-n1 2", "mnist-20-n1 3"]
        );
        let all: usize = study::small(false).unwrap().iter().map(|row| row.seeds.len()).sum();
        assert_eq!(selected("").unwrap().len(), all);
        let error = selected("--rows cifar10").unwrap_err();
        assert!(error.starts_with("--rows cifar10: expected some of cifar10-29-n1, "), "{error}");
        let error = selected("--rows mnist-20-n1 --seeds 9").unwrap_err();
        assert_eq!(error, "--seeds 9: no row has this seed");
        let error = selected("--times --rows cifar10-56-n1").unwrap_err();
        let expected =
            "--rows: the times of a group are measured together; add cifar10-56-n3-recommended";
        assert_eq!(error, expected);
        assert_eq!(
            selected("--times --rows cifar10-56-n1,cifar10-56-n3-recommended").unwrap().len(),
            6
        );
    }
}
