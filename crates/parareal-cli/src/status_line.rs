//! Progress of long work: a bar on a terminal, and lines at intervals elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::note;

/// Shortest time between two lines without a bar.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// A progress bar with a line of text, which is removed at the end. If standard error is not a terminal, or the terminal
/// cannot move its cursor (`TERM` is `dumb` or not set), the line is printed at intervals.
pub(crate) struct StatusLine {
    bar: Option<ProgressBar>,
    /// Time of the last printed line.
    last: Instant,
}

impl StatusLine {
    /// Begins work of this length.
    pub(crate) fn new(length: u64) -> Self {
        Self::with_template(length, "{wide_bar} {msg}")
    }

    /// Begins work of this length. The bar has a template of `indicatif`, in which `{msg}` is the line.
    pub(crate) fn with_template(length: u64, template: &str) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let bar = (!bar.is_hidden()).then(|| {
            let style = ProgressStyle::with_template(template);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, last: Instant::now() }
    }

    /// Sets the position to that of work done before, which does not count for the estimate of the time left.
    pub(crate) fn starting_at(self, position: u64) -> Self {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.reset_eta();
        }
        self
    }

    /// Shows a position and a line.
    pub(crate) fn show(&mut self, position: u64, line: impl FnOnce() -> String) {
        self.show_after(SILENCE, position, line);
    }

    /// Shows a position and a line. Without a bar, the line is printed if none was for this time.
    pub(crate) fn show_after(
        &mut self,
        silence: Duration,
        position: u64,
        line: impl FnOnce() -> String,
    ) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(position);
                bar.set_message(line());
            }
            None if self.last.elapsed() >= silence => self.print(&line()),
            None => {}
        }
    }

    /// Prints a line, above the bar if there is one.
    pub(crate) fn print(&mut self, line: &str) {
        self.last = Instant::now();
        match &self.bar {
            Some(bar) => bar.suspend(|| note(line)),
            None => note(line),
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
