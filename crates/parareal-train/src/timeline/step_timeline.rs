use std::path::{Path, PathBuf};

use super::TimelineFile;
use crate::{ExecutorKind, ProcessGroup, TrainError};

/// The default step, counted from 1 over the steps that this process trains.
const TYPICAL: usize = 10;

/// Request to write the timeline of one step of a run to a file.
///
/// The extension determines the format: `.json` for a trace that can be opened in <https://ui.perfetto.dev>,
/// `.svg` for a picture. The timeline contains the activities of all workers and, with MPI, of all ranks. Each
/// device of the timeline is a worker. The workers of the first replica come first.
///
/// By default, the request is for the tenth step that the process trains. The first steps are slower, because
/// they fill caches and select kernels. If the run ends or is stopped before the tenth step, the last step of the
/// process is written. The title states the step.
///
/// The request belongs to the process and not to the run: it is not recorded in `config.toml`, and a run can be
/// resumed with or without one.
///
/// ```
/// use parareal_train::StepTimeline;
///
/// let typical = StepTimeline::new("step.svg");
/// let last_of_epoch = StepTimeline::new("step.json").step(100).overwrite();
/// # drop((typical, last_of_epoch));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTimeline {
    path: PathBuf,
    step: Option<usize>,
    overwrite: bool,
}

impl StepTimeline {
    /// Creates a request for a new file. The folder of the file must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), step: None, overwrite: false }
    }

    /// Selects a step of the run. Steps are counted from 1 over the whole run, including the steps before a
    /// checkpoint. A run that ends or is stopped before that step writes no timeline.
    #[must_use]
    pub fn step(mut self, step: usize) -> Self {
        self.step = Some(step);
        self
    }

    /// Replaces the file if it exists.
    #[must_use]
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// Returns the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the timeline can be recorded and its file written, before any work is done. Collective: all
    /// processes of a group must make this call, with or without a request. [`Run::create`](crate::Run::create)
    /// and [`Run::resume`](crate::Run::resume) make the same check.
    ///
    /// # Errors
    /// If the executor is sequential, which has no timeline ([`TrainError::Setting`]); if [`TimelineFile::new`] fails
    /// on rank 0, which writes the file; or if the requests of ranks differ ([`TrainError::RanksDiffer`]).
    pub fn check(
        request: Option<&Self>,
        group: &ProcessGroup,
        executor: ExecutorKind,
    ) -> Result<(), TrainError> {
        let name = request.map(|request| request.path.display().to_string());
        let step = request.and_then(|request| request.step).map(|step| step.to_string());
        let entries = [("timeline", name), ("timeline-step", step)].into_iter();
        let entries = entries.filter_map(|(key, value)| Some((key.to_string(), value?)));
        group.compare(entries.collect())?;
        let own = request.map_or(Ok(()), |request| {
            if executor == ExecutorKind::Sequential {
                let expected = "the sequential executor has no timeline; leave it unset, or use the threads executor";
                return Err(TrainError::setting("timeline", request.path.display(), expected));
            }
            match group.is_root() {
                true => request.file().map(drop),
                false => Ok(()),
            }
        });
        group.agree(own)
    }

    /// Returns the file after checking its path.
    pub(super) fn file(&self) -> Result<TimelineFile, TrainError> {
        TimelineFile::new(&self.path, self.overwrite)
    }

    /// Returns the step to write in a run of `steps` steps, of which `done` are already trained. Returns `None`
    /// if no step is left.
    ///
    /// # Errors
    /// If the selected step is not among the remaining ones ([`TrainError::Setting`]).
    pub(crate) fn target(&self, done: usize, steps: usize) -> Result<Option<usize>, TrainError> {
        let left = done + 1..=steps.max(done);
        match self.step {
            None if left.is_empty() => Ok(None),
            None => Ok(Some(done.saturating_add(TYPICAL).min(steps))),
            Some(step) if left.contains(&step) => Ok(Some(step)),
            Some(step) => {
                let expected = match left.is_empty() {
                    true => format!("all {steps} steps of the run are already trained"),
                    false if done > 0 => {
                        format!(
                            "expected a step from {} to {steps}; {done} are already trained",
                            done + 1
                        )
                    }
                    false => format!("expected a step from 1 to {steps}"),
                };
                Err(TrainError::setting("timeline-step", step, expected))
            }
        }
    }

    /// Returns true if a step was selected. Then no other step is written.
    pub(super) fn is_exact(&self) -> bool {
        self.step.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_tenth_step_of_a_process_and_a_chosen_step_must_be_left() {
        let target = |step: Option<usize>, done, steps| {
            let request = StepTimeline { step, ..StepTimeline::new("step.svg") };
            request.target(done, steps).map_err(|error| error.to_string())
        };
        for (done, steps, expected) in [
            (0, 100, Some(10)),
            (0, 10, Some(10)),
            (0, 3, Some(3)),
            (95, 100, Some(100)),
            (30, 100, Some(40)),
            (99, 100, Some(100)),
            (100, 100, None),
            (101, 100, None),
            (0, usize::MAX, Some(10)),
        ] {
            assert_eq!(target(None, done, steps), Ok(expected), "{done} of {steps}");
        }
        assert_eq!(target(Some(1), 0, 3), Ok(Some(1)));
        assert_eq!(target(Some(3), 2, 3), Ok(Some(3)));
        for (step, done, steps, expected) in [
            (0, 0, 3, "invalid value `0` for timeline-step: expected a step from 1 to 3"),
            (4, 0, 3, "invalid value `4` for timeline-step: expected a step from 1 to 3"),
            (
                2,
                2,
                3,
                "invalid value `2` for timeline-step: expected a step from 3 to 3; 2 are already trained",
            ),
            (
                3,
                3,
                3,
                "invalid value `3` for timeline-step: all 3 steps of the run are already trained",
            ),
        ] {
            assert_eq!(target(Some(step), done, steps), Err(expected.to_string()));
        }
    }
}
