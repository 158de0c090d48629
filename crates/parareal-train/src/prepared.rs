//! Components of a run.

use std::path::PathBuf;

use parareal::net::StateDict;

use crate::config_record::ConfigRecord;
use crate::distillation::Distillation;
use crate::process_group::ProcessGroup;
use crate::run_config::RunConfig;
use crate::task::Task;

/// A run whose folder exists and whose data is loaded.
pub(crate) struct Prepared<T: Task> {
    pub(crate) group: ProcessGroup,
    pub(crate) config: RunConfig,
    pub(crate) configuration: ConfigRecord,
    pub(crate) task: T,
    pub(crate) output: PathBuf,
    /// Initial weights, if they do not follow from the seed.
    pub(crate) initial: Option<StateDict>,
    /// Distillation of the initial weights before the first step.
    pub(crate) distillation: Option<Distillation>,
    /// Notes on checkpoints that could not be used.
    pub(crate) skipped: Vec<String>,
}

impl<T: Task> Prepared<T> {
    /// Returns the number of steps of an epoch.
    pub(crate) fn steps_per_epoch(&self) -> usize {
        self.config.steps_per_epoch(self.task.samples())
    }
}
