//! Distillation: training the modules at each interface on the states of the serial network.
//!
//! [`distill`] trains only `C_{j+1}` and `F_j` of every interface `j`. `C`, the units and `h` keep their
//! weights. Let `W_j` be the state of the serial network at cut `j`, and `x_{j+1} = C_{j+1}(x)`. Then:
//!
//! ```text
//! C_{j+1}(x)            approximates  W_j
//! F_j(W_j - x_{j+1})    approximates  g_{j+1}(W_j) - g_{j+1}(x_{j+1})
//! ```
//!
//! No gradient flows from one approximation into the other, or from one interface into another. The units run
//! in evaluation mode, and `C_{j+1}` and `F_j` in training mode, so the running statistics of the latter are
//! updated.
//!
//! `g_{j+1}(W_j)` is `W_{j+1}`, which the next interface needs as well. So the workers form a pipeline. Each
//! worker receives the state at its first cut, sends the state at its last cut to the next worker, and trains
//! its own interfaces while the next worker does the same. In total, a step costs one forward pass of the
//! serial network and, for each interface, one forward pass of `g_{j+1}` and the forward and backward passes
//! of `C_{j+1}` and `F_j`.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use parareal_text::panic_message;

use super::device::operation_threads;
use super::error::ExecError;
use super::interface_trainer::InterfaceTrainer;
use super::layout::Layout;
use super::thread_pool::thread_pool;
use crate::net::{Coarsen, PararealNetwork, SubnetworkOf, Value};

/// Capacity of the queue of batches between two workers.
const QUEUED: usize = 1;

/// Optimizer and workers of [`distill`].
#[derive(Clone)]
pub struct DistillOptions {
    /// Optimizer of the modules at each interface.
    pub optimizer: ModuleOptimizer,
    /// Devices of the workers, in order. If there are fewer devices than workers, neighboring workers share a
    /// device.
    pub devices: Vec<Device>,
    /// Number of workers, at most one per subnetwork. Results do not depend on it.
    pub workers: usize,
    /// Number of threads of each worker on the CPU. Results depend on it only up to rounding.
    pub threads: usize,
}

/// A module at an interface that [`distill`] trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceModule {
    /// `C_{j+1}`.
    Preprocessing,
    /// `F_j`.
    Coarse,
}

impl fmt::Display for InterfaceModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preprocessing => "the preprocessing",
            Self::Coarse => "the coarse network",
        })
    }
}

/// Losses of an interface in one step of [`distill`].
///
/// Each is the squared error before the update, divided by the squared norm of the target, so that an
/// approximation by zero has the loss 1. The norm of the target of `F_j` is taken as at least 1e-5
/// times that of `W_{j+1}`, and a norm of zero is replaced by 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InterfaceLosses {
    /// Loss of `C_{j+1}`.
    pub preprocessing: f64,
    /// Loss of `F_j`.
    pub coarse: f64,
}

