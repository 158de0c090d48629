//! What is written while a run is under way, by the first of its team.

use std::path::Path;

use crate::metrics::{EarlyEnd, EndRecord, Metrics};
use crate::tensorboard::Events;
use crate::{EpochRecord, StepRecord, TrainError};

/// `metrics.jsonl` and the event file beside it; nothing where another process writes them.
pub(crate) struct Log(Option<(Metrics, Events)>);

impl Log {
    /// The files of a process that writes, or does not: new ones, or going on after this many bytes of
    /// the metrics and this step, the last one that they tell of.
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
    pub(crate) fn finish(&mut self, record: &EndRecord) -> Result<(), TrainError> {
        self.0.as_mut().map_or(Ok(()), |(metrics, _)| metrics.finish(record))
    }

    /// The last line of a run that ended early.
    pub(crate) fn end_early(&mut self, end: &EarlyEnd) -> Result<(), TrainError> {
        self.0.as_mut().map_or(Ok(()), |(metrics, _)| metrics.end_early(end))
    }

    /// Makes all lines of the metrics last, and gives their bytes.
    pub(crate) fn sync(&mut self) -> Result<u64, TrainError> {
        self.0.as_mut().map_or(Ok(0), |(metrics, _)| metrics.sync())
    }
}
