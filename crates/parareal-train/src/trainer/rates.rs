//! Comparison of a schedule with the learning rates that a run has recorded.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use parareal_run::{Line, Position, names};

use crate::{Schedule, TrainError};

/// Checks that a schedule gives the learning rates that `metrics.jsonl` records for the steps up to a checkpoint.
///
/// # Errors
/// If the rate of a step differs ([`TrainError::OtherRun`], which names the first such step), or the file cannot
/// be read ([`TrainError::File`]).
pub(super) fn check(
    folder: &Path,
    position: Position,
    schedule: &Schedule,
    steps_per_epoch: usize,
) -> Result<(), TrainError> {
    let path = folder.join(names::METRICS);
    let mut text = String::new();
    let file = File::open(&path);
    let read = file.and_then(|file| file.take(position.metrics_bytes).read_to_string(&mut text));
    read.map_err(TrainError::file("read", &path))?;
    // Damaged lines are skipped here and reported when the metrics are read to resume the run.
    for line in text.lines() {
        let Ok(Line::Step(record)) = serde_json::from_str(line) else { continue };
        let before = record.epoch.saturating_sub(1).saturating_mul(steps_per_epoch);
        let step = record.step.checked_sub(before.saturating_add(1));
        let is_taken = record.epoch > 0 && record.step <= position.step;
        let Some(step) = step.filter(|&step| is_taken && step < steps_per_epoch) else { continue };
        let now = schedule.of_step(record.epoch, step, steps_per_epoch);
        // Recorded rates are not rounded, so they can be compared exactly.
        if now != record.learning_rate {
            let name = format!("learning-rate of step {}", record.step);
            let shown = |rate: f64| format!("{rate:?}");
            return Err(TrainError::other_run(
                folder,
                &name,
                shown(record.learning_rate),
                shown(now),
            ));
        }
    }
    Ok(())
}
