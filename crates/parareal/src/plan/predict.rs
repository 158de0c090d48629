use super::virtual_clock;
use super::{PlanError, Schedule, Setting};
use crate::timeline::{Activity, Span, Timeline};

/// What a step will come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Who does what when.
    pub timeline: Timeline,
    /// The spans that decide how long the step takes, in order: each begins when the one before it
    /// ends.
    pub critical: Vec<Span>,
    /// What each device has to hold, in bytes.
    pub memory: Vec<f64>,
}

impl Prediction {
    /// How long the step takes, in seconds.
    pub fn makespan(&self) -> f64 {
        self.timeline.end()
    }

    /// How much of the critical path is of this kind, in seconds.
    pub fn critical_time(&self, kind: impl Fn(Activity) -> bool) -> f64 {
        self.critical.iter().filter(|span| kind(span.activity)).map(Span::duration).sum()
    }
}

impl Setting {
    /// Follows one training step.
    ///
    /// # Errors
    /// Where the spread does not add up or a cost is none.
    pub fn predict(&self) -> Result<Prediction, PlanError> {
        self.check()?;
        let tasks = match self.schedule {
            Schedule::Overlap { defer } => Program::new(self, defer).run(),
            Schedule::Virtual => virtual_clock::run(self),
        };
        let critical = tasks.critical();
        let spans = tasks.0.into_iter().map(|task| task.span).collect();
        let timeline = Timeline { devices: self.held.len(), spans };
        Ok(Prediction { timeline, critical, memory: self.memory() })
    }
}

/// What was done, and what each had to wait for last.
#[derive(Default)]
pub(super) struct Tasks(Vec<Task>);

struct Task {
    span: Span,
    cause: Option<usize>,
}

/// The end of a task.
#[derive(Clone, Copy, Default)]
pub(super) struct Moment {
    pub(super) time: f64,
    pub(super) task: Option<usize>,
}

impl Moment {
    /// When both are over.
    pub(super) fn and(self, other: Self) -> Self {
        if other.time > self.time { other } else { self }
    }
}

impl Tasks {
    /// Something that begins at a moment and takes so long.
    pub(super) fn run(
        &mut self,
        after: Moment,
        seconds: f64,
        device: usize,
        subnetwork: usize,
        activity: Activity,
    ) -> Moment {
        if seconds <= 0.0 {
            return after;
        }
        let (begin, end) = (after.time, after.time + seconds);
        let span = Span { device, subnetwork, activity, begin, end };
        self.0.push(Task { span, cause: after.task });
        Moment { time: end, task: Some(self.0.len() - 1) }
    }

    fn critical(&self) -> Vec<Span> {
        let ends = self.0.iter().enumerate();
        let last = ends.max_by(|a, b| a.1.span.end.total_cmp(&b.1.span.end));
        let mut at = last.map(|(index, _)| index);
        let mut path = Vec::new();
        while let Some(index) = at {
            path.push(self.0[index].span);
            at = self.0[index].cause;
        }
        path.reverse();
        path
    }
}

/// The program of [`crate::exec`], device by device: forward what comes from upstream, backward
/// what comes from downstream.
struct Program<'a> {
    setting: &'a Setting,
    defer: bool,
    tasks: Tasks,
    /// Up to where each device is.
    at: Vec<Moment>,
}

impl<'a> Program<'a> {
    fn new(setting: &'a Setting, defer: bool) -> Self {
        let at = vec![Moment::default(); setting.held.len()];
        Self { setting, defer, tasks: Tasks::default(), at }
    }

    fn run(mut self) -> Tasks {
        let devices = self.setting.held.len();
        let mut arriving = None;
        for device in 0..devices {
            arriving = self.forward(device, arriving);
        }
        let mut rho = None;
        for device in (0..devices).rev() {
            rho = self.backward(device, rho);
        }
        self.tasks
    }

    fn work(&mut self, device: usize, subnetwork: usize, activity: Activity, seconds: f64) {
        self.at[device] = self.tasks.run(self.at[device], seconds, device, subnetwork, activity);
    }