/// Trains the modules at each interface of a network on the states of the serial network, and returns the network
/// with the trained modules.
///
/// The trained modules stay on the devices of their workers.
///
/// Each item of `batches` is the input of a step and its learning rate. `on_step` receives the losses of each
/// step in order, one for each interface. The random numbers of random layers depend on the seed of the
/// network, the number of the step and the interface.
///
/// # Errors
/// [`ExecError::Setting`] if the number of workers or threads is 0; [`ExecError::NoDevice`] without devices;
/// [`ExecError::Layout`] if there are more workers than subnetworks; [`ExecError::DistillationDiverged`] if a
/// loss is not finite; [`ExecError::Worker`] if a module panics; [`ExecError::Spawn`] if the operating system
/// cannot start the threads; or the first error among `batches`.
///
/// # Examples
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::AdamConfig;
/// use burn::tensor::Distribution;
/// use parareal::exec::{DistillOptions, ExecError, distill};
/// use parareal::prelude::*;
///
/// fn linear(from: usize, to: usize, init: &Init) -> Linear {
///     LinearConfig::new(from, to).init(init.device())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = Device::flex();
/// let network = Sequential::stem(Tensor::<2>::zeros([1, 2], &device), |init| {
///     layer(linear(2, 8, init), Linear::forward)
/// })
/// .units(4, |_, init| {
///     layer(linear(8, 8, init), |linear, x: Tensor<2>| x.clone() + linear.forward(x).tanh())
/// })
/// .head(|init| layer(linear(8, 3, init), Linear::forward))?;
/// let parareal = PararealNetwork::build(&network, &Cuts::even(4, 2)?, &Init::new(1, &device))?;
///
/// let optimizer = AdamConfig::new().init().into();
/// let options = DistillOptions { optimizer, devices: vec![device.clone()], workers: 1, threads: 1 };
/// let batches = (0..50).map(|_| {
///     Ok::<_, ExecError>((Tensor::random([16, 2], Distribution::Default, &device), 0.01))
/// });
/// let mut losses = Vec::new();
/// let distilled = distill(parareal, &options, batches, |step| losses.push(step[0]))?;
/// assert!(losses[49].preprocessing < losses[0].preprocessing);
/// assert!(losses[49].coarse < losses[0].coarse);
/// # Ok(())
/// # }
/// ```
pub fn distill<N, E>(
    network: PararealNetwork<N>,
    options: &DistillOptions,
    batches: impl IntoIterator<Item = Result<(N::Input, f64), E>>,
    mut on_step: impl FnMut(&[InterfaceLosses]),
) -> Result<PararealNetwork<N>, E>
where
    N: Coarsen,
    E: From<ExecError>,
{
    let cuts = network.cuts().clone();
    let layout = check(options, cuts.subnetworks())?;
    let (reports, reported) = channel();
    let trained = thread::scope(|scope| {
        let (first, workers) = spawn_workers(scope, network, options, &layout, &reports)?;
        drop(reports);
        let mut pending = PendingSteps::new(cuts.subnetworks() - 1);
        let mut fault = None;
        for (step, batch) in (0..).zip(batches) {
            let (input, learning_rate) = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            };
            // If this fails, a worker has stopped. Joining it returns the reason.
            if first.send(Item { step, input, learning_rate, state: None }).is_err() {
                break;
            }
            reported.try_iter().for_each(|report| pending.add(report, &mut on_step));
        }
        drop(first);
        reported.iter().for_each(|report| pending.add(report, &mut on_step));
        let join = |worker: Handle<'_, N>| worker.join().expect("a worker catches its panics");
        let joined: Vec<_> = workers.into_iter().map(join).collect();
        let subnetworks = joined.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        fault.map_or(Ok(subnetworks), Err)
    })?;
    Ok(PararealNetwork::from_subnetworks(trained, cuts))
}

/// Checks the options, and returns the layout of subnetworks on workers.
fn check(options: &DistillOptions, subnetworks: usize) -> Result<Layout, ExecError> {
    if options.devices.is_empty() {
        return Err(ExecError::NoDevice);
    }
    for (setting, number) in [("workers", options.workers), ("threads", options.threads)] {
        if number == 0 {
            let (value, expected) = (number.to_string(), "at least 1".into());
            return Err(ExecError::Setting { setting, value, expected });
        }
    }
    Ok(Layout::threads(subnetworks, options.workers, 1)?)
}

/// A batch that is passed from worker to worker.
struct Item<N: Coarsen> {
    /// The number of the step, from 0.
    step: u64,
    input: N::Input,
    learning_rate: f64,
    /// The state at the first cut of the worker; `None` for the first worker.
    state: Option<N::State>,
}

/// The index of an interface, from 0, and its losses in a step.
type Report = (usize, InterfaceLosses);
type Trained<N> = Result<Vec<SubnetworkOf<N>>, ExecError>;
type Handle<'scope, N> = ScopedJoinHandle<'scope, Trained<N>>;
type Handles<'scope, N> = Vec<Handle<'scope, N>>;

/// Starts the workers. Returns the channel to the first one, and the handles of all.
fn spawn_workers<'scope, N: Coarsen>(
    scope: &'scope Scope<'scope, '_>,
    network: PararealNetwork<N>,
    options: &DistillOptions,
    layout: &Layout,
    reports: &Sender<Report>,
) -> Result<(SyncSender<Item<N>>, Handles<'scope, N>), ExecError> {
    let mut modules = network.into_subnetworks().into_iter();
    let (first, mut inbox) = sync_channel(QUEUED);
    let mut handles = Vec::new();
    for index in 0..layout.workers() {
        let held = layout.subnetworks_of(index);
        let device = &options.devices[index * options.devices.len() / layout.workers()];
        let (downstream, next) = sync_channel(QUEUED);
        let worker = Worker {
            modules: modules.by_ref().take(held.len()).collect(),
            device: device.clone(),
            optimizer: options.optimizer.clone(),
            inbox: std::mem::replace(&mut inbox, next),
            downstream: (index + 1 < layout.workers()).then_some(downstream),
            reports: reports.clone(),
        };
        let name = format!("parareal-{}", index + 1);
        let pool = thread_pool(&name, operation_threads(device, options.threads))?;
        let run = move || pool.install(|| worker.run_to_end(index, held));
        let spawned = thread::Builder::new().name(name).spawn_scoped(scope, run);
        handles.push(spawned.map_err(|error| ExecError::Spawn(error.to_string()))?);
    }
    Ok((first, handles))
}

