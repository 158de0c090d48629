//! The readers of files, given what a file holds: for the fuzz targets and the test that goes through
//! their corpora. No part of the interface.

use std::path::Path;

use crate::ReportError;
use crate::downsample::downsample;
use crate::evaluation::Evaluation;
use crate::metrics::Metrics;

/// A file with these contents is read as the metrics of a run, whose steps are thinned.
pub fn metrics(contents: &[u8]) -> Result<(), ReportError> {
    let metrics = Metrics::parse(Path::new("metrics.jsonl"), contents)?;
    downsample(&metrics.steps, 3);
    Ok(())
}

/// As the evaluation of a run.
pub fn evaluation(contents: &[u8]) -> Result<(), ReportError> {
    Evaluation::parse(Path::new("evaluation.json"), contents).map(drop)
}
