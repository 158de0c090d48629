//! Learning rates of the steps of a run.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::lr_scheduler::composed::ComposedLrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::exponential::ExponentialLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLrScheduler, ModuleLrSchedulerConfig};
use burn::lr_scheduler::noam::NoamLrSchedulerConfig;
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::lr_scheduler::step::StepLrSchedulerConfig;
use burn::lr_scheduler::{LrScheduler, LrSchedulerConfig};

use crate::{Decay, LearningRate, TrainError};

/// Learning rate of each step of a run.
///
/// A schedule can be created from
/// - a number, for a constant rate;
/// - [`Schedule::cosine`] or [`Schedule::step`], or a [`LearningRate`], in which all numbers are explicit;
/// - the configuration of any scheduler of [`burn::lr_scheduler`], and [`Schedule::from_scheduler`] for your own
///   scheduler with the same interface. A scheduler counts its own steps: the rate of step `k` is the result of the
///   `k`th step of a fresh copy. A [`ModuleLrScheduler`], as initialized by Burn's configurations, is not accepted,
///   because it may have different rates for groups of parameters, while a step here has one rate for all parameters;
/// - [`Schedule::from_fn`], a function of the epoch and the step.
///
/// The rate depends only on the step, so a resumed run continues as if it had not been interrupted.
///
/// ```
/// use burn::lr_scheduler::noam::NoamLrSchedulerConfig;
/// use parareal_train::Schedule;
///
/// let constant: Schedule = 1e-3.into();
/// let cosine = Schedule::cosine(1e-3).warmup(0.5);
/// let milestones = Schedule::step(0.1, [80, 120]);
/// let noam: Schedule = NoamLrSchedulerConfig::new(0.1).into();
/// let halved = Schedule::from_fn(|epoch, _step, _steps_per_epoch| 0.1 * 0.5f64.powi(epoch as i32));
/// ```
#[derive(Clone)]
pub struct Schedule {
    kind: Kind,
    /// Number of warm-up epochs. Not used for [`Kind::Rule`], which contains its own number.
    warmup_epochs: f64,
}

type Rate = dyn Fn(usize, usize, usize) -> f64 + Send + Sync;

#[derive(Clone)]
enum Kind {
    Rule(LearningRate),
    /// A cosine that ends with the run. The number of epochs of the run is not yet known.
    Cosine(f64),
    Burn(Arc<Mutex<Replay>>),
    /// A configuration that Burn rejects, with the reason.
    Refused(String),
    Function(Arc<Rate>),
}

impl Schedule {
    /// Returns half a period of a cosine, from `rate` at the first step to zero at the end of the run.
    #[must_use]
    pub fn cosine(rate: f64) -> Self {
        Kind::Cosine(rate).into()
    }

    /// Returns a rate that is divided by ten after each of these epochs.
    #[must_use]
    pub fn step(rate: f64, milestones: impl IntoIterator<Item = usize>) -> Self {
        let decay = Decay::Step(milestones.into_iter().collect());
        LearningRate { base: rate, decay, warmup_epochs: 0.0, epochs: 1 }.into()
    }

    /// Creates a schedule from a function of the epoch, counted from 1, the step within the epoch, counted from 0,
    /// and the number of steps of an epoch.
    #[must_use]
    pub fn from_fn(rate: impl Fn(usize, usize, usize) -> f64 + Send + Sync + 'static) -> Self {
        Kind::Function(Arc::new(rate)).into()
    }

    /// Creates a schedule from a scheduler with Burn's interface, in its state before the first step.
    #[must_use]
    pub fn from_scheduler(scheduler: impl LrScheduler + 'static) -> Self {
        Kind::Burn(Arc::new(Mutex::new(Replay::new(ModuleLrScheduler::new(scheduler))))).into()
    }

