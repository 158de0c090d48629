use super::error::PlanError;
use super::scenario::{Scenario, Schedule};
use super::{overlap, virtual_clock};
use crate::timeline::{Activity, Span, Timeline};

/// The predicted course of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The activities of all devices.
    pub timeline: Timeline,
    /// The critical path: the spans that determine the duration of the step, in order. Each span begins when
    /// the previous one ends.
    pub critical: Vec<Span>,
    /// The memory that each device needs, in bytes.
    pub memory: Vec<f64>,
}

impl Prediction {
    /// Returns the duration of the step in seconds.
    pub fn makespan(&self) -> f64 {
        self.timeline.end()
    }

    /// Returns the total time on the critical path, in seconds, of activities for which `kind` returns true.
    pub fn critical_time(&self, kind: impl Fn(Activity) -> bool) -> f64 {
        self.critical.iter().filter(|span| kind(span.activity)).map(Span::duration).sum()
    }
}

impl Scenario {
    /// Predicts one training step.
    ///
    /// # Errors
    /// [`PlanError::Layout`] if the layout has a different number of subnetworks; [`PlanError::Cost`] if a
    /// cost is invalid.
    pub fn predict(&self) -> Result<Prediction, PlanError> {
        self.check()?;
        let tasks = match self.schedule {
            Schedule::Overlap(options) => overlap::run(self, options)?,
            Schedule::Virtual => virtual_clock::run(self),
        };
        let critical = tasks.critical();
        let spans = tasks.into_spans();
        let timeline = Timeline { devices: self.layout.workers(), spans };
        Ok(Prediction { timeline, critical, memory: self.memory() })
    }
}
