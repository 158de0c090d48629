//! Distillation before training: the modules at the interfaces learn from the serial network.

use std::time::Instant;

use burn::optim::{AdamConfig, ModuleOptimizer};
use parareal::exec::{DistillOptions, InterfaceLosses, distill};
use parareal::net::{Coarsen, PararealNetwork};
use parareal_run::{DistillationRecord, InterfaceRecord};

use crate::placement::default_workers;
use crate::process_group::Resources;
use crate::task::Stop;
use crate::{DeviceName, Observer, TrainError};

/// Default learning rate of the first step.
const LEARNING_RATE: f64 = 1e-2;
/// Number of records of a distillation after the record of the first step.
const RECORDS: usize = 10;

/// Distillation: `C_{j+1}` and `F_j` of every interface are trained on their own on the states of the serial
/// network, before joint training begins. [`parareal::exec::distill`] describes what each of them approximates.
///
/// If a network is trained as a whole and then cut, its new interfaces are untrained, so its initial outputs are
/// not meaningful. After the distillation, the outputs are close to the outputs of the serial network, and joint
/// training continues from there.
///
/// Each step costs one forward pass of the serial network and, for each interface, one forward pass of `g_{j+1}`
/// and a training step of `C_{j+1}` and `F_j`. Interfaces are trained in parallel, on as many workers as there are. In a run
/// over the ranks of an MPI program, rank 0 distills the whole network with its own workers while the others wait, and all
/// ranks receive the result.
///
/// The default optimizer is Adam, independently of the optimizer of the run. The steps of Adam hardly depend on
/// the scale of a gradient that is far above its ε (1e-5). One learning rate therefore suits all interfaces, kinds of layers and sizes of
/// states, and few steps suffice. The learning rate falls to zero along a cosine.
///
/// For ResNet-29 with four depthwise coarse units, N = 3, on a subset of CIFAR-10, the losses after 60 steps are:
///
/// | optimizer | learning rate | losses of the two `F_j` |
/// | --- | --- | --- |
/// | Adam | 0.003 | 0.90, 0.44 |
/// | Adam | 0.01 | 0.39, 0.26 |
/// | Adam | 0.03 | 0.41, 0.37 |
/// | SGD, momentum 0.9 | 0.1 | 0.99, 1.19 |
///
/// Results do not depend on the number of workers, and depend on the number of threads only by rounding errors.
/// Random numbers depend on the seed of the network, the step and the interface.
///
/// # Examples
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Distribution;
/// use parareal_train::Distillation;
/// use parareal_train::prelude::*;
///
/// # fn linear(from: usize, to: usize, init: &Init) -> Linear {
/// #     LinearConfig::new(from, to).init(init.device())
/// # }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::flex();
/// # let network = Sequential::stem(Tensor::<2>::zeros([1, 2], &device), |init| {
/// #     layer(linear(2, 8, init), Linear::forward)
/// # })
/// # .units(4, |_, init| {
/// #     layer(linear(8, 8, init), |linear, x: Tensor<2>| x.clone() + linear.forward(x).tanh())
/// # })
/// # .head(|init| layer(linear(8, 3, init), Linear::forward))?;
/// # let trained = PararealNetwork::build(&network, &Cuts::even(4, 1)?, &Init::new(1, &device))?;
/// // `trained` is the serial network. Its interfaces are new after it is cut.
/// let cut = trained.recut(&network, &Cuts::even(4, 2)?, &Init::new(1, &device))?;
/// let inputs = std::iter::repeat_with(|| {
///     Ok(Tensor::<2>::random([16, 2], Distribution::Default, &device))
/// });
/// let distilled = Distillation::new(50).run(cut, inputs, &mut (), &|| Ok(false))?;
/// let [first, .., last] = &distilled.records[..] else { panic!("the first and the last step are recorded") };
/// assert!(last.interfaces[0].preprocessing < first.interfaces[0].preprocessing);
/// let network = distilled.network;
/// # assert_eq!(network.subnetworks().len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Distillation {
    steps: usize,
    learning_rate: f64,
    optimizer: ModuleOptimizer,
    devices: Vec<DeviceName>,
    workers: Option<usize>,
    threads: Option<usize>,
}

/// A network after its distillation.
pub struct Distilled<N: Coarsen> {
    /// The network with trained modules at the interfaces. `C`, the units and `h` are unchanged.
    pub network: PararealNetwork<N>,
    /// Losses of the first step, and means over each tenth of the steps; the last mean may cover fewer steps.
    pub records: Vec<DistillationRecord>,
    /// Duration in seconds.
    pub seconds: f64,
    /// True if the distillation was stopped before its last step.
    pub interrupted: bool,
}

