//! The training loop.

use std::time::Instant;

use parareal::exec::{ExecError, Update};
use parareal::net::StateDict;
use parareal_data::{Augmentation, Batches, Dataset};

use crate::ahead::ahead;
use crate::checkpoint::{Best, Position, Saved, State, Store};
use crate::evaluate::{Stop, judge};
use crate::executor::{AnyExecutor, Started};
use crate::finite::first_not_finite;
use crate::log::Log;
use crate::metrics::{EarlyEnd, EndRecord, Metrics, Past};
use crate::notes::{Note, Notes};
use crate::schedule::is_out_of_patience;
use crate::scores::{Scores, Tensors, tensors};
use crate::usage::Times;
use crate::{EpochRecord, Observer, Outcome, Run, Sent, StepRecord, TrainError};

/// A run under way.
pub(crate) struct Training<'a> {
    run: &'a Run,
    executor: AnyExecutor,
    log: Log,
    store: Store,
    sent: Sent,
    /// Of these, `run` is what the run had taken before this process began.
    times: Times,
    epochs: Vec<EpochRecord>,
    position: Position,
    /// The last checkpoint: its step, and when it was saved.
    saved: (usize, Instant),
    /// When this process began.
    begun: Instant,
    notes: Notes,
}

impl<'a> Training<'a> {
    pub(crate) fn new(run: &'a Run, saved: Option<Saved>) -> Result<Self, TrainError> {
        let Run { config, dataset: Dataset { train, .. }, output, images, .. } = run;
        let (team, initial) = (&run.team, run.initial.as_ref());
        let started = config.start(team, train.channels(), train.classes(), initial)?;
        let Started { mut executor, mut names } = started;
        if !config.held(team)?.1 {
            names.clear();
        }
        let (settings, keep) = (config.settings(), config.run.keep_checkpoints);
        let store = Store::new(output, settings, images.clone(), names, keep, team.clone());
        let (bytes, past, position, times) = match saved {
            None => (None, Past::default(), Position::default(), Times::default()),
            Some(Saved { position, times, cuts, weights, optimizer, average, .. }) => {
                let state = |tensors| StateDict::new(cuts.clone(), tensors);
                executor.load(state(weights)).map_err(|error| {
                    TrainError::weights(output, format!("a checkpoint of another network: {error}"))
                })?;
                executor.load_optimizer_state(state(optimizer))?;
                executor.load_average(state(average))?;
                let bytes = position.metrics_bytes;
                (Some(bytes), Metrics::past(output, bytes)?, position, times)
            }
        };
        let Past { epochs, last_step } = past;
        let log = Log::open(team.leads(), output, bytes.map(|bytes| (bytes, last_step.as_ref())))?;
        let begun = Instant::now();
        let saved = (position.step, begun);
        Ok(Self {
            run,
            executor,
            log,
            store,
            sent: Sent::default(),
            times,
            epochs,
            position,
            saved,
            begun,
            notes: Notes::default(),
        })
    }