    /// Fine work and the chain; gives when `U` is at the next device.
    fn forward(&mut self, device: usize, arriving: Option<Moment>) -> Option<Moment> {
        let (setting, own) = (self.setting, self.setting.held_by(device));
        let mut next = own.start;
        let last = own.end - 1;
        for index in own.clone() {
            let subnetwork = &setting.subnetworks[index];
            self.work(device, index, Activity::FineForward, subnetwork.preprocessing.forward);
            for segment in subnetwork.units.chunks(setting.segment_units.max(1)) {
                let seconds = segment.iter().map(|unit| unit.forward).sum();
                self.work(device, index, Activity::FineForward, seconds);
                self.follow_chain(device, &mut next, index, arriving);
            }
            self.follow_chain(device, &mut next, index + 1, arriving);
        }
        if let Some(arriving) = arriving.filter(|_| next == own.start) {
            self.at[device] = self.at[device].and(arriving);
        }
        self.follow_chain(device, &mut next, own.end, arriving);
        match &setting.subnetworks[last].postprocessing {
            Some(h) => {
                self.work(device, last, Activity::Head, h.forward + h.backward());
                None
            }
            None => Some(self.send(device, last, last)),
        }
    }

    /// The chain through the subnetworks before `ready`, if it has come.
    fn follow_chain(
        &mut self,
        device: usize,
        next: &mut usize,
        ready: usize,
        arriving: Option<Moment>,
    ) {
        let first = self.setting.held_by(device).start;
        while *next < ready {
            let is_here = arriving.is_none_or(|moment| moment.time <= self.at[device].time);
            if *next == first && !is_here {
                return;
            }
            if let Some(coarse) = self.setting.subnetworks[*next].coarse {
                self.work(device, *next, Activity::ChainForward, coarse.forward);
            }
            *next += 1;
        }
    }

    /// A tensor as large as `U` of a subnetwork to a neighbour.
    fn send(&mut self, device: usize, subnetwork: usize, like: usize) -> Moment {
        let seconds = self.setting.link.time(self.setting.subnetworks[like].output_bytes);
        self.tasks.run(self.at[device], seconds, device, subnetwork, Activity::Transfer)
    }

    /// The chain backward, then all else; gives when `ρ` is at the device before.
    fn backward(&mut self, device: usize, rho: Option<Moment>) -> Option<Moment> {
        let (setting, own) = (self.setting, self.setting.held_by(device));
        if let Some(rho) = rho {
            self.at[device] = self.at[device].and(rho);
        }
        // Nobody waits for the first device.
        let defer = self.defer && device > 0;
        let mut waiting = Vec::new();
        for index in own.clone().rev() {
            let Some(coarse) = setting.subnetworks[index].coarse else { continue };
            let seconds = if defer { coarse.input_gradient } else { coarse.backward() };
            self.work(device, index, Activity::ChainBackward, seconds);
            waiting.extend(defer.then_some((index, coarse.weight_gradient)));
        }
        let sent = (device > 0).then(|| self.send(device, own.start, own.start - 1));
        let mut reduced = Moment::default();
        for (index, seconds) in waiting {
            self.work(device, index, Activity::ChainWeights, seconds);
        }
        for index in own.clone() {
            let subnetwork = &setting.subnetworks[index];
            let mut weights = subnetwork.coarse.map_or(0.0, |coarse| coarse.weights);
            weights += subnetwork.postprocessing.map_or(0.0, |h| h.weights);
            for segment in subnetwork.units.chunks(setting.segment_units.max(1)).rev() {
                reduced = self.reduce(device, index, reduced, weights);
                let seconds = segment.iter().map(super::Part::backward).sum();
                self.work(device, index, Activity::FineBackward, seconds);
                weights = segment.iter().map(|unit| unit.weights).sum();
            }
            reduced = self.reduce(device, index, reduced, weights);
            let first = subnetwork.preprocessing;
            self.work(device, index, Activity::FineBackward, first.backward());
            reduced = self.reduce(device, index, reduced, first.weights);
        }
        self.at[device] = self.at[device].and(reduced);
        for index in own {
            let seconds = setting.subnetworks[index].total().update;
            self.work(device, index, Activity::Update, seconds);
        }
        sent
    }

    /// Gradients that are out, averaged over the replicas on a ring, one lot after the other:
    /// `2 (R - 1)` messages of an `R`-th each.
    fn reduce(&mut self, device: usize, subnetwork: usize, after: Moment, bytes: f64) -> Moment {
        let replicas = self.setting.replicas;
        if replicas < 2 || bytes <= 0.0 {
            return after;
        }
        let seconds = 2.0 * (replicas - 1) as f64 * self.setting.link.time(bytes / replicas as f64);
        let begin = after.and(self.at[device]);
        self.tasks.run(begin, seconds, device, subnetwork, Activity::Reduce)
    }
}
