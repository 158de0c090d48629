//! Progress of the iteration, shown as a live bar on a terminal and as lines at intervals elsewhere.

use std::time::Instant;

use indicatif::ProgressBar;
use parareal_ode::Record;

use crate::output::{SILENCE, live, note};

pub(super) struct Watch {
    bar: Option<ProgressBar>,
    most: usize,
    last: Instant,
}

impl Watch {
    /// Creates the progress display for at most this many iterations.
    pub(super) fn new(most: usize) -> Self {
        Self { bar: live(most as u64, "{wide_bar} {msg}"), most, last: Instant::now() }
    }

    pub(super) fn see(&mut self, record: &Record) {
        let error = record.max_error.map_or(String::new(), |error| format!("  error {error:.1e}"));
        let line = format!("iteration {}/{}{error}", record.k, self.most);
        match &self.bar {
            Some(bar) => {
                bar.set_position(record.k as u64);
                bar.set_message(line);
            }
            None if self.last.elapsed() >= SILENCE => {
                self.last = Instant::now();
                note(&line);
            }
            None => {}
        }
    }

    /// Removes the progress bar.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