    /// Trains to the end, or until `stop` says so.
    pub(crate) fn run(
        mut self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Outcome, TrainError> {
        let ended = self.epochs(observer, stop);
        if let Err(error) = &ended
            && let Some(step) = error.diverged_at()
            && self.run.team.leads()
        {
            // Whatever fails here must not hide that the run has diverged.
            let aside = match error {
                TrainError::EvaluationDiverged { .. } => {
                    self.store.set_diverged_aside(self.position)
                }
                _ => Ok(()),
            };
            let end = EarlyEnd::Diverged { step, message: error.to_string() };
            for failed in [aside, self.log.end_early(&end)].into_iter().filter_map(Result::err) {
                observer.on_note(&failed.to_string());
            }
        }
        let interrupted = !ended?;
        if self.run.team.leads() {
            self.store.tidy(self.position, &mut self.notes)?;
            self.tell(observer);
        }
        let end = EndRecord {
            seconds: self.seconds(),
            waiting_for_images: self.times.waiting_for_images(),
            usage: self.times.usage(),
            traffic: self.sent.of_all(&self.run.team)?,
        };
        match interrupted {
            true => self.log.end_early(&EarlyEnd::Interrupted { step: self.position.step })?,
            false => self.log.finish(&end)?,
        }
        let Self { run, epochs, position, notes, .. } = self;
        let mut outcome = Outcome::new(&run.output, &run.config, &epochs, position.step, end);
        outcome.interrupted = interrupted;
        outcome.notes = run.skipped.iter().chain(notes.all()).cloned().collect();
        Ok(outcome)
    }

    /// Whether it came to its end.
    fn epochs(
        &mut self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, TrainError> {
        // A run that had no patience left goes no further.
        if self.is_out_of_patience() {
            return Ok(true);
        }
        for epoch in self.position.epoch.max(1)..=self.run.config.run.epochs {
            let complete = self.steps(epoch, observer, stop)?;
            self.save(observer)?;
            if !complete {
                return Ok(false);
            }
            let Some(record) = self.judge(epoch, stop)? else { return Ok(false) };
            self.log.epoch(self.position.step, &record)?;
            self.choose(&record)?;
            self.tell(observer);
            observer.on_epoch(&record);
            self.epochs.push(record);
            if self.is_out_of_patience() {
                break;
            }
        }
        Ok(true)
    }

    /// What the epoch came to; `None` where it was told to stop.
    fn judge(
        &mut self,
        epoch: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<EpochRecord>, TrainError> {
        let Run { dataset, validation, team, .. } = self.run;
        let stop: Stop<'_> = &|| Ok(team.any([stop()])?[0]);
        let mut judged = [None, None];
        let sets = [("test", &dataset.test), ("validation", validation)];
        for (judged, (images, set)) in judged.iter_mut().zip(sets) {
            if let Some(set) = set {
                *judged = judge(&mut self.executor, set, &dataset.normalization, stop)?;
                let Some((judged, _)) = judged else { return Ok(None) };
                let step = self.position.step;
                if let Some(loss) = judged.first.loss()
                    && !(judged.finite && loss.is_finite())
                {
                    return Err(TrainError::EvaluationDiverged { images, step, loss });
                }
            }
        }
        if let ([Some((test, details)), _], true) = (&judged, team.leads())
            && let Some(error) = test.first.error()
        {
            // The run does without them.
            let saved = details.save(&self.run.output, self.position, error, dataset);
            if let Err(error) = saved {
                let text = format!("the evaluation after epoch {epoch} is not saved: {error}");
                self.notes.add(Note::EvaluationNotSaved, text);
            }
        }
        let [test, validation] = judged.map(|judged| judged.map(|(judged, _)| judged));
        let Position { epoch_tally: tally, epoch_seconds: seconds, .. } = self.position;
        Ok(Some(EpochRecord {
            epoch,
            train_loss: tally.loss().expect("an epoch has images"),
            train_error: tally.error().expect("an epoch has images"),
            test_loss: test.and_then(|test| test.first.loss()),
            test_error: test.and_then(|test| test.first.error()),
            test_top5_error: test.and_then(|test| test.top5_error()),
            validation_loss: validation.and_then(|validation| validation.first.loss()),
            validation_error: validation.and_then(|validation| validation.first.error()),
            seconds,
        }))
    }

    /// The steps of an epoch that are still to be taken, and whether they all were.
    fn steps(
        &mut self,
        epoch: usize,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, TrainError> {
        let Run { config, dataset, .. } = self.run;
        if self.position.epoch != epoch {
            let Position { step, .. } = self.position;
            self.position = Position { step, epoch, ..Position::default() };
        }
        let (begun, before) = (Instant::now(), self.position.epoch_seconds);
        let mut batches = Batches::training(
            &dataset.train,
            &dataset.normalization,
            if config.augment { dataset.augmentation } else { Augmentation::None },
            config.run.batch_size,
            config.run.seed,
            epoch,
        )?;
        batches.skip_batches(self.position.epoch_steps);
        ahead(batches.map(tensors), |mut batches| {
            while let Some(batch) = batches.next() {
                self.times.wait(batches.waited);
                self.step(epoch, batch, observer)?;
                self.position.epoch_seconds = before + begun.elapsed().as_secs_f64();
                let (step, (saved_step, saved_at)) = (self.position.step, self.saved);
                let due = config.run.is_checkpoint_due(step - saved_step, saved_at.elapsed());
                // Clocks differ: what one of them says, all do.
                let [stop, due] = self.run.team.any([stop(), due])?;
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
        (images, targets, labels): Tensors,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let config = &self.run.config;
        let (step, done) = (self.position.step + 1, self.position.epoch_steps);
        let learning_rate =
            config.run.learning_rate.of_step(epoch, done, self.run.steps_per_epoch());
        let (clip_norm, average_decay) = (config.run.clip_norm, config.run.ema_decay_of(step));
        let update = Update { learning_rate, clip_norm, average_decay };
        let before = Sent::so_far(&self.run.team);
        let report = self.executor.train_step_with(images, targets, update);
        let report = report.map_err(|error| match error {
            ExecError::LossNotFinite { loss } => TrainError::Diverged { step, learning_rate, loss },
            error => error.into(),
        })?;
        self.sent.add_step(&self.run.team, before);
        let wrong = Scores::read(report.output).wrong(&labels);
        self.position.step = step;
        self.position.epoch_steps += 1;
        self.position.epoch_tally.add(labels.len(), wrong, report.loss);
        self.times.add(report.duration, &report.subnetworks);
        let record = StepRecord {
            epoch,
            step,
            loss: report.loss,
            error: wrong as f64 / labels.len() as f64,
            learning_rate,
            gradient_norm: report.gradient_norm,
            images_per_second: labels.len() as f64 / report.duration.as_secs_f64().max(1e-9),
        };
        self.log.step(&record)?;
        observer.on_step(&record);
        Ok(())
    }

    /// What the run has taken, whatever number of processes were at it.
    fn seconds(&self) -> f64 {
        self.times.run + self.begun.elapsed().as_secs_f64()
    }

    /// Saves a checkpoint, unless there is one of this step.
    fn save(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        if self.saved.0 != self.position.step {
            self.position.metrics_bytes = self.log.sync()?;
            let state = State {
                weights: self.executor.named_tensors()?,
                optimizer: self.executor.optimizer_state()?,
                average: self.executor.average()?,
                times: self.times.until(self.seconds()),
            };
            self.refuse_not_finite(&state)?;
            self.store.save(self.position, state, &mut self.notes)?;
            self.saved = (self.position.step, Instant::now());
            self.tell(observer);
        }
        Ok(())
    }

    /// Ends the run before a state is saved that it cannot go on from. The loss of a step says nothing
    /// of the weights after its update.
    fn refuse_not_finite(&self, state: &State) -> Result<(), TrainError> {
        let State { weights, optimizer, average, .. } = state;
        let own = [weights, optimizer, average].into_iter().find_map(|it| first_not_finite(it));
        let all = self.run.team.collect(Ok(own))?;
        let Some(name) = all.into_iter().flatten().next() else { return Ok(()) };
        let Position { step, epoch, epoch_steps, .. } = self.position;
        let (rate, steps) = (&self.run.config.run.learning_rate, self.run.steps_per_epoch());
        let learning_rate = rate.of_step(epoch, epoch_steps.saturating_sub(1), steps);
        Err(TrainError::WeightsDiverged { name, step, learning_rate })
    }

    /// Tells the notes that have come since.
    fn tell(&mut self, observer: &mut dyn Observer) {
        self.notes.new_ones().iter().for_each(|note| observer.on_note(note));
    }

    /// Remembers the checkpoint of this step if it is the best so far.
    fn choose(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        let Some(error) = record.deciding_error() else { return Ok(()) };
        let before = self.epochs.iter().filter_map(EpochRecord::deciding_error);
        if before.fold(f64::INFINITY, f64::min) > error && self.run.team.leads() {
            let best = Best { step: self.position.step, error };
            self.store.set_best(best, &mut self.notes)?;
        }
        Ok(())
    }

    fn is_out_of_patience(&self) -> bool {
        is_out_of_patience(&self.epochs, self.run.config.run.patience)
    }
}