    /// Adds a linear warm-up of this many epochs, which may be fractional. A cosine begins after the warm-up.
    /// Other schedules begin with the first step, and their rates are scaled down during the warm-up.
    #[must_use]
    pub fn warmup(mut self, epochs: f64) -> Self {
        match &mut self.kind {
            Kind::Rule(rule) => rule.warmup_epochs = epochs,
            _ => self.warmup_epochs = epochs,
        }
        self
    }

    /// Sets the number of epochs of a cosine that spans the run.
    pub(crate) fn spanning(self, epochs: usize) -> Self {
        let Self { kind, warmup_epochs } = self;
        match kind {
            Kind::Cosine(base) => {
                LearningRate { base, decay: Decay::Cosine, warmup_epochs, epochs }.into()
            }
            kind => Self { kind, warmup_epochs },
        }
    }

    /// Returns the rule of a schedule that was created from a [`LearningRate`], from a number, or by
    /// [`Self::step`]; `None` for other schedules. A schedule created by [`Self::cosine`] has a rule only in the
    /// configuration of a run, which sets its number of epochs.
    #[must_use]
    pub fn rule(&self) -> Option<&LearningRate> {
        match &self.kind {
            Kind::Rule(rule) => Some(rule),
            _ => None,
        }
    }

    /// Returns true if the schedule depends on the number of epochs of the run.
    pub(crate) fn spans_run(&self) -> bool {
        matches!(self.kind, Kind::Cosine(_))
    }

    /// Checks all values that are known before the first step.
    ///
    /// # Errors
    /// If a value is not valid ([`TrainError::Setting`]).
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let (base, warmup) = match &self.kind {
            Kind::Refused(message) => {
                let expected = message.trim_end_matches('.');
                return Err(TrainError::setting("learning-rate", "scheduler of Burn", expected));
            }
            Kind::Rule(rule) => (rule.base, rule.warmup_epochs),
            Kind::Cosine(base) => (*base, self.warmup_epochs),
            Kind::Burn(_) | Kind::Function(_) => (0.0, self.warmup_epochs),
        };
        for (name, value) in [("learning-rate", base), ("warmup-epochs", warmup)] {
            if !(0.0..f64::INFINITY).contains(&value) {
                let expected = "expected a finite number of at least 0";
                return Err(TrainError::setting(name, format!("{value:?}"), expected));
            }
        }
        Ok(())
    }

    /// Returns the rate of a step. Epochs are counted from 1, and the steps of an epoch from 0.
    ///
    /// For a cosine that spans the run, the number of epochs must be set first ([`Self::spanning`]).
    pub(crate) fn of_step(&self, epoch: usize, step: usize, steps_per_epoch: usize) -> f64 {
        let rate = match &self.kind {
            Kind::Rule(rule) => return rule.of_step(epoch, step, steps_per_epoch),
            Kind::Cosine(base) => *base,
            Kind::Burn(replay) => {
                let mut replay = replay.lock().unwrap_or_else(PoisonError::into_inner);
                replay.of_step((epoch - 1) * steps_per_epoch + step)
            }
            Kind::Refused(_) => f64::NAN,
            Kind::Function(rate) => rate(epoch, step, steps_per_epoch),
        };
        let decay = Decay::Step(Vec::new());
        let ramp = LearningRate { base: 1.0, decay, warmup_epochs: self.warmup_epochs, epochs: 1 };
        rate * ramp.of_step(epoch, step, steps_per_epoch)
    }
}

/// Writes a description of the schedule. The description is recorded, and compared when a run is resumed.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut warmup = self.warmup_epochs;
        match &self.kind {
            Kind::Rule(LearningRate { base, decay, warmup_epochs, epochs }) => {
                warmup = *warmup_epochs;
                match decay {
                    Decay::Cosine => write!(f, "cosine from {base:?} over {epochs} epochs")?,
                    Decay::Step(milestones) if milestones.is_empty() => write!(f, "{base:?}")?,
                    Decay::Step(milestones) => {
                        write!(f, "{base:?}, divided by 10 after epochs {milestones:?}")?;
                    }
                }
            }
            Kind::Cosine(base) => write!(f, "cosine from {base:?}")?,
            Kind::Burn(replay) => {
                let replay = replay.lock().unwrap_or_else(PoisonError::into_inner);
                write!(f, "scheduler of Burn, {:?} at first", replay.first())?;
            }
            Kind::Refused(message) => f.write_str(message)?,
            Kind::Function(_) => f.write_str("function")?,
        }
        if warmup > 0.0 { write!(f, ", warm-up of {warmup:?} epochs") } else { Ok(()) }
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}