impl Distillation {
    /// Creates a distillation of this many steps.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self {
            steps,
            learning_rate: LEARNING_RATE,
            optimizer: AdamConfig::new().init(),
            devices: vec![DeviceName::cpu()],
            workers: None,
            threads: None,
        }
    }

    /// Sets the optimizer, and its learning rate in the first step.
    #[must_use]
    pub fn optimizer(mut self, optimizer: impl Into<ModuleOptimizer>, learning_rate: f64) -> Self {
        (self.optimizer, self.learning_rate) = (optimizer.into(), learning_rate);
        self
    }

    /// Sets the devices of the workers, the CPU by default. A run replaces them with its own devices.
    #[must_use]
    pub fn devices(mut self, devices: impl IntoIterator<Item = DeviceName>) -> Self {
        self.devices = devices.into_iter().collect();
        self
    }

    /// Sets the number of workers. The default is one per device or core, but at most one per subnetwork. A run
    /// replaces it with its own number of workers.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets the number of threads of each worker on the CPU, by default an equal share of the cores. A run
    /// replaces it with its own number of threads.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Returns the number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Checks that the distillation can be applied to a network of this many subnetworks.
    ///
    /// # Errors
    /// If the number of steps is 0, there is no interface, or the learning rate is not positive
    /// ([`TrainError::Setting`]).
    pub fn check(&self, subnetworks: usize) -> Result<(), TrainError> {
        let refuse = |found: String, expected| Err(TrainError::setting("distill", found, expected));
        if self.steps == 0 {
            return refuse("0".into(), "expected at least 1");
        }
        if subnetworks < 2 {
            let expected = "requires at least 2 subnetworks; a single one has no interface";
            return refuse(self.steps.to_string(), expected);
        }
        let rate = self.learning_rate;
        if !(rate.is_finite() && rate > 0.0) {
            let expected = "expected a positive number";
            return Err(TrainError::setting("distillation learning rate", rate, expected));
        }
        Ok(())
    }

    /// Distills a network whose `C`, units and `h` are taken from the serial network.
    ///
    /// `inputs` yields the batch of each step; if it ends early, so does the distillation. `stop` is called before each
    /// step. `observer` receives the losses of each step ([`Observer::on_distillation`]).
    ///
    /// # Errors
    /// If [`Self::check`] or [`parareal::exec::distill`] fails, a device is missing ([`TrainError::NoDevice`]), or
    /// `inputs` or `stop` returns an error.
    pub fn run<N: Coarsen>(
        &self,
        network: PararealNetwork<N>,
        inputs: impl IntoIterator<Item = Result<N::Input, TrainError>>,
        observer: &mut dyn Observer,
        stop: Stop<'_>,
    ) -> Result<Distilled<N>, TrainError> {
        let subnetworks = network.cuts().subnetworks();
        self.check(subnetworks)?;
        let options = self.options(subnetworks)?;
        let begun = Instant::now();
        let mut interrupted = false;
        let mut inputs = inputs.into_iter();
        let batches = (0..self.steps).map_while(|step| {
            match stop() {
                Ok(false) => {}
                Ok(true) => {
                    interrupted = true;
                    return None;
                }
                Err(error) => return Some(Err(error)),
            }
            let rate = self.learning_rate_of(step);
            inputs.next().map(|input| input.map(|input| (input, rate)))
        });
        let mut records = Records::new(self.steps);
        let network = distill(network, &options, batches, |losses| {
            observer.on_distillation(&records.add(losses, begun.elapsed().as_secs_f64()));
        })?;
        records.complete_last();
        let (records, seconds) = (records.complete, begun.elapsed().as_secs_f64());
        Ok(Distilled { network, records, seconds, interrupted })
    }

    /// Returns the learning rate of a step. Steps are counted from 0.
    fn learning_rate_of(&self, step: usize) -> f64 {
        let passed = step as f64 / self.steps as f64;
        self.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * passed).cos())
    }

    fn options(&self, subnetworks: usize) -> Result<DistillOptions, TrainError> {
        let workers = self.workers.unwrap_or_else(|| default_workers(&self.devices, subnetworks));
        let workers = workers.min(subnetworks);
        let cores = Resources::alone().cores;
        Ok(DistillOptions {
            optimizer: self.optimizer.clone(),
            devices: self.devices.iter().map(DeviceName::find).collect::<Result<_, _>>()?,
            workers,
            threads: self.threads.unwrap_or_else(|| (cores / workers.max(1)).max(1)),
        })
    }
}

