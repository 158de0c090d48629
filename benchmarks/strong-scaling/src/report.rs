//! The results of all cases: file, table and picture.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::case::{Case, Row};
use crate::picture;

/// Measurements on one machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Model of the processor.
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) cases: Vec<Measured>,
}

/// A case with its rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) case: Case,
    /// The commit of the project, with `-dirty` if files were changed.
    pub(crate) commit: String,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(cores: usize) -> Self {
        Self { processor: processor(), cores, cases: Vec::new() }
    }

    /// Reads stored results.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Checks that these are results of this machine.
    ///
    /// # Errors
    /// If they are not.
    pub(crate) fn check_machine(&self, cores: usize) -> Result<()> {
        let (here, there) = ((processor(), cores), (self.processor.clone(), self.cores));
        if here != there {
            return Err(format!(
                "the stored results are from {} cores of {}, expected {} cores of {}; choose another folder",
                there.1, there.0, here.1, here.0
            )
            .into());
        }
        Ok(())
    }

    pub(crate) fn has(&self, case: &Case) -> bool {
        self.cases.iter().any(|measured| measured.case == *case)
    }

    /// Returns the depths that were measured, in ascending order.
    pub(crate) fn depths(&self) -> Vec<usize> {
        let mut depths: Vec<usize> =
            self.cases.iter().map(|measured| measured.case.depth).collect();
        depths.dedup();
        depths
    }

    /// Adds a case, in the order of depths and batches.
    pub(crate) fn add(&mut self, case: &Case, rows: Vec<Row>) {
        self.cases.push(Measured { case: case.clone(), commit: commit(), rows });
        self.cases.sort_by_key(|measured| (measured.case.depth, measured.case.batch));
    }

    /// Writes `results.json`, `results.md` and `picture.svg`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::write(folder.join("results.json"), serde_json::to_string_pretty(self)? + "\n")?;
        fs::write(folder.join("results.md"), self.markdown())?;
        picture::draw(&folder.join("picture.svg"), self)
    }

    /// Returns three tables for each depth, ratios, durations and images per second: a row for each way, a column for
    /// each batch.
    pub(crate) fn markdown(&self) -> String {
        let mut texts = vec![format!("{} cores of {}\n", self.cores, self.processor)];
        for depth in self.depths() {
            let cases: Vec<&Measured> =
                self.cases.iter().filter(|measured| measured.case.depth == depth).collect();
            texts.push(table(&format!("ResNet-{depth}, speed relative to N = 1"), &cases, ratio));
            texts.push(table(&format!("ResNet-{depth}, duration of a step"), &cases, duration));
            texts.push(table(&format!("ResNet-{depth}, images per second"), &cases, throughput));
        }
        let (within, all) = self.predictions_within(0.15);
        texts.push(format!("{within} of {all} predictions are within 15 % of the median.\n"));
        texts.join("\n")
    }

    /// Returns how many predicted steps differ from the measured ones by at most a share of them, and how many there
    /// are.
    fn predictions_within(&self, share: f64) -> (usize, usize) {
        let rows = self.cases.iter().flat_map(|measured| &measured.rows);
        let errors: Vec<f64> = rows.filter_map(Row::prediction_error).collect();
        (errors.iter().filter(|error| error.abs() <= share).count(), errors.len())
    }
}

/// Formats a table with these cells.
fn table(title: &str, cases: &[&Measured], cell: fn(&Row, usize) -> String) -> String {
    let mut names: Vec<&str> = Vec::new();
    for row in cases.iter().flat_map(|measured| &measured.rows) {
        if !names.contains(&row.name.as_str()) {
            names.push(&row.name);
        }
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let batches = cases.iter().map(|measured| format!("batch {}", measured.case.batch));
    let mut text = line([title.to_owned()].into_iter().chain(batches).collect());
    let alignments = cases.iter().map(|_| "---:".into());
    text += &line(["---".to_owned()].into_iter().chain(alignments).collect());
    for name in names {
        let cells = cases.iter().map(|measured| {
            let row = measured.rows.iter().find(|row| row.name == name);
            row.map_or("-".to_owned(), |row| cell(row, measured.case.batch))
        });
        text += &line([name.to_owned()].into_iter().chain(cells).collect());
    }
    text
}

fn ratio(row: &Row, _: usize) -> String {
    let own = &row.measurement;
    let [low, high] = own.interval;
    format!("**{:.2}** ({low:.2} to {high:.2})", own.speedup)
}

fn duration(row: &Row, _: usize) -> String {
    let error = row.prediction_error();
    let error = error.map_or(String::new(), |error| format!(", predicted {:+.0} %", 100.0 * error));
    let (step, serial) = (1e3 * row.measurement.step, 1e3 * row.measurement.serial);
    format!("{step:.0} ms beside {serial:.0} ms, {}{error}", row.setting)
}

fn throughput(row: &Row, batch: usize) -> String {
    let [own, serial] =
        [row.measurement.step, row.measurement.serial].map(|step| batch as f64 / step);
    format!("{own:.1} beside {serial:.1}")
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    let name = name.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn commit() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    commit.unwrap_or_else(|_| "unknown".to_owned())
}
