use crate::exec::Moment;
use crate::timeline::{Activity, Span};

/// The tasks of a step. Each task stores the last task that it waited for.
#[derive(Default)]
pub(super) struct Tasks(Vec<Task>);

struct Task {
    span: Span,
    cause: Option<usize>,
}

impl Tasks {
    /// Adds a task that starts at the moment `after` and takes `seconds`. Returns its end.
    pub(super) fn run(
        &mut self,
        after: Moment,
        seconds: f64,
        device: usize,
        subnetwork: usize,
        activity: Activity,
    ) -> Moment {
        if seconds <= 0.0 {
            return after;
        }
        let (begin, end) = (after.time, after.time + seconds);
        let span = Span { device, subnetwork, activity, begin, end };
        self.0.push(Task { span, cause: after.cause });
        Moment { time: end, cause: Some(self.0.len() - 1) }
    }

    /// Returns the activities of all tasks.
    pub(super) fn into_spans(self) -> Vec<Span> {
        self.0.into_iter().map(|task| task.span).collect()
    }

    /// Returns the critical path.
    pub(super) fn critical(&self) -> Vec<Span> {
        let ends = self.0.iter().enumerate();
        let last = ends.max_by(|a, b| a.1.span.end.total_cmp(&b.1.span.end));
        let mut at = last.map(|(index, _)| index);
        let mut path = Vec::new();
        while let Some(index) = at {
            path.push(self.0[index].span);
            at = self.0[index].cause;
        }
        path.reverse();
        path
    }
}
