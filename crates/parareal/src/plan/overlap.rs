use super::cost::Cost;
use super::scenario::Scenario;
use super::tasks::{Moment, Tasks};
use crate::timeline::Activity;

/// Runs the program of [`crate::exec`] with the durations of a scenario.
pub(super) fn run(scenario: &Scenario, defer: bool) -> Tasks {
    Program::new(scenario, defer).run()
}

/// The program of [`crate::exec`], device by device: the forward pass from upstream to downstream, then
/// the backward pass in the opposite direction.
struct Program<'a> {
    scenario: &'a Scenario,
    defer: bool,
    tasks: Tasks,
    /// The moment that each device has reached.
    at: Vec<Moment>,
}

impl<'a> Program<'a> {
    fn new(scenario: &'a Scenario, defer: bool) -> Self {
        let at = vec![Moment::default(); scenario.layout.workers()];
        Self { scenario, defer, tasks: Tasks::default(), at }
    }

    fn run(mut self) -> Tasks {
        let devices = self.scenario.layout.workers();
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

    /// Runs fine work and the chain. Returns when `U` arrives at the next device.
    fn forward(&mut self, device: usize, arriving: Option<Moment>) -> Option<Moment> {
        let (scenario, own) = (self.scenario, self.scenario.layout.subnetworks_of(device));
        let mut next = own.start;
        let last = own.end - 1;
        for index in own.clone() {
            let subnetwork = &scenario.subnetworks[index];
            self.work(device, index, Activity::FineForward, subnetwork.preprocessing.forward);
            for segment in subnetwork.units.chunks(scenario.segment_units.max(1)) {
                let seconds = segment.iter().map(|unit| unit.forward).sum();
                self.work(device, index, Activity::FineForward, seconds);
                self.advance_chain(device, &mut next, index, arriving);
            }
            self.advance_chain(device, &mut next, index + 1, arriving);
        }
        if let Some(arriving) = arriving.filter(|_| next == own.start) {
            self.at[device] = self.at[device].and(arriving);
        }
        self.advance_chain(device, &mut next, own.end, arriving);
        match &scenario.subnetworks[last].postprocessing {
            Some(h) => {
                self.work(device, last, Activity::Head, h.forward + h.backward());
                None
            }
            None => Some(self.send(device, last, last)),
        }
    }

    /// Advances the chain through the subnetworks before `ready`, if its input has arrived.
    fn advance_chain(
        &mut self,
        device: usize,
        next: &mut usize,
        ready: usize,
        arriving: Option<Moment>,
    ) {
        let first = self.scenario.layout.subnetworks_of(device).start;
        while *next < ready {
            let is_here = arriving.is_none_or(|moment| moment.time <= self.at[device].time);
            if *next == first && !is_here {
                return;
            }
            if let Some(coarse) = self.scenario.subnetworks[*next].coarse {
                self.work(device, *next, Activity::ChainForward, coarse.forward);
            }
            *next += 1;
        }
    }

    /// Sends a tensor of the size of `U` of a subnetwork to a neighbor.
    fn send(&mut self, device: usize, subnetwork: usize, like: usize) -> Moment {
        let seconds = self.scenario.link.time(self.scenario.subnetworks[like].output_bytes);
        self.tasks.run(self.at[device], seconds, device, subnetwork, Activity::Transfer)
    }

    /// Runs the chain backward, then everything else. Returns when `ρ` arrives at the previous device.
    fn backward(&mut self, device: usize, rho: Option<Moment>) -> Option<Moment> {
        let (scenario, own) = (self.scenario, self.scenario.layout.subnetworks_of(device));
        if let Some(rho) = rho {
            self.at[device] = self.at[device].and(rho);
        }
        // No device waits for the first one.
        let defer = self.defer && device > 0;
        let mut waiting = Vec::new();
        for index in own.clone().rev() {
            let Some(coarse) = scenario.subnetworks[index].coarse else { continue };
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
            let subnetwork = &scenario.subnetworks[index];
            let mut weights = subnetwork.coarse.map_or(0.0, |coarse| coarse.weights);
            weights += subnetwork.postprocessing.map_or(0.0, |h| h.weights);
            for segment in subnetwork.units.chunks(scenario.segment_units.max(1)).rev() {
                reduced = self.reduce(device, index, reduced, weights);
                let seconds = segment.iter().map(Cost::backward).sum();
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
            let seconds = scenario.subnetworks[index].total().update;
            self.work(device, index, Activity::Update, seconds);
        }
        sent
    }

    /// Averages gradients over the replicas by a ring, one bucket after another: `2 (R - 1)` messages of
    /// an `R`-th each.
    fn reduce(&mut self, device: usize, subnetwork: usize, after: Moment, bytes: f64) -> Moment {
        let replicas = self.scenario.layout.replicas();
        if replicas < 2 || bytes <= 0.0 {
            return after;
        }
        let seconds =
            2.0 * (replicas - 1) as f64 * self.scenario.link.time(bytes / replicas as f64);
        let begin = after.and(self.at[device]);
        self.tasks.run(begin, seconds, device, subnetwork, Activity::Reduce)
    }
}
