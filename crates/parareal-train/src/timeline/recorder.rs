use std::path::Path;

use parareal::timeline::Timeline;
use parareal_text::count;

use super::{StepTimeline, TimelineFile};
use crate::{ExecutorKind, ProcessGroup, RunConfig, Task, TrainError};

/// Recorder of the timeline of one step.
pub(crate) struct TimelineRecorder {
    file: TimelineFile,
    /// Title without the number of the step.
    title: String,
    /// The step to write.
    target: usize,
    /// True if only the target may be written. If false, a run that ends before the target writes its last step.
    is_exact: bool,
    /// The last step so far, until the target is reached.
    last: Option<(usize, Timeline)>,
    is_over: bool,
}

impl TimelineRecorder {
    /// Creates a recorder of the step `target`.
    ///
    /// # Errors
    /// If [`TimelineFile::new`] fails.
    pub(crate) fn new<T: Task>(
        request: &StepTimeline,
        target: usize,
        task: &T,
        config: &RunConfig,
        group: &ProcessGroup,
    ) -> Result<Self, TrainError> {
        let subnetworks = task.model().cuts.subnetworks();
        let title =
            format!("{}, N = {subnetworks}, {}", task.network_name(), placement(config, group));
        let (file, is_exact) = (request.file()?, request.is_exact());
        Ok(Self { file, title, target, is_exact, last: None, is_over: false })
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Adds a step, and writes its timeline if it is the target. Returns the number of the step that was written,
    /// if any.
    ///
    /// # Errors
    /// If [`TimelineFile::write`] fails.
    pub(crate) fn add(
        &mut self,
        step: usize,
        timeline: Timeline,
    ) -> Result<Option<usize>, TrainError> {
        if self.is_over || (self.is_exact && step != self.target) {
            return Ok(None);
        }
        self.last = Some((step, timeline));
        if step == self.target { self.end() } else { Ok(None) }
    }

    /// Ends the recording. Writes the timeline of the last step that was added, unless the target has been
    /// written. Returns the number of the step that was written, if any.
    ///
    /// # Errors
    /// If [`TimelineFile::write`] fails.
    pub(crate) fn end(&mut self) -> Result<Option<usize>, TrainError> {
        let Some((step, timeline)) = self.last.take() else { return Ok(None) };
        self.is_over = true;
        let title = format!("{}, step {step}", self.title);
        self.file.write(&timeline, &title, None)?;
        Ok(Some(step))
    }

    /// Returns the target if no step has been written.
    pub(crate) fn missing(&self) -> Option<usize> {
        (!self.is_over).then_some(self.target)
    }
}

/// Describes the processes and workers of a step, for the title.
fn placement(config: &RunConfig, group: &ProcessGroup) -> String {
    let workers = count(config.workers, "worker");
    let replicas = count(config.replicas, "replica");
    // A rank that holds fewer subnetworks has fewer workers.
    let workers = match (config.executor, config.workers) {
        (ExecutorKind::Mpi, 2..) => format!("up to {workers}"),
        _ => workers,
    };
    let placed = match (config.executor, config.replicas) {
        (ExecutorKind::Mpi, 1) => format!("{} of {workers}", count(group.size(), "rank")),
        (ExecutorKind::Mpi, _) => {
            format!("{} of {workers} for {replicas}", count(group.size(), "rank"))
        }
        (_, 1) => workers,
        _ => format!("{replicas} of {workers}"),
    };
    format!("executor {}, {placed}", config.executor)
}
