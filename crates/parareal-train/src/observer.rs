//! Progress of a run.

use parareal_run::{EpochRecord, StepRecord};

/// Receives the progress of a run.
pub trait Observer {
    /// Called after every step.
    fn on_step(&mut self, record: &StepRecord);

    /// Called after every epoch and its evaluation.
    fn on_epoch(&mut self, record: &EpochRecord);

    /// Called with a note on what happened, although the run goes on.
    fn on_note(&mut self, note: &str) {
        let _ = note;
    }
}

/// Ignores the progress.
impl Observer for () {
    fn on_step(&mut self, _: &StepRecord) {}

    fn on_epoch(&mut self, _: &EpochRecord) {}
}
