//! Files that the root process writes during a run.

use std::path::Path;

use parareal_run::{DistillationRecord, EpochRecord, Line, StepRecord};

use crate::TrainError;
use crate::metrics::Metrics;
use crate::tensorboard::Events;

/// `metrics.jsonl` and the event file of a run; `None` in processes that do not write them.
pub(crate) struct Log(Option<(Metrics, Events)>);

impl Log {
    /// Opens the files, for a process that writes them. `past` is `None` for a new run. For a resumed run, it
    /// contains the length of `metrics.jsonl` at the checkpoint in bytes, and the last step that is recorded
    /// within this length.
    pub(crate) fn open(
        writes: bool,
        folder: &Path,
        past: Option<(u64, Option<&StepRecord>)>,
    ) -> Result<Self, TrainError> {
        if !writes {
            return Ok(Self(None));
        }
        let (metrics, step) = match past {
            None => (Metrics::create(folder)?, None),
            Some((bytes, step)) => (Metrics::resume(folder, bytes)?, step),
        };
        Ok(Self(Some((metrics, Events::create(folder, step)?))))
    }

    /// Records losses of the distillation before the first step.
    pub(crate) fn distillation(&mut self, record: &DistillationRecord) -> Result<(), TrainError> {
        let Some((metrics, _)) = &mut self.0 else { return Ok(()) };
        metrics.write(&Line::Distillation(record.clone()))
    }

    pub(crate) fn step(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        let Some((metrics, events)) = &mut self.0 else { return Ok(()) };
        metrics.write(&Line::Step(record.clone()))?;
        events.step(record)
    }

    /// Records an epoch after its last step.
    pub(crate) fn epoch(&mut self, step: usize, record: &EpochRecord) -> Result<(), TrainError> {
        let Some((metrics, events)) = &mut self.0 else { return Ok(()) };
        metrics.write(&Line::Epoch(record.clone()))?;
        events.epoch(step, record)
    }

    /// Records the end of the run.
    pub(crate) fn end(&mut self, line: &Line) -> Result<(), TrainError> {
        self.0.as_mut().map_or(Ok(()), |(metrics, _)| metrics.write(line))
    }

    /// Makes all lines of the metrics durable, and returns their length in bytes.
    pub(crate) fn sync(&mut self) -> Result<u64, TrainError> {
        self.0.as_mut().map_or(Ok(0), |(metrics, _)| metrics.sync())
    }
}
