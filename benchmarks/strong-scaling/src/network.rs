//! Our networks, with workers and threads.

use std::time::Duration;

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, Executor, ExecutorBuilder, Layout, StepReport, SubnetworkTime};
use parareal::net::{Cuts, FeedForward, Init, PararealNetwork};
use parareal_kernels::Sgd;
use parareal_models::{CoarseKind, ImageNetwork, UnitKind};

use crate::Result;
use crate::contestant::Contestant;
use crate::measurement::median;

/// Layout of a serial network on the cores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SerialLayout {
    /// Threads of each replica.
    pub(crate) threads: usize,
    pub(crate) replicas: usize,
}

/// The coarse networks of a comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Coarse {
    /// One unit of the recommended kind.
    Recommended,
    /// The paper's basic units, in the paper's number.
    Paper,
}

/// A network that trains on random images.
pub(crate) struct Network {
    executor: Box<dyn Executor<ImageNetwork, CrossEntropy>>,
    images: Tensor<4>,
    labels: Tensor<1, Int>,
    net: ImageNetwork,
    cuts: Cuts,
}

impl Network {
    fn new(
        net: &ImageNetwork,
        cuts: &Cuts,
        batch: usize,
        place: impl FnOnce(ExecutorBuilder<CrossEntropy>) -> ExecutorBuilder<CrossEntropy>,
    ) -> Result<Self> {
        let device = Device::flex();
        let network = PararealNetwork::build(net, cuts, &Init::new(1, &device))?;
        let optimizer = Sgd { momentum: 0.9, weight_decay: 5e-4, ..Sgd::default() };
        let executor =
            place(ExecutorBuilder::new(CrossEntropy::default(), optimizer)).start(network)?;
        let noise = Distribution::Normal(0.0, 1.0);
        let images = Tensor::random([batch, 3, 32, 32], noise, &device);
        let labels: Vec<i64> = (0..batch as i64).map(|image| image % 10).collect();
        let labels = Tensor::from_data(TensorData::new(labels, [batch]), &device);
        Ok(Self { executor, images, labels, net: net.clone(), cuts: cuts.clone() })
    }

    /// Creates the serial network.
    ///
    /// # Errors
    /// If the depth is not possible, or the executor cannot be started.
    pub(crate) fn serial(depth: usize, batch: usize, layout: SerialLayout) -> Result<Self> {
        let net = ImageNetwork::resnet(depth)?;
        let SerialLayout { threads, replicas } = layout;
        Self::new(&net, &Cuts::even(net.units(), 1)?, batch, |builder| {
            builder.workers(1).threads(threads).replicas(replicas)
        })
    }

    /// Creates a parareal network with workers of one thread each. On two workers, the cuts are balanced by
    /// measurement; on others they are the default ones.
    ///
    /// # Errors
    /// If the network cannot be cut so often, or the executor cannot be started.
    pub(crate) fn parareal(
        depth: usize,
        batch: usize,
        subnetworks: usize,
        coarse: Coarse,
        workers: usize,
    ) -> Result<Self> {
        let net = ImageNetwork::resnet(depth)?;
        let net = match coarse {
            Coarse::Recommended => net.with_coarse_kind(CoarseKind::Auto),
            Coarse::Paper => net.with_coarse_kind(UnitKind::Basic),
        };
        if workers == 2 {
            return Self::on_two(&net, &balanced(&net, subnetworks, batch)?, batch);
        }
        let cuts = net.default_cuts(subnetworks)?;
        Self::new(&net, &cuts, batch, |builder| builder.workers(workers).threads(1))
    }

    pub(crate) fn net(&self) -> &ImageNetwork {
        &self.net
    }

    pub(crate) fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// Returns the layout of the subnetworks on the workers.
    pub(crate) fn layout(&self) -> &Layout {
        self.executor.layout()
    }

    fn on_two(net: &ImageNetwork, cuts: &Cuts, batch: usize) -> Result<Self> {
        let counts = [cuts.subnetworks() - ON_LAST, ON_LAST];
        Self::new(net, cuts, batch, |builder| builder.threads(1).subnetworks_per_worker(counts))
    }

    fn report(&mut self) -> Result<StepReport<Tensor<2>>> {
        Ok(self.executor.train_step(self.images.clone(), self.labels.clone(), 1e-3)?)
    }
}

impl Contestant for Network {
    fn step(&mut self) -> Result<Duration> {
        Ok(self.report()?.duration)
    }
}

/// Number of subnetworks on the second of two workers. It is as small as possible, because nothing overlaps
/// the second worker's part of the chain.
const ON_LAST: usize = 1;

/// Returns cuts with `middle` units on the first of two workers. The part of each worker is cut evenly.
fn parts(units: usize, subnetworks: usize, middle: usize) -> Result<Cuts> {
    let low = Cuts::even(middle, subnetworks - ON_LAST)?;
    let high = Cuts::even(units - middle, ON_LAST)?;
    let high = high.positions().iter().map(|cut| middle + cut);
    let positions = low.positions().iter().copied().chain([middle]).chain(high).collect();
    Ok(Cuts::new(units, positions)?)
}

/// Moves the cut between two workers until both finish at the same time.
///
/// In the forward pass, the second worker can start its part of the chain once the first worker has completed
/// its fine work and its own part of the chain. In the backward pass, the roles are reversed. The fine and
/// coarse time of the first worker should therefore equal the fine time of the second. Each trial is
/// measured, and the one with the shortest step is kept.
fn balanced(net: &ImageNetwork, subnetworks: usize, batch: usize) -> Result<Cuts> {
    let units = net.units();
    let clamped =
        |middle: f64| (middle.max(0.0) as usize).clamp(subnetworks - ON_LAST, units - ON_LAST);
    let mut middle = clamped(units as f64 / 3.0);
    let mut trials: Vec<(f64, usize)> = Vec::new();
    while trials.iter().all(|&(_, tried)| tried != middle) {
        let mut network = Network::on_two(net, &parts(units, subnetworks, middle)?, batch)?;
        network.report()?;
        let (mut surplus, mut times) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let report = network.report()?;
            let (low, high) = report.subnetworks.split_at(subnetworks - ON_LAST);
            let fine = |part: &[SubnetworkTime]| {
                part.iter().map(|time| time.fine.as_secs_f64()).sum::<f64>()
            };
            let coarse: f64 = low.iter().map(|time| time.coarse.as_secs_f64()).sum();
            let unit = (fine(low) / middle as f64).min(fine(high) / (units - middle) as f64);
            surplus.push((fine(low) + coarse - fine(high)) / (2.0 * unit));
            times.push(report.duration.as_secs_f64());
        }
        trials.push((median(&times), middle));
        middle = clamped(middle as f64 - (0.7 * median(&surplus)).round());
    }
    let best = trials.iter().min_by(|a, b| a.0.total_cmp(&b.0)).ok_or("no cut was tried")?;
    parts(units, subnetworks, best.1)
}
