//! The training loop.

use std::time::{Duration, Instant};

use parareal::exec::{ExecError, StateKind, SubnetworkTime, Update};
use parareal::net::StateDict;
use parareal_run::{
    DistillationRecord, EndRecord, EpochRecord, Line, Position, StepRecord, SubnetworkSeconds,
    Times,
};

use crate::checkpoint::{Saved, State, Store};
use crate::checksum::Checksum;
use crate::finite_check::first_not_finite;
use crate::log::Log;
use crate::metrics::{Metrics, Past};
use crate::notes::{Note, Notes};
use crate::observer::Observer;
use crate::prefetch::prefetch;
use crate::prepared::Prepared;
use crate::task::{BatchOf, Evaluated, ExecutorOf, InputOf, TargetOf};
use crate::timeline::TimelineRecorder;
use crate::traffic::TrafficCounter;
use crate::{Outcome, Task, TrainError};

/// A run in progress.
pub(crate) struct Training<'a, T: Task> {
    run: &'a Prepared<T>,
    executor: ExecutorOf<T>,
    log: Log,
    store: Store,
    traffic: TrafficCounter,
    /// Recorder of the timeline that this process writes.
    timeline: Option<TimelineRecorder>,
    /// Times of the run. `times.run` is the duration of the run before this process began.
    times: Times,
    epochs: Vec<EpochRecord>,
    position: Position,
    /// The last batch, if checkpoints record its checksum.
    last_batch: Option<(InputOf<T>, TargetOf<T>)>,
    /// Checksum of the batches of this epoch that this process has prepared, if there are other ranks.
    batches: Option<Checksum>,
    /// Step and time of the last checkpoint.
    saved: (usize, Instant),
    /// Start time of training in this process.
    begun: Instant,
    notes: Notes,
}

impl<'a, T: Task> Training<'a, T> {
    /// Builds the executor, and restores the state of a checkpoint: weights, state of the optimizer, moving
    /// average. For a new run, the last argument contains the records of the distillation and its duration in
    /// seconds.
    pub(crate) fn new(
        run: &'a Prepared<T>,
        saved: Option<Saved>,
        timeline: Option<TimelineRecorder>,
        (distillation, seconds): (Vec<DistillationRecord>, f64),
    ) -> Result<Self, TrainError> {
        let Prepared { group, config, output, task, .. } = run;
        let model = task.model();
        let mut executor = config.start(group, model, run.initial.as_ref())?;
        let mut names = executor.tensor_names();
        // Replicas have the same weights; only the first one writes them.
        if executor.layout().rank(group.rank()).replicas.start > 0 {
            names.clear();
        }
        let store = Store::new(run, names);
        let (bytes, past, position, times) = match saved {
            None => (None, Past::default(), Position::default(), Times::default().until(seconds)),
            Some(Saved { position, times, cuts, weights, optimizer, average, .. }) => {
                let state = |tensors| StateDict::new(cuts.clone(), tensors);
                executor.write(StateKind::Weights, state(weights)).map_err(|error| {
                    TrainError::weights(
                        output,
                        format!("the checkpoint belongs to a different network: {error}"),
                    )
                })?;
                executor.write(StateKind::Optimizer, state(optimizer))?;
                executor.write(StateKind::Average, state(average))?;
                // Random layers derive their random numbers from the step number.
                executor.set_step(position.step as u64);
                let bytes = position.metrics_bytes;
                (Some(bytes), Metrics::past(output, bytes)?, position, times)
            }
        };
        let Past { epochs, last_step } = past;
        let mut log =
            Log::open(group.is_root(), output, bytes.map(|bytes| (bytes, last_step.as_ref())))?;
        distillation.iter().try_for_each(|record| log.distillation(record))?;
        let begun = Instant::now();
        let saved = (position.step, begun);
        Ok(Self {
            run,
            executor,
            log,
            store,
            traffic: TrafficCounter::default(),
            timeline,
            times,
            epochs,
            position,
            last_batch: None,
            batches: None,
            saved,
            begun,
            notes: Notes::default(),
        })
    }

