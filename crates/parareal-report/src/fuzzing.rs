//! Readers of file contents for the fuzz targets and the tests of their corpora. Not part of the
//! public interface.

use std::path::Path;

use crate::ReportError;
use crate::downsample::downsample;
use crate::evaluation::Evaluation;
use crate::metrics::Metrics;

/// Reads the contents as the metrics of a run and downsamples its steps.
pub fn metrics(contents: &[u8]) -> Result<(), ReportError> {
    let metrics = Metrics::parse(Path::new("metrics.jsonl"), contents)?;
    downsample(&metrics.steps, 3);
    Ok(())
}

/// Reads the contents as the evaluation of a run.
pub fn evaluation(contents: &[u8]) -> Result<(), ReportError> {
    Evaluation::parse(Path::new("evaluation.json"), contents).map(drop)
}