/// A worker, which trains the interfaces before consecutive subnetworks on one device.
struct Worker<N: Coarsen> {
    modules: Vec<SubnetworkOf<N>>,
    device: Device,
    optimizer: ModuleOptimizer,
    inbox: Receiver<Item<N>>,
    /// The channel to the next worker; `None` for the last one.
    downstream: Option<SyncSender<Item<N>>>,
    reports: Sender<Report>,
}

impl<N: Coarsen> Worker<N> {
    /// Trains until there are no more batches, and returns the subnetworks. A panic is returned as
    /// [`ExecError::Worker`].
    fn run_to_end(self, index: usize, held: Range<usize>) -> Trained<N> {
        // The worker is not used after a panic.
        catch_unwind(AssertUnwindSafe(|| self.run())).unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            let (first, last) = (held.start + 1, held.end);
            Err(ExecError::Worker { worker: index + 1, first, last, message })
        })
    }

    fn run(self) -> Trained<N> {
        let Self { modules, device, optimizer, inbox, downstream, reports } = self;
        let new = |module| InterfaceTrainer::<N>::new(module, &device, &optimizer);
        let mut subnetworks: Vec<_> = modules.into_iter().map(new).collect();
        for Item { step, input, learning_rate, mut state } in inbox {
            let input = input.to_device(&device);
            state = state.map(|state| state.to_device(&device));
            let mut targets = Vec::with_capacity(subnetworks.len());
            for subnetwork in &subnetworks {
                let end = subnetwork.forward_serial(&input, state.clone());
                targets.push((state.replace(end.clone()), end));
            }
            if let Some(downstream) = &downstream {
                let item = Item { step, input: input.clone(), learning_rate, state };
                if downstream.send(item).is_err() {
                    // The next worker has stopped. Joining it returns the reason.
                    break;
                }
            }
            for (subnetwork, (start, end)) in subnetworks.iter_mut().zip(targets) {
                // There is no interface before the first subnetwork.
                let Some(start) = start else { continue };
                let losses = subnetwork.train(step, &input, start, end, learning_rate)?;
                // The receiver is gone if the caller has panicked.
                let _ = reports.send((subnetwork.interface() - 1, losses));
            }
        }
        Ok(subnetworks.into_iter().map(InterfaceTrainer::into_subnetwork).collect())
    }
}

/// Steps that some interfaces have not reported yet.
struct PendingSteps {
    interfaces: usize,
    /// The losses of each step, starting with the first incomplete one.
    steps: VecDeque<Vec<Option<InterfaceLosses>>>,
    /// The number of steps in `steps` that each interface has reported.
    reported: Vec<usize>,
}

impl PendingSteps {
    fn new(interfaces: usize) -> Self {
        Self { interfaces, steps: VecDeque::new(), reported: vec![0; interfaces] }
    }

    /// Adds the losses of the next step of an interface, and calls `on_step` for each step that this
    /// completes.
    fn add(&mut self, (interface, losses): Report, on_step: &mut impl FnMut(&[InterfaceLosses])) {
        let step = self.reported[interface];
        if step == self.steps.len() {
            self.steps.push_back(vec![None; self.interfaces]);
        }
        self.steps[step][interface] = Some(losses);
        self.reported[interface] += 1;
        while let Some(complete) =
            self.steps.front().and_then(|step| step.iter().copied().collect::<Option<Vec<_>>>())
        {
            self.steps.pop_front();
            self.reported.iter_mut().for_each(|steps| *steps -= 1);
            on_step(&complete);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_reported_in_order_when_all_interfaces_have_reported_them() {
        let losses = |preprocessing| InterfaceLosses { preprocessing, coarse: 0.0 };
        let mut pending = PendingSteps::new(2);
        let mut seen = Vec::new();
        for (interface, loss) in [(0, 1.0), (0, 2.0), (1, 10.0), (0, 3.0), (1, 20.0), (1, 30.0)] {
            pending.add((interface, losses(loss)), &mut |step: &[InterfaceLosses]| {
                seen.push([step[0].preprocessing, step[1].preprocessing]);
            });
        }
        assert_eq!(seen, [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]);
    }
}
