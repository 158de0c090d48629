use std::time::Instant;

use burn::backend::ProfileDuration;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Gradients};

use super::cost::Cost;
use crate::exec::{Loss, Stamp, TrainedModule, Update};
use crate::net::{Activation, Coarsen, Layer, SubnetworkOf, Value};

/// Repeated measurements of a time, in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds a measurement.
    pub fn push(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    /// Returns the median; 0 without measurements.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Returns the interquartile range.
    pub fn spread(&self) -> f64 {
        self.quantile(0.75) - self.quantile(0.25)
    }

    /// Returns a quantile, interpolated linearly between the two nearest values.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = share * sorted.len().saturating_sub(1) as f64;
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let (below, part) = (place.floor(), place.fract());
        let (low, high) = (at(below as usize), at(place.ceil() as usize));
        low + part * (high - low)
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(seconds: I) -> Self {
        Self(seconds.into_iter().collect())
    }
}

/// Times of a module that was measured alone, as a worker runs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timing {
    /// The forward pass.
    pub forward: Sample,
    /// The whole backward pass.
    pub backward: Sample,
    /// The backward pass without gradients of weights.
    pub input_gradient: Sample,
    /// The optimizer.
    pub update: Sample,
}

/// A part of a measurement.
#[derive(Clone, Copy)]
enum Part {
    Forward,
    Backward,
    InputGradient,
    Update,
    /// Work that is not timed.
    Other,
}

impl Timing {
    fn push(&mut self, part: Part, seconds: f64) {
        match part {
            Part::Forward => self.forward.push(seconds),
            Part::Backward => self.backward.push(seconds),
            Part::InputGradient => self.input_gradient.push(seconds),
            Part::Update => self.update.push(seconds),
            Part::Other => {}
        }
    }

    /// Returns the median cost of one of `count` modules, among which the times are divided equally.
    pub fn cost(&self, count: usize) -> Cost {
        let share = |sample: &Sample| sample.median() / count as f64;
        let input_gradient = share(&self.input_gradient).min(share(&self.backward));
        Cost {
            forward: share(&self.forward),
            input_gradient,
            weight_gradient: share(&self.backward) - input_gradient,
            update: share(&self.update),
            ..Cost::default()
        }
    }
}

/// Times of the modules of a subnetwork, each measured alone.
#[derive(Clone, Debug, PartialEq)]
pub struct SubnetworkTiming {
    /// `C_j`.
    pub preprocessing: Timing,
    /// `g_j`.
    pub fine: Timing,
    /// `F_{j-1}`.
    pub coarse: Option<Timing>,
    /// `h` and the loss, forward and backward.
    pub postprocessing: Option<Timing>,
}

/// A stopwatch for modules.
///
/// Modules run on the thread pool of the calling thread. Before the measurements there are a few untimed
/// warm-up runs. Times on a GPU are those of its own clock, between stamps in its queue, so that the host submits work
/// ahead as in a step.
#[derive(Clone)]
pub struct Stopwatch {
    /// The optimizer that updates the parameters. It runs with a learning rate of zero.
    pub optimizer: ModuleOptimizer,
    /// The number of units that share a graph; see [`crate::exec::ExecutorBuilder::segment_units`].
    pub segment_units: usize,
    /// The number of measurements.
    pub repetitions: usize,
    /// The number of warm-up runs before the measurements.
    pub warm_up: usize,
}

impl Stopwatch {
    /// Times a module that maps the input to a state, such as `C_j`. No gradient with respect to the input is
    /// computed.
    pub fn entry<I: Value, S: Activation, M: Layer<I, S>>(&self, module: M, input: &I) -> Timing {
        let mut trained = TrainedModule::new(module, &input.device(), &self.optimizer);
        self.repeat(&input.device(), |clock| {
            let output = trained.module().forward(input.clone().constant());
            let values = output.clone().values();
            let vjp = output.vjp();
            clock.lap(Part::Forward);
            if let Some(mut gradients) = S::pull_back(vjp, values) {
                trained.collect(|module, into| module.visit(into), &mut gradients);
            }
            clock.lap(Part::Backward);
            trained.update(Update::plain(0.0));
            clock.lap(Part::Update);
            clock.skip(Part::InputGradient);
        })
    }