impl From<Kind> for Schedule {
    fn from(kind: Kind) -> Self {
        Self { kind, warmup_epochs: 0.0 }
    }
}

impl From<LearningRate> for Schedule {
    fn from(rule: LearningRate) -> Self {
        Kind::Rule(rule).into()
    }
}

/// Creates a constant rate.
impl From<f64> for Schedule {
    fn from(rate: f64) -> Self {
        Self::step(rate, [])
    }
}

/// Converts a configuration. If Burn rejects the configuration, the error is reported when the run starts.
impl From<LrSchedulerConfig> for Schedule {
    fn from(config: LrSchedulerConfig) -> Self {
        match ModuleLrSchedulerConfig::new(config).init() {
            Ok(scheduler) => Kind::Burn(Arc::new(Mutex::new(Replay::new(scheduler)))).into(),
            Err(message) => Kind::Refused(message).into(),
        }
    }
}

macro_rules! from_burn {
    ($($config:ty),* $(,)?) => {
        $(
            /// Converts a configuration. If Burn rejects the configuration, the error is reported when the run
            /// starts.
            impl From<$config> for Schedule {
                fn from(config: $config) -> Self {
                    LrSchedulerConfig::from(config).into()
                }
            }
        )*
    };
}

from_burn!(
    ComposedLrSchedulerConfig,
    CosineAnnealingLrSchedulerConfig,
    ExponentialLrSchedulerConfig,
    LinearLrSchedulerConfig,
    NoamLrSchedulerConfig,
    SequentialLrSchedulerConfig,
    StepLrSchedulerConfig,
);

/// Rates of arbitrary steps from a scheduler that counts its own steps.
struct Replay {
    /// The scheduler before its first step.
    fresh: ModuleLrScheduler,
    scheduler: ModuleLrScheduler,
    /// Number of steps of `scheduler` so far.
    steps: usize,
    /// Rate of the last step.
    rate: f64,
}

impl Replay {
    fn new(fresh: ModuleLrScheduler) -> Self {
        Self { scheduler: fresh.clone(), fresh, steps: 0, rate: f64::NAN }
    }

    /// Returns the rate of the first step.
    fn first(&self) -> f64 {
        self.fresh.clone().step().base()
    }

