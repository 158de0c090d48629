//! Progress of loading a folder of images.

use std::cell::RefCell;
use std::time::Instant;

use parareal_data::{LoadProgress, LoadStage};
use parareal_vision::Preparation;

use crate::output::{duration, note, percent};
use crate::status_line::StatusLine;

/// Shows the progress of loading images and of what else precedes the first step of a run: a bar on a terminal, lines
/// elsewhere.
#[derive(Default)]
pub(crate) struct Loading {
    current: RefCell<Option<Current>>,
}

/// The current stage.
struct Current {
    stage: LoadStage,
    begun: Instant,
    status: StatusLine,
}

impl Loading {
    /// Shows progress.
    pub(crate) fn show(&self, progress: LoadProgress) {
        let LoadProgress { stage, done, total, .. } = progress;
        let mut current = self.current.borrow_mut();
        current.take_if(|current| current.stage != stage);
        let shown = current.get_or_insert_with(|| {
            let template = format!("{} {{wide_bar}} {{percent}} %  {{eta}} left", name(stage));
            let status = StatusLine::with_template(total as u64, &template);
            Current { stage, begun: Instant::now(), status }
        });
        if done == total {
            *current = None;
            return;
        }
        let left = shown.begun.elapsed().as_secs_f64() / done.max(1) as f64;
        shown.status.show(done as u64, || line(progress, left * (total - done) as f64));
    }
}

impl Preparation for Loading {
    fn on_load(&self, progress: LoadProgress) {
        self.show(progress);
    }

    fn before_timing(&self) {
        note("timing steps with different numbers of workers and threads");
    }
}

/// Returns what a stage does.
fn name(stage: LoadStage) -> &'static str {
    match stage {
        LoadStage::Decode => "decoding images",
        _ => "reading the headers of images",
    }
}

/// Returns a line for a stage of which this many seconds are left.
fn line(progress: LoadProgress, left: f64) -> String {
    let LoadProgress { stage, done, total, .. } = progress;
    let share = percent(done as f64 / total.max(1) as f64);
    format!("{}: {done} of {total} ({share}), {} left", name(stage), duration(left))
}
