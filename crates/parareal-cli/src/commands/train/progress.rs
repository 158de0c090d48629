//! Progress of a training run, shown as a live bar on a terminal and as lines elsewhere.

use std::path::Path;
use std::time::{Duration, Instant};

use parareal_run::{DistillationRecord, EpochRecord, InterfaceRecord, StepRecord};
use parareal_train::{Observer, Run, Task};

use crate::output::{duration, percent};
use crate::status_line::{SILENCE, StatusLine};

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
    status: StatusLine,
}

impl Progress {
    pub(crate) fn new<T: Task>(run: &Run<T>) -> Self {
        let (epochs, steps) = (run.config().epochs, run.steps_per_epoch());
        let (images_per_step, before) = (run.config().batch_size, run.steps_done());
        let status = StatusLine::new((epochs * steps) as u64);
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
            status,
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

/// Returns the time without a line after which one is printed at this step: at each tenth of `steps` if possible.
fn silence(step: usize, steps: usize) -> Duration {
    if step.is_multiple_of(steps.div_ceil(10)) { SILENCE } else { LONGEST_SILENCE }
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
        self.status.show_after(silence(*step, *steps), 0, || line);
        let first = self.first_distillation.get_or_insert_with(|| interfaces.clone());
        if step == steps {
            let first = shown_losses(first);
            self.status.print(&format!(
                "distillation of {steps} steps: losses of C/F per interface {first} at the start, {losses} \
                 at the end  {}",
                duration(*seconds)
            ));
        }
    }

    fn on_step(&mut self, record: &StepRecord) {
        let line = self.line(record);
        self.status.show_after(silence(record.step, self.steps), record.step as u64, || line);
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
        self.status.print(&line);
    }

    fn on_timeline(&mut self, step: usize, path: &Path) {
        self.status.print(&format!("wrote the timeline of step {step} to {}", path.display()));
    }

    fn on_note(&mut self, remark: &str) {
        self.status.print(&format!("note: {remark}"));
    }
}
