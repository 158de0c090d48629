//! A report about training runs: the folders of one or several runs become one HTML page.
//!
//! The page is self-contained. It loads nothing, so it opens from disk, by mail or from an archive
//! years later. It shows where the configurations differ, the curves of loss, error, learning rate,
//! gradient and throughput, how each subnetwork spent its time, the results, and, for runs that
//! were evaluated, the confusion matrix and the images that were taken for something else with the
//! most confidence.
//!
//! ```no_run
//! let page = parareal_report::render(&["runs/mnist-n1", "runs/mnist-n3"])?;
//! std::fs::write("report.html", page)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate knows the files of a run and nothing of how they come about: `config.toml`,
//! `metrics.jsonl` and, where there are some, the evaluations in `evaluations` (`evaluation.json` in runs
//! of earlier versions) and the records of the data and of the best step in `checkpoints`. Runs are compared
//! only where they have seen the same data. Long series are [thinned](render), so
//! that the page stays below a few hundred kilobytes for each run. What comes from files goes into
//! the page as data only; the page makes text of it, never markup.

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

/// What the page shows.
#[derive(Serialize)]
struct Report {
    runs: Vec<run::Run>,
    settings: Vec<settings::Row>,
}

/// Makes the page about the runs in these folders, in this order.
///
/// A run that is under way or was killed is shown as far as it went. Of long runs, at most 2,000
/// points are kept for each series of steps: means over equally many steps, with the least and the
/// greatest value. The same folders give the same page, byte by byte.
///
/// # Errors
/// [`ReportError`] where there is no folder, a folder holds no run or is given twice, or a file in
/// it cannot be read or understood.
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

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
