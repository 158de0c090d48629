//! Reports on training runs: one HTML page from the folders of one or several runs.
//!
//! The page is self-contained. It loads nothing, so it can be opened from disk, from a mail or from an
//! archive. It shows differences between the configurations, the curves of loss, error, learning rate,
//! gradient norm and throughput, the time of each subnetwork, the results, and, for runs that were
//! evaluated, the confusion matrix and the most confident mistakes.
//!
//! ```no_run
//! let page = parareal_report::render(&["runs/mnist-n1", "runs/mnist-n3"])?;
//! std::fs::write("report.html", page)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate reads only the files of a run: `config.toml`, `metrics.jsonl` and, if they exist, the
//! evaluations in `evaluations` (`evaluation.json` in runs of earlier versions) and the records of the data
//! and of the best step in `checkpoints`. Results of runs are compared only if they are for the same data.
//! Long series are [downsampled](render), so that the page stays below a few hundred kilobytes for each run.
//! Content of files is embedded in the page as data only; the page shows it as text, never as markup.

mod checkpoints;
mod downsample;
mod error;
mod evaluation;
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
mod page;
mod run;
mod settings;
mod summary;

use std::path::Path;

use serde::Serialize;

pub use error::ReportError;

/// Data of the page.
#[derive(Serialize)]
struct Report {
    runs: Vec<run::Run>,
    settings: Vec<settings::Row>,
}

/// Creates the page about the runs in these folders, in this order.
///
/// A run that is in progress or was killed is shown up to its last complete line. For long runs, each series
/// of steps is reduced to at most 2,000 points: means over equally many steps, with the smallest and the
/// largest value. The same folders give the same page, byte by byte.
///
/// # Errors
/// If no folder is given, a folder is not that of a run or is given twice, or a file in it cannot be read or parsed.
pub fn render<P: AsRef<Path>>(runs: &[P]) -> Result<String, ReportError> {
    if runs.is_empty() {
        return Err(ReportError::NoRuns);
    }
    let paths: Vec<&Path> = runs.iter().map(AsRef::as_ref).collect();
    let names = run::names(&paths)?;
    let mut tables = Vec::new();
    let mut read = Vec::new();
    for (path, name) in paths.iter().zip(names) {
        let (run, settings) = run::Run::read(path, name)?;
        tables.push(settings);
        read.push(run);
    }
    Ok(page::fill(&Report { runs: read, settings: settings::compare(&tables) }))
}

/// Tests the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