    /// Trains until the run ends or `stop` returns true.
    pub(crate) fn run(
        mut self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, TrainError> {
        let ended = self.epochs(observer, stop);
        self.end_timeline(observer);
        if let Err(error) = &ended
            && let Some(step) = error.diverged_at()
            && self.run.group.is_root()
        {
            // A failure here must not hide the error of divergence.
            let aside = match error {
                TrainError::EvaluationDiverged { .. } => {
                    self.store.set_diverged_aside(self.position)
                }
                _ => Ok(()),
            };
            let end = Line::Diverged { step, message: error.to_string() };
            for failed in [aside, self.log.end(&end)].into_iter().filter_map(Result::err) {
                observer.on_note(&failed.to_string());
            }
        }
        let interrupted = !ended?;
        if self.run.group.is_root() {
            self.store.tidy(self.position, &mut self.notes)?;
            self.report_notes(observer);
        }
        let end = EndRecord {
            seconds: self.seconds(),
            waiting_for_data: self.times.waiting_for_data(),
            usage: self.times.usage(),
            traffic: self.traffic.of_all(&self.run.group)?,
        };
        self.log.end(&match interrupted {
            true => Line::Interrupted { step: self.position.step },
            false => Line::End(end.clone()),
        })?;
        let Self { run, epochs, position, notes, .. } = self;
        let mut outcome = Outcome::new(&run.output, &run.config, &epochs, position.step, end);
        outcome.interrupted = interrupted;
        outcome.notes = run.skipped.iter().chain(notes.all()).cloned().collect();
        Ok(outcome)
    }

    /// Trains all remaining epochs. Returns false if the run was stopped.
    fn epochs(
        &mut self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, TrainError> {
        if self.is_out_of_patience() {
            return Ok(true);
        }
        for epoch in self.position.epoch.max(1)..=self.run.config.epochs {
            let complete = self.steps(epoch, observer, stop)?;
            self.save(observer)?;
            if !complete {
                return Ok(false);
            }
            let Some(record) = self.evaluate(epoch, stop)? else { return Ok(false) };
            self.log.epoch(self.position.step, &record)?;
            self.epochs.push(record.clone());
            self.choose_best()?;
            self.report_notes(observer);
            observer.on_epoch(&record);
            if self.is_out_of_patience() {
                break;
            }
        }
        Ok(true)
    }

    /// Evaluates the model after an epoch. Returns `None` if the evaluation was stopped.
    fn evaluate(
        &mut self,
        epoch: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<EpochRecord>, TrainError> {
        let Prepared { task, group, output, .. } = self.run;
        let stop = || Ok(group.any([stop()])?[0]);
        let Some(evaluated) = task.evaluate(&mut *self.executor, &stop)? else { return Ok(None) };
        let Evaluated { test, validation, metrics, details } = evaluated;
        for (samples, score) in [("test", test), ("validation", validation)] {
            if let Some(score) = score
                && score.has_diverged()
            {
                let (step, loss, is_output) = (self.position.step, score.loss, !score.is_finite);
                return Err(TrainError::EvaluationDiverged { is_output, samples, step, loss });
            }
        }
        if let (Some(save), true) = (details, group.is_root())
            && let Err(error) = save(output, self.position)
        {
            // The details are not essential: the run continues without them.
            let text = format!("the evaluation after epoch {epoch} was not saved: {error}");
            self.notes.add(Note::EvaluationNotSaved, text);
        }
        let Position { epoch_tally: tally, epoch_seconds: seconds, .. } = self.position;
        Ok(Some(EpochRecord {
            epoch,
            train_loss: tally.mean_loss().expect("an epoch has samples"),
            train_error: tally.error(),
            test_loss: test.map(|test| test.loss),
            test_error: test.and_then(|test| test.error),
            test_top5_error: test.and_then(|test| test.top5_error),
            validation_loss: validation.map(|validation| validation.loss),
            validation_error: validation.and_then(|validation| validation.error),
            metrics,
            seconds,
        }))
    }

    /// Trains the remaining steps of an epoch. Returns false if the run was stopped.
    fn steps(
        &mut self,
        epoch: usize,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, TrainError> {
        let Prepared { config, task, group, .. } = self.run;
        if self.position.epoch != epoch {
            let Position { step, .. } = self.position;
            self.position = Position { step, epoch, ..Position::default() };
        }
        let (begun, before) = (Instant::now(), self.position.epoch_seconds);
        let done = self.position.epoch_steps;
        let batches = task.batches(config.batch_size, config.seed, epoch, done)?;
        // All ranks prepare the same batches; without this check a difference would remain unnoticed.
        self.batches = (group.size() > 1).then(Checksum::default);
        prefetch(batches, |mut batches| {
            while let Some(batch) = batches.next() {
                self.times.wait(batches.waited.as_secs_f64());
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(error) => {
                        // The steps so far are kept, because the samples may be repaired. Other ranks need not have this
                        // error, so they resume from the last checkpoint. A failure must not hide the error.
                        if group.size() == 1
                            && let Err(failed) = self.save(observer)
                        {
                            observer.on_note(&failed.to_string());
                        }
                        return Err(error);
                    }
                };
                if let Some(checksum) = &mut self.batches {
                    checksum.add(&batch.input, &batch.target);
                }
                if task.records_last_batch() {
                    self.last_batch = Some((batch.input.clone(), batch.target.clone()));
                }
                self.step(epoch, batch, observer)?;
                self.position.epoch_seconds = before + begun.elapsed().as_secs_f64();
                let (step, (saved_step, saved_at)) = (self.position.step, self.saved);
                let due = config.is_checkpoint_due(step - saved_step, saved_at.elapsed());
                // The clocks of processes differ. All processes stop or save if any of them decides to.
                let [stop, due] = group.any([stop(), due])?;
                if stop {
                    return Ok(false);
                }
                if due {
                    self.save(observer)?;
                }
            }
            Ok(true)
        })?
    }

    fn step(
        &mut self,
        epoch: usize,
        batch: BatchOf<T>,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let Prepared { config, task, group, .. } = self.run;
        let samples = batch.samples();
        let (step, done) = (self.position.step + 1, self.position.epoch_steps);
        let learning_rate = config.learning_rate.of_step(epoch, done, self.run.steps_per_epoch());
        let (clip_norm, average_decay) = (config.clip_norm, config.ema_decay_of(step));
        let update = Update { learning_rate, clip_norm, average_decay };
        let before = TrafficCounter::so_far(group);
        let report = self.executor.train_step_with(batch.input, batch.target, update);
        let report = report.map_err(|error| match error {
            ExecError::LossNotFinite { loss } => TrainError::Diverged { step, learning_rate, loss },
            error => error.into(),
        })?;
        self.traffic.add_step(group, before);
        let wrong = task.wrong(report.output, &batch.labels);
        self.position.step = step;
        self.position.epoch_steps += 1;
        self.position.epoch_tally.add(samples, wrong, report.loss);
        let seconds = report.duration.as_secs_f64();
        let subnetworks: Vec<_> = report.subnetworks.iter().map(in_seconds).collect();
        self.times.add(seconds, &subnetworks);
        let record = StepRecord {
            epoch,
            step,
            loss: report.loss,
            error: wrong.map(|wrong| wrong as f64 / samples as f64),
            learning_rate,
            gradient_norm: report.gradient_norm,
            samples_per_second: samples as f64 / seconds.max(1e-9),
        };
        self.log.step(&record)?;
        observer.on_step(&record);
        if let Some(recorder) = &mut self.timeline {
            let written = recorder.add(step, report.timeline);
            self.report_timeline(written, observer);
        }
        Ok(())
    }

    /// Reports a timeline that was written. If it cannot be written, the run continues without it.
    fn report_timeline(
        &mut self,
        written: Result<Option<usize>, TrainError>,
        observer: &mut dyn Observer,
    ) {
        match (written, &self.timeline) {
            (Ok(Some(step)), Some(recorder)) => observer.on_timeline(step, recorder.path()),
            (Ok(_), _) => {}
            (Err(error), _) => {
                let text = format!("the timeline was not written: {error}");
                self.notes.add(Note::TimelineNotWritten, text);
                self.report_notes(observer);
            }
        }
    }

    /// Writes the timeline of the last step if the run has ended before the target.
    fn end_timeline(&mut self, observer: &mut dyn Observer) {
        let Some(recorder) = &mut self.timeline else { return };
        let written = recorder.end();
        let missing = recorder.missing();
        self.report_timeline(written, observer);
        if let Some(target) = missing {
            let text = format!(
                "no timeline was written: the run ended after step {}, before step {target}",
                self.position.step
            );
            self.notes.add(Note::TimelineNotWritten, text);
            self.report_notes(observer);
        }
    }

    /// Returns the duration of the run so far, including the time before interruptions.
    fn seconds(&self) -> f64 {
        self.times.run + self.begun.elapsed().as_secs_f64()
    }

    /// Saves a checkpoint, unless one was already saved after this step. Ranks first compare their batches.
    fn save(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        if self.saved.0 != self.position.step {
            if let Some(checksum) = &self.batches {
                let samples = format!("batches of epoch {}", self.position.epoch);
                self.run.group.compare_data([(samples, checksum.clone().finish())].into())?;
            }
            let last_batch = self.last_batch.as_ref();
            let last_batch = last_batch.map(|(input, target)| Checksum::of(input, target));
            self.position.metrics_bytes = self.log.sync()?;
            let state = State {
                weights: self.executor.read(StateKind::Weights)?,
                optimizer: self.executor.read(StateKind::Optimizer)?,
                average: self.executor.read(StateKind::Average)?,
                times: self.times.until(self.seconds()),
                last_batch,
            };
            self.check_finite(&state)?;
            self.store.save(self.position, state, &mut self.notes)?;
            self.saved = (self.position.step, Instant::now());
            self.report_notes(observer);
        }
        Ok(())
    }

    /// Returns an error if the state is not finite, so that it is not saved. A finite loss does not imply finite
    /// weights after the update.
    fn check_finite(&self, state: &State) -> Result<(), TrainError> {
        let State { weights, optimizer, average, .. } = state;
        let own = [weights, optimizer, average].into_iter().find_map(|it| first_not_finite(it));
        if self.run.group.any([own.is_some()])? == [false] {
            return Ok(());
        }
        let all = self.run.group.all_gather::<_, TrainError>(Ok(own))?;
        let Some(name) = all.into_iter().flatten().next() else { return Ok(()) };
        let Position { step, epoch, epoch_steps, .. } = self.position;
        let (rate, steps) = (&self.run.config.learning_rate, self.run.steps_per_epoch());
        let learning_rate = rate.of_step(epoch, epoch_steps.saturating_sub(1), steps);
        Err(TrainError::WeightsDiverged { name, step, learning_rate })
    }

    /// Passes new notes to the observer.
    fn report_notes(&mut self, observer: &mut dyn Observer) {
        self.notes.new_ones().iter().for_each(|note| observer.on_note(note));
    }

    /// Records the checkpoint of this step as the best one if the last epoch is the best so far.
    fn choose_best(&mut self) -> Result<(), TrainError> {
        match self.run.config.objective.best(&self.epochs, self.position.step) {
            Some(best) if self.run.group.is_root() => self.store.set_best(best, &mut self.notes),
            _ => Ok(()),
        }
    }

    fn is_out_of_patience(&self) -> bool {
        let config = &self.run.config;
        config.objective.is_out_of_patience(&self.epochs, config.patience)
    }
}

fn in_seconds(time: &SubnetworkTime) -> SubnetworkSeconds {
    let [fine, coarse, queued] =
        [time.fine, time.coarse, time.queued].map(|time: Duration| time.as_secs_f64());
    SubnetworkSeconds { fine, coarse, queued, worker: time.worker }
}