    /// Times a sequence of modules that map states to states, such as the units of `g_j` or an `F_j`.
    pub fn chain<S: Activation, M: Layer<S, S>>(&self, modules: Vec<M>, input: &S) -> Timing {
        let input = input.clone().values();
        let mut trained = TrainedModule::new(modules, &input.device(), &self.optimizer);
        self.repeat(&input.device(), |clock| {
            let (graphs, end) = self.forward(trained.module(), input.clone());
            clock.lap(Part::Forward);
            let mut segment = graphs.len();
            pull_back(graphs, end.clone(), |mut gradients| {
                segment -= 1;
                let first = segment * self.segment();
                let part = |modules: &Vec<M>| modules[first..].len().min(self.segment()) + first;
                trained.collect(
                    |modules, into| {
                        modules[first..part(modules)].iter().for_each(|own| own.visit(into))
                    },
                    &mut gradients,
                );
            });
            clock.lap(Part::Backward);
            trained.update(Update::plain(0.0));
            clock.lap(Part::Update);

            // The clones share running statistics with the modules. It does not matter that this run updates
            // them.
            let constant = trained.module().iter().map(|module| module.clone().no_grad());
            let (graphs, end) = self.forward(&constant.collect::<Vec<_>>(), input.clone());
            clock.lap(Part::Other);
            pull_back(graphs, end, drop);
            clock.lap(Part::InputGradient);
        })
    }

    /// Times `h` and the loss.
    pub fn exit<S, O, M, L>(&self, module: M, input: &S, loss: &L, target: &L::Target) -> Timing
    where
        S: Activation,
        O: Activation,
        M: Layer<S, O>,
        L: Loss<O>,
    {
        let mut trained = TrainedModule::new(module, &input.device(), &self.optimizer);
        self.repeat(&input.device(), |clock| {
            let start = input.clone().leaf();
            let output = trained.module().forward(start.clone());
            let loss = loss.forward(output, target.clone());
            clock.lap(Part::Forward);
            let mut gradients = loss.backward();
            let _ = start.take_gradient(&mut gradients);
            trained.collect(|module, into| module.visit(into), &mut gradients);
            clock.lap(Part::Backward);
            trained.update(Update::plain(0.0));
            clock.lap(Part::Update);
            clock.skip(Part::InputGradient);
        })
    }

    /// Times each module of a subnetwork separately.
    ///
    /// The inputs of `F_{j-1}` and `h` are states of this subnetwork, because states of other subnetworks are
    /// not available. The shapes are the same, and times do not depend on the values.
    pub fn subnetwork<N: Coarsen, L: Loss<N::Output>>(
        &self,
        subnetwork: SubnetworkOf<N>,
        input: &N::Input,
        loss: &L,
        target: &L::Target,
    ) -> SubnetworkTiming {
        let x = subnetwork.preprocessing.forward(input.clone().constant()).values();
        let y = self.forward(&subnetwork.units, x.clone()).1;
        SubnetworkTiming {
            preprocessing: self.entry(subnetwork.preprocessing, input),
            fine: self.chain(subnetwork.units, &x),
            coarse: subnetwork.coarse.map(|coarse| self.chain(vec![coarse], &x)),
            postprocessing: subnetwork.postprocessing.map(|h| self.exit(h, &y, loss, target)),
        }
    }

    fn segment(&self) -> usize {
        self.segment_units.max(1)
    }

