//! Progress of loading a folder of images.

use std::cell::RefCell;
use std::time::Instant;

use indicatif::ProgressBar;
use parareal_data::{LoadProgress, LoadStage};
use parareal_vision::Preparation;

use crate::output::{SILENCE, duration, live, note, percent};

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
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Loading {
    /// Shows progress.
    pub(crate) fn show(&self, progress: LoadProgress) {
        let LoadProgress { stage, done, total, .. } = progress;
        let mut current = self.current.borrow_mut();
        let is_new = current.as_ref().is_none_or(|current| current.stage != stage);
        if is_new {
            current.take().iter().for_each(Current::clear);
        }
        let shown = current.get_or_insert_with(|| {
            let now = Instant::now();
            let template = format!("{} {{wide_bar}} {{percent}} %  {{eta}} left", name(stage));
            Current { stage, begun: now, said: now, bar: live(total as u64, &template) }
        });
        match &shown.bar {
            Some(bar) => bar.set_position(done as u64),
            None if shown.said.elapsed() >= SILENCE && done < total => {
                shown.said = Instant::now();
                let left = shown.begun.elapsed().as_secs_f64() / done.max(1) as f64;
                note(&line(progress, left * (total - done) as f64));
            }
            None => {}
        }
        if done == total {
            current.take().iter().for_each(Current::clear);
        }
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

impl Current {
    /// Removes the progress bar.
    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
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
