//! Runs that had ended before they were resumed.

use std::path::Path;

use parareal_run::{EndRecord, EpochRecord, Position};

use crate::metrics::Metrics;
use crate::{Outcome, ProcessGroup, RunConfig, TrainError};

/// A run with nothing left to do.
pub(crate) struct Finished {
    epochs: Vec<EpochRecord>,
    steps: usize,
    end: EndRecord,
}

impl Finished {
    /// Returns the end of the run in a folder, if it ended after its last checkpoint and this
    /// configuration does not extend it.
    pub(crate) fn find(
        group: &ProcessGroup,
        config: &RunConfig,
        run: &Path,
        position: Position,
    ) -> Result<Option<Self>, TrainError> {
        let bytes = position.metrics_bytes;
        let Some((last, end)) = group.on_root(|| Ok::<_, TrainError>(Metrics::end(run, bytes)))?
        else {
            return Ok(None);
        };
        let mut epochs = group.agree(Metrics::past(run, bytes))?.epochs;
        epochs.push(last);
        let is_over = epochs.len() >= config.epochs
            || config.objective.is_out_of_patience(&epochs, config.patience);
        Ok(is_over.then_some(Self { epochs, steps: position.step, end }))
    }

    /// Returns the number of complete epochs.
    pub(crate) fn epochs(&self) -> usize {
        self.epochs.len()
    }

    /// Returns the outcome, as at the end of the run.
    pub(crate) fn outcome(self, output: &Path, config: &RunConfig) -> Outcome {
        Outcome::new(output, config, &self.epochs, self.steps, self.end)
    }
}
