//! Progress of a run.

use std::path::Path;

use parareal_run::{DistillationRecord, EpochRecord, StepRecord};

/// Receives the progress of a run. By default each method does nothing. A closure is an observer of epochs:
///
/// ```
/// use parareal_train::{EpochRecord, Observer};
///
/// let mut print = |epoch: &EpochRecord| println!("epoch {}: loss {}", epoch.epoch, epoch.train_loss);
/// print.on_epoch(&EpochRecord::default());
/// ```
pub trait Observer {
    /// Called after every step of the [`Distillation`](crate::Distillation) before the first training step, with the
    /// losses of that step.
    fn on_distillation(&mut self, record: &DistillationRecord) {
        let _ = record;
    }

    /// Called after every step.
    fn on_step(&mut self, record: &StepRecord) {
        let _ = record;
    }

    /// Called after every epoch and its evaluation.
    fn on_epoch(&mut self, record: &EpochRecord) {
        let _ = record;
    }

    /// Called when the timeline of a step is written to a file ([`StepTimeline`](crate::StepTimeline)).
    fn on_timeline(&mut self, step: usize, path: &Path) {
        let _ = (step, path);
    }

    /// Called with a note about a difference or a problem that does not end the run.
    fn on_note(&mut self, note: &str) {
        let _ = note;
    }
}

/// Ignores the progress.
impl Observer for () {}

/// Calls the closure after every epoch and its evaluation.
impl<F: FnMut(&EpochRecord)> Observer for F {
    fn on_epoch(&mut self, record: &EpochRecord) {
        self(record);
    }
}
