//! Progress of an iteration: live on a terminal, as lines elsewhere where it takes long.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parareal::ode::Record;

use crate::output::note;

/// The time between two lines.
const SILENCE: Duration = Duration::from_secs(10);

pub(super) struct Watch {
    bar: Option<ProgressBar>,
    most: usize,
    last: Instant,
}

impl Watch {
    /// For so many iterations at most.
    pub(super) fn new(most: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(10);
            let bar = ProgressBar::with_draw_target(Some(most as u64), target);
            let style = ProgressStyle::with_template("{wide_bar} {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, most, last: Instant::now() }
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

    /// Takes the live line away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