    fn repeat(&self, device: &Device, mut once: impl FnMut(&mut Clock)) -> Timing {
        let mut timing = Timing::default();
        for repetition in 0..self.warm_up + self.repetitions.max(1) {
            let mut clock = Clock::start(device);
            once(&mut clock);
            for (part, seconds) in clock.finish() {
                if repetition >= self.warm_up {
                    timing.push(part, seconds);
                }
            }
        }
        timing
    }

    /// Runs the forward pass segment by segment, each with its own graph, as [`crate::exec`] does.
    fn forward<S: Activation, M: Layer<S, S>>(
        &self,
        modules: &[M],
        input: S,
    ) -> (Vec<(S, S::Vjp)>, S) {
        let (mut state, mut graphs) = (input, Vec::new());
        for segment in modules.chunks(self.segment()) {
            let start = state.leaf();
            let end = segment.iter().fold(start.clone(), |state, module| module.forward(state));
            state = end.clone().values();
            graphs.push((start, end.vjp()));
        }
        (graphs, state)
    }
}

/// Differentiates all segments along a cotangent, starting with the last one.
fn pull_back<S: Activation>(
    graphs: Vec<(S, S::Vjp)>,
    mut cotangent: S,
    mut collect: impl FnMut(Gradients),
) {
    for (start, vjp) in graphs.into_iter().rev() {
        let Some(mut gradients) = S::pull_back(vjp, cotangent) else { return };
        let Some(next) = start.take_gradient(&mut gradients) else { return };
        cotangent = next;
        collect(gradients);
    }
}

/// A clock that measures the time between laps.
struct Clock {
    device: Device,
    since: Instant,
    /// The stamp of the device's clock at the beginning of the lap; `None` if it has none.
    stamp: Option<Stamp>,
    laps: Vec<(Part, Lap)>,
}

enum Lap {
    Seconds(f64),
    /// Known when the device has executed the work; and the time until it was submitted, in case that nothing was measured.
    Stamps(ProfileDuration, f64),
}

impl Clock {
    fn start(device: &Device) -> Self {
        // A device that cannot be synchronized has no pending work.
        let _ = device.sync();
        let stamp = Stamp::new(device);
        Self { device: device.clone(), since: Instant::now(), stamp, laps: Vec::new() }
    }

    /// Adds the time since the last lap. Waits until the device has finished its work if it has no clock.
    fn lap(&mut self, part: Part) {
        let lap = match self.stamp.take().and_then(Stamp::end) {
            Some(duration) => Lap::Stamps(duration, self.since.elapsed().as_secs_f64()),
            None => {
                let _ = self.device.sync();
                Lap::Seconds(self.since.elapsed().as_secs_f64())
            }
        };
        self.laps.push((part, lap));
        self.stamp = Stamp::new(&self.device);
        self.since = Instant::now();
    }

    /// Adds a part that takes no time.
    fn skip(&mut self, part: Part) {
        self.laps.push((part, Lap::Seconds(0.0)));
    }

    /// Waits until the device has finished its work, and returns the times in seconds.
    fn finish(self) -> Vec<(Part, f64)> {
        let seconds = |lap| match lap {
            Lap::Seconds(seconds) => seconds,
            Lap::Stamps(duration, submitted) => pollster::block_on(duration.resolve())
                .map_or(submitted, |ticks| ticks.duration().as_secs_f64()),
        };
        self.laps.into_iter().map(|(part, lap)| (part, seconds(lap))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_nearest_values() {
        let sample = |values: &[f64]| values.iter().copied().collect::<Sample>();
        assert_eq!(sample(&[3.0, 1.0, 50.0]).median(), 3.0);
        assert_eq!(sample(&[4.0, 1.0, 50.0, 2.0]).median(), 3.0);
        assert_eq!(sample(&[1.0, 2.0, 3.0, 4.0, 5.0]).spread(), 2.0);
        assert_eq!((sample(&[]).median(), sample(&[7.0]).spread()), (0.0, 0.0));
    }
}
