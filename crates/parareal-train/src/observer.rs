//! Progress of a run.

use parareal_run::{EpochRecord, StepRecord};

/// Receives the progress of a run. Each method does nothing unless it is implemented. The documentation of the
/// crate has [an example](crate#the-folder-of-a-run) that prints a line for each epoch.
pub trait Observer {
    /// Called after every step.
    fn on_step(&mut self, record: &StepRecord) {
        let _ = record;
    }

    /// Called after every epoch and its evaluation.
    fn on_epoch(&mut self, record: &EpochRecord) {
        let _ = record;
    }

    /// Called with a note on a difference or a fault with which the run goes on.
    fn on_note(&mut self, note: &str) {
        let _ = note;
    }
}

/// Ignores the progress.
impl Observer for () {}
