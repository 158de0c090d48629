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

    /// Returns a table for each depth: a row for each way, a column for each batch.
    pub(crate) fn markdown(&self) -> String {
        let tables: Vec<String> =
            self.depths().into_iter().map(|depth| self.table(depth)).collect();
        tables.join("\n")
    }

    fn table(&self, depth: usize) -> String {
        let cases: Vec<&Measured> =
            self.cases.iter().filter(|measured| measured.case.depth == depth).collect();
        let mut names: Vec<&str> = Vec::new();
        for row in cases.iter().flat_map(|measured| &measured.rows) {
            if !names.contains(&row.name.as_str()) {
                names.push(&row.name);
            }
        }
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("ResNet-{depth}, {} cores of {}\n\n", self.cores, self.processor);
        let batches = cases.iter().map(|measured| format!("batch {}", measured.case.batch));
        text += &line(["step".to_owned()].into_iter().chain(batches).collect());
        text += &line(
            ["---".to_owned()].into_iter().chain(cases.iter().map(|_| "---:".into())).collect(),
        );
        for name in names {
            let cells = cases.iter().map(|measured| {
                let row = measured.rows.iter().find(|row| row.name == name);
                row.map_or("-".to_owned(), |row| {
                    let own = &row.measurement;
                    let [low, high] = own.interval;
                    let predicted = row.predicted.map_or(String::new(), |time| {
                        format!(", predicted {:+.0} %", 100.0 * (time / own.step - 1.0))
                    });
                    format!(
                        "{:.0} ms, **{:.2}** ({low:.2} to {high:.2}), {}{predicted}",
                        1e3 * own.step,
                        own.speedup,
                        row.setting
                    )
                })
            });
            text += &line([name.to_owned()].into_iter().chain(cells).collect());
        }
        text
    }
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