    /// Returns the rate of a step, counted from 0. The next step costs one step of the scheduler. An earlier step
    /// costs all steps up to it.
    fn of_step(&mut self, step: usize) -> f64 {
        if step + 1 < self.steps {
            *self = Self::new(self.fresh.clone());
        }
        while self.steps <= step {
            self.rate = self.scheduler.step().base();
            self.steps += 1;
        }
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use burn::lr_scheduler::LrSchedulerRecord;

    use super::*;

    #[test]
    fn a_cosine_ends_with_the_run() {
        let rule = |epochs| {
            let decay = Decay::Cosine;
            LearningRate { base: 0.1, decay, warmup_epochs: 0.5, epochs }
        };
        let schedule = Schedule::cosine(0.1).warmup(0.5).spanning(3);
        assert_eq!(schedule.rule(), Some(&rule(3)));
        // An explicit length is kept.
        assert_eq!(Schedule::from(rule(2)).spanning(3).rule(), Some(&rule(2)));
    }

    #[test]
    fn a_number_is_a_constant_rate() {
        let schedule: Schedule = 0.25.into();
        let rates = [(1, 0), (7, 3)].map(|(epoch, step)| schedule.of_step(epoch, step, 4));
        assert_eq!((rates, schedule.to_string().as_str()), ([0.25, 0.25], "0.25"));
    }

    #[test]
    fn a_function_sees_epoch_step_and_steps_per_epoch() {
        let schedule = Schedule::from_fn(|epoch, step, per_epoch| {
            (100 * epoch + 10 * step + per_epoch) as f64
        });
        assert_eq!(schedule.of_step(3, 2, 4), 324.0);
        // A warm-up of half an epoch, which has two steps.
        let warm = schedule.warmup(0.5);
        let rates = [0, 1, 2].map(|step| warm.of_step(1, step, 4));
        assert_eq!(rates, [52.0, 114.0, 124.0]);
    }

    #[test]
    fn schedulers_of_burn_give_the_rates_of_fresh_ones_in_any_order() {
        let config = CosineAnnealingLrSchedulerConfig::new(0.1, 10).with_min_lr(0.01);
        let mut fresh = config.init().unwrap();
        let expected: Vec<f64> = (0..12).map(|_| fresh.step().base()).collect();
        let schedule = Schedule::from(config);
        let rate = |step: usize| schedule.of_step(1 + step / 4, step % 4, 4);
        let found: Vec<f64> = (0..12).map(rate).collect();
        assert_eq!(found, expected);
        for step in [5, 5, 4, 11, 0] {
            assert_eq!(rate(step), expected[step], "{step}");
        }
    }

    #[derive(Clone)]
    struct Counting(Arc<AtomicUsize>);

    impl LrScheduler for Counting {
        fn step(&mut self) -> f64 {
            self.0.fetch_add(1, Ordering::Relaxed);
            0.5
        }

        fn to_record(&self) -> LrSchedulerRecord {
            LrSchedulerRecord::new()
        }

        fn load_record(&mut self, _: LrSchedulerRecord) {}
    }

    #[test]
    fn consecutive_steps_cost_one_step_of_the_scheduler_each() {
        let count = Arc::new(AtomicUsize::new(0));
        let schedule = Schedule::from_scheduler(Counting(count.clone()));
        for step in 0..1_000 {
            // Called twice, as by a step and by a check after it.
            schedule.of_step(1, step, 1_000);
            schedule.of_step(1, step, 1_000);
        }
        assert_eq!(count.load(Ordering::Relaxed), 1_000);
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let message = |schedule: Schedule| schedule.check().unwrap_err().to_string();
        assert!(Schedule::cosine(0.1).warmup(1.0).check().is_ok());
        assert!(
            message((-0.5).into())
                .starts_with("invalid value `-0.5` for learning-rate: expected a finite")
        );
        assert!(
            message(Schedule::cosine(f64::NAN))
                .starts_with("invalid value `NaN` for learning-rate")
        );
        let warmup = Schedule::from_fn(|_, _, _| 0.1).warmup(f64::INFINITY);
        assert!(message(warmup).starts_with("invalid value `inf` for warmup-epochs"));
        let refused = message(CosineAnnealingLrSchedulerConfig::new(2.0, 10).into());
        assert!(
            refused.starts_with("invalid value `scheduler of Burn` for learning-rate: ")
                && refused.lines().count() == 1
        );
    }

    #[test]
    fn only_schedules_with_a_length_of_their_own_are_described_with_it() {
        let open = Schedule::cosine(0.1).warmup(2.0);
        assert_eq!(open.to_string(), "cosine from 0.1, warm-up of 2.0 epochs");
        let explicit = open.clone().spanning(9).to_string();
        assert_eq!(explicit, "cosine from 0.1 over 9 epochs, warm-up of 2.0 epochs");
        let step = Schedule::step(0.1, [80, 120]);
        assert_eq!(step.to_string(), "0.1, divided by 10 after epochs [80, 120]");
        let burn: Schedule = CosineAnnealingLrSchedulerConfig::new(0.5, 10).into();
        assert_eq!(burn.to_string(), "scheduler of Burn, 0.5 at first");
    }
}
