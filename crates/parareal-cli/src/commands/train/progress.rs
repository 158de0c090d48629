//! Progress of a training run, shown as a live bar on a terminal and as lines elsewhere.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use parareal_run::{DistillationRecord, EpochRecord, InterfaceRecord, StepRecord};
use parareal_train::{Observer, Run, Task};

use crate::output::{SILENCE, duration, live, note, percent};

/// Longest time between two lines, if a tenth of an epoch takes longer than [`SILENCE`].
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Observer that shows steps and epochs.
pub(crate) struct Progress {
    epochs: usize,
    steps: usize,
    images_per_step: usize,
    /// Number of steps that earlier processes trained.
    before: usize,
    begun: Instant,
    /// Losses of the first step of the distillation.
    first_distillation: Option<Vec<InterfaceRecord>>,
    /// Exponential moving averages of loss and error, over about the last ten steps.
    recent: Option<(f64, Option<f64>)>,
    shown: Shown,
}

enum Shown {
    Live(ProgressBar),
    Lines { last: Instant },
}

impl Progress {
    pub(crate) fn new<T: Task>(run: &Run<T>) -> Self {
        let (epochs, steps) = (run.config().epochs, run.steps_per_epoch());
        let (images_per_step, before) = (run.config().batch_size, run.steps_done());
        let shown = match live((epochs * steps) as u64, "{wide_bar} {msg}") {
            Some(bar) => Shown::Live(bar),
            None => Shown::Lines { last: Instant::now() },
        };
        let begun = Instant::now();
        let first_distillation = None;
        Self {
            epochs,
            steps,
            images_per_step,
            before,
            begun,
            first_distillation,
            recent: None,
            shown,
        }
    }

    /// Removes the progress bar.
    pub(crate) fn end(&self) {
        if let Shown::Live(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }

    /// Writes a line, above the progress bar if there is one.
    fn say(&self, line: &str) {
        match &self.shown {
            Shown::Live(bar) => bar.suspend(|| note(line)),
            Shown::Lines { .. } => note(line),
        }
    }

    fn line(&mut self, record: &StepRecord) -> String {
        let now = (record.loss, record.error);
        let before = self.recent.unwrap_or(now);
        let mean = |before: f64, now: f64| 0.9 * before + 0.1 * now;
        let loss = mean(before.0, now.0);
        let error = before.1.zip(now.1).map(|(before, now)| mean(before, now));
        self.recent = Some((loss, error));
        let passed = self.begun.elapsed().as_secs_f64();
        let done = (record.step - self.before) as f64;
        let left = passed / done * (self.epochs * self.steps).saturating_sub(record.step) as f64;
        format!(
            "epoch {}/{}  step {}/{}  loss {loss:.4}{}  {:.0} images/s  {} left",
            record.epoch,
            self.epochs,
            (record.step - 1) % self.steps + 1,
            self.steps,
            shown_error(error),
            done * self.images_per_step as f64 / passed.max(1e-9),
            duration(left),
        )
    }
}

/// Formats the error rate for a line of progress; empty if errors are not counted.
fn shown_error(error: Option<f64>) -> String {
    error.map_or_else(String::new, |error| format!("  error {}", percent(error)))
}

/// Formats the losses of the interfaces, each as `C/F`.
fn shown_losses(interfaces: &[InterfaceRecord]) -> String {
    let losses = interfaces
        .iter()
        .map(|InterfaceRecord { preprocessing, coarse }| format!("{preprocessing:.3}/{coarse:.3}"));
    losses.collect::<Vec<_>>().join(" ")
}

impl Observer for Progress {
    fn on_distillation(&mut self, record: &DistillationRecord) {
        let DistillationRecord { step, steps, interfaces, seconds } = record;
        // Restarts the clock, so that the training time begins after the last step of the distillation.
        self.begun = Instant::now();
        let left = seconds / *step as f64 * (steps - step) as f64;
        let losses = shown_losses(interfaces);
        let line =
            format!("distillation  step {step}/{steps}  losses {losses}  {} left", duration(left));
        match &mut self.shown {
            Shown::Live(bar) => bar.set_message(line),
            Shown::Lines { last } => {
                let tenth = step.is_multiple_of(steps.div_ceil(10));
                let silence = last.elapsed();
                if silence >= LONGEST_SILENCE || (silence >= SILENCE && tenth) {
                    *last = Instant::now();
                    note(&line);
                }
            }
        }
        let first = self.first_distillation.get_or_insert_with(|| interfaces.clone());
        if step == steps {
            let first = shown_losses(first);
            self.say(&format!(
                "distillation of {steps} steps: losses of C/F per interface {first} at the start, {losses} \
                 at the end  {}",
                duration(*seconds)
            ));
        }
    }

    fn on_step(&mut self, record: &StepRecord) {
        let line = self.line(record);
        match &mut self.shown {
            Shown::Live(bar) => {
                bar.set_position(record.step as u64);
                bar.set_message(line);
            }
            Shown::Lines { last } => {
                let tenth = record.step.is_multiple_of(self.steps.div_ceil(10));
                let silence = last.elapsed();
                if silence >= LONGEST_SILENCE || (silence >= SILENCE && tenth) {
                    *last = Instant::now();
                    note(&line);
                }
            }
        }
    }

    fn on_epoch(&mut self, record: &EpochRecord) {
        let test = match (record.test_loss, record.test_error) {
            (Some(loss), Some(error)) => {
                format!("  test loss {loss:.4}  error {}", percent(error))
            }
            _ => String::new(),
        };
        let chosen_by = match record.validation_error {
            Some(error) => format!("  validation error {}", percent(error)),
            None => String::new(),
        };
        let line = format!(
            "epoch {}/{}: train loss {:.4}{}{chosen_by}{test}  {}",
            record.epoch,
            self.epochs,
            record.train_loss,
            shown_error(record.train_error),
            duration(record.seconds),
        );
        match &mut self.shown {
            Shown::Live(bar) => bar.suspend(|| note(&line)),
            Shown::Lines { last } => {
                *last = Instant::now();
                note(&line);
            }
        }
    }

    fn on_timeline(&mut self, step: usize, path: &Path) {
        self.say(&format!("wrote the timeline of step {step} to {}", path.display()));
    }

    fn on_note(&mut self, remark: &str) {
        self.say(&format!("note: {remark}"));
    }
}
