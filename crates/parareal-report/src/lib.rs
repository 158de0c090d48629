//! Reports on training runs: one HTML page about one or several runs.
//!
//! The page is self-contained: it loads no other files, so it can be opened from disk, from an email or from
//! an archive. It shows
//!
//! - the differences between the configurations,
//! - the curves of loss, error, learning rate, gradient norm and throughput,
//! - the time of each subnetwork,
//! - the results,
//! - the confusion matrix and the most confident mistakes, for runs that were evaluated.
//!
//! ```no_run
//! let page = parareal_report::render(&["runs/mnist-n1", "runs/mnist-n3"])?;
//! std::fs::write("report.html", page)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Of each run, the crate reads `config.toml`, `metrics.jsonl` and, if they exist, the evaluations in
//! `evaluations` (`evaluation.json` in runs of earlier versions) and the records of the data and of the best
//! step in `checkpoints`.
//!
//! Results of runs are compared only if they are for the same data. Long series are [downsampled](render), so
//! that each run adds at most a few hundred kilobytes to the page. The contents of files are embedded as data
//! and displayed as text, never as markup.

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

/// Creates a page about the runs in these folders, in this order.
///
/// If a run is in progress or was killed, the page shows it up to the last complete line of its metrics. For
/// long runs, each series of steps is reduced to at most 2,000 points, each of which is the mean over a
/// number of steps, with the smallest and the largest value. The same files result in the same page, byte for
/// byte.
///
/// # Errors
/// If no folder is given, a folder is given twice or is not the folder of a run, or a file in it cannot be
/// read or parsed.
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
