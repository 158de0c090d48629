//! What is written while a run is under way, by the first of its team.

use std::path::Path;

use crate::metrics::Metrics;
use crate::tensorboard::Events;
use crate::{EpochRecord, Sent, StepRecord, TrainError, Usage};

/// `metrics.jsonl` and the event file beside it; nothing where another process writes them.
pub(crate) struct Log(Option<(Metrics, Events)>);

impl Log {
    /// Of a process that writes, or does not: from the beginning, or behind `bytes` bytes and this
    /// step.
    pub(crate) fn open(
        writes: bool,
        folder: &Path,
        behind: Option<(u64, usize)>,
    ) -> Result<Self, TrainError> {
        if !writes {
            return Ok(Self(None));
        }
        let (metrics, step) = match behind {
            None => (Metrics::create(folder)?, 0),
            Some((bytes, step)) => (Metrics::resume(folder, bytes)?, step),
        };
        Ok(Self(Some((metrics, Events::create(folder, step)?))))
    }

    pub(crate) fn step(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        let Some((metrics, events)) = &mut self.0 else { return Ok(()) };
        metrics.step(record)?;
        events.step(record)
    }

    /// Behind the step that was the last of the epoch.
    pub(crate) fn epoch(&mut self, step: usize, record: &EpochRecord) -> Result<(), TrainError> {
        let Some((metrics, events)) = &mut self.0 else { return Ok(()) };
        metrics.epoch(record)?;
        events.epoch(step, record)
    }

    /// The last line of a run that came to its end.
    pub(crate) fn end(
        &mut self,
        seconds: f64,
        waiting_for_images: f64,
        usage: &Usage,
        traffic: &[Sent],
    ) -> Result<(), TrainError> {
        let Some((metrics, _)) = &mut self.0 else { return Ok(()) };
        metrics.end(seconds, waiting_for_images, usage, traffic)
    }

    /// Makes all lines of the metrics last, and gives their bytes.
    pub(crate) fn sync(&mut self) -> Result<u64, TrainError> {
        self.0.as_mut().map_or(Ok(0), |(metrics, _)| metrics.sync())
    }
}