/// Collector of the records of a distillation.
struct Records {
    steps: usize,
    done: usize,
    complete: Vec<DistillationRecord>,
    /// Sums over the steps since the last record; `summed` is the number of these steps.
    sums: Vec<InterfaceRecord>,
    summed: usize,
    /// Duration until the last of these steps, in seconds.
    seconds: f64,
}

impl Records {
    fn new(steps: usize) -> Self {
        Self { steps, done: 0, complete: Vec::new(), sums: Vec::new(), summed: 0, seconds: 0.0 }
    }

    /// Adds a step, and returns a record of this step alone.
    fn add(&mut self, losses: &[InterfaceLosses], seconds: f64) -> DistillationRecord {
        self.done += 1;
        let (step, steps) = (self.done, self.steps);
        let interfaces = losses.iter().map(|&InterfaceLosses { preprocessing, coarse }| {
            InterfaceRecord { preprocessing, coarse }
        });
        let record = DistillationRecord { step, steps, interfaces: interfaces.collect(), seconds };
        if step == 1 {
            self.complete.push(record.clone());
            return record;
        }
        self.sums.resize(losses.len(), InterfaceRecord::default());
        for (sum, losses) in self.sums.iter_mut().zip(losses) {
            sum.preprocessing += losses.preprocessing;
            sum.coarse += losses.coarse;
        }
        self.summed += 1;
        self.seconds = seconds;
        if step == steps || step.is_multiple_of(steps.div_ceil(RECORDS)) {
            self.complete_last();
        }
        record
    }

    /// Completes the record of the steps since the last record, if there are any.
    fn complete_last(&mut self) {
        if self.summed == 0 {
            return;
        }
        let count = std::mem::take(&mut self.summed) as f64;
        let mean = |sum: InterfaceRecord| InterfaceRecord {
            preprocessing: sum.preprocessing / count,
            coarse: sum.coarse / count,
        };
        let interfaces = std::mem::take(&mut self.sums).into_iter().map(mean).collect();
        let (step, steps, seconds) = (self.done, self.steps, self.seconds);
        self.complete.push(DistillationRecord { step, steps, interfaces, seconds });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_the_first_step_and_means_over_tenths() {
        let mut records = Records::new(25);
        for step in 1..=25 {
            let losses = InterfaceLosses { preprocessing: f64::from(step), coarse: 1.0 };
            let own = records.add(&[losses], 0.5);
            assert_eq!(
                (own.step, own.interfaces[0].preprocessing),
                (step as usize, f64::from(step))
            );
        }
        let found = records.complete.iter().map(|it| (it.step, it.interfaces[0].preprocessing));
        let found: Vec<_> = found.collect();
        assert_eq!(&found[..3], [(1, 1.0), (3, 2.5), (6, 5.0)]);
        assert_eq!(found[found.len() - 2..], [(24, 23.0), (25, 25.0)]);
        // Inputs that end early.
        let mut ended = Records::new(25);
        for step in 1..=5 {
            ended.add(&[InterfaceLosses { preprocessing: f64::from(step), coarse: 1.0 }], 0.5);
        }
        ended.complete_last();
        ended.complete_last();
        let last = ended.complete.last().unwrap();
        assert_eq!((ended.complete.len(), last.step), (3, 5));
        assert_eq!(last.interfaces[0].preprocessing, 4.5);
        let mut one = Records::new(1);
        one.add(&[InterfaceLosses::default()], 0.0);
        assert_eq!(one.complete.len(), 1);
    }

    #[test]
    fn the_learning_rate_falls_to_zero() {
        let distillation = Distillation::new(100);
        assert_eq!(distillation.learning_rate_of(0), LEARNING_RATE);
        assert!((distillation.learning_rate_of(50) - LEARNING_RATE / 2.0).abs() < 1e-12);
        assert!(distillation.learning_rate_of(99) < 1e-5);
    }

    #[test]
    fn what_cannot_be_distilled_is_refused() {
        for (distillation, subnetworks, part) in [
            (Distillation::new(0), 3, "invalid value `0` for distill: expected at least 1"),
            (Distillation::new(5), 1, "invalid value `5` for distill: requires at least 2"),
            (Distillation::new(5).optimizer(AdamConfig::new().init(), f64::NAN), 2, "NaN"),
        ] {
            let message = distillation.check(subnetworks).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        Distillation::new(5).check(2).unwrap();
    }
}
