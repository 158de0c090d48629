//! Measures strong scaling: the same training step with one worker and with two workers of one thread each.
//!
//! ```sh
//! cargo run --release -p strong-scaling -- [ROUNDS [BATCH [DEPTH]]]
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, Executor, ExecutorBuilder, StepReport};
use parareal::net::{Cuts, FeedForward, Init, PararealNetwork};
use parareal_kernels::Sgd;
use parareal_kernels::allocator::{self, MiMalloc};
use parareal_models::resnet::{ResNet, UnitKind};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The batch of every step.
#[derive(Clone)]
struct Batch {
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

/// A network on one or two workers.
struct Setting {
    name: String,
    executor: Box<dyn Executor<ResNet, CrossEntropy>>,
    times: Vec<Duration>,
}

impl Setting {
    fn new(net: &ResNet, cuts: &Cuts, workers: usize, threads: usize) -> Result<Self> {
        let device = Device::flex();
        let network = PararealNetwork::build(net, cuts, &Init::new(1, &device))?;
        let optimizer = Sgd { momentum: 0.9, ..Sgd::default() };
        let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer).threads(threads);
        let builder = match workers {
            2 => builder.subnetworks_per_worker([cuts.subnetworks() - ON_LAST, ON_LAST]),
            _ => builder.workers(workers),
        };
        let plural = |count, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let name = format!(
            "N = {}, {} of {}",
            cuts.subnetworks(),
            plural(workers, "worker"),
            plural(threads, "thread")
        );
        let executor = builder.start(network)?;
        Ok(Self { name, executor, times: Vec::new() })
    }

    fn step(&mut self, batch: &Batch) -> Result<StepReport<Tensor<2>>> {
        Ok(self.executor.train_step(batch.images.clone(), batch.labels.clone(), 1e-3)?)
    }

    fn timed_step(&mut self, batch: &Batch) -> Result<()> {
        let time = self.step(batch)?.duration;
        self.times.push(time);
        Ok(())
    }

    fn median(&self) -> f64 {
        median(self.times.iter().map(Duration::as_secs_f64).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
fn balanced(net: &ResNet, subnetworks: usize, batch: &Batch) -> Result<Cuts> {
    let units = net.units();
    let mut middle = units / 3;
    let mut trials: Vec<(f64, usize)> = Vec::new();
    while trials.iter().all(|&(_, tried)| tried != middle) {
        let cuts = parts(units, subnetworks, middle)?;
        let mut setting = Setting::new(net, &cuts, 2, 1)?;
        setting.step(batch)?;
        let mut surplus = Vec::new();
        for _ in 0..3 {
            let report = setting.step(batch)?;
            let (low, high) = report.subnetworks.split_at(subnetworks - ON_LAST);
            let fine = |part: &[_]| part.iter().map(fine_seconds).sum::<f64>();
            let coarse: f64 = low.iter().map(|time| time.coarse.as_secs_f64()).sum();
            let unit = (fine(low) / middle as f64).min(fine(high) / (units - middle) as f64);
            surplus.push((fine(low) + coarse - fine(high)) / (2.0 * unit));
            setting.times.push(report.duration);
        }
        trials.push((setting.median(), middle));
        let target = middle as f64 - (0.7 * median(surplus)).round();
        middle = (target.max(0.0) as usize).clamp(subnetworks - ON_LAST, units - ON_LAST);
    }
    let best = trials.iter().min_by(|a, b| a.0.total_cmp(&b.0)).ok_or("no cut was tried")?;
    parts(units, subnetworks, best.1)
}

fn fine_seconds(time: &parareal::exec::SubnetworkTime) -> f64 {
    time.fine.as_secs_f64()
}

/// Runs steps of two whole networks at the same time, which shows the speed of two cores without any
/// dependence.
fn both(pair: &mut [Setting; 2], batch: &Batch) -> Result<()> {
    let [first, second] = pair;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| second.timed_step(batch).map_err(|error| error.to_string()));
        first.timed_step(batch)?;
        Ok(other.join().map_err(|_| "the second network's thread panicked")??)
    })
}

fn main() -> Result<()> {
    allocator::retain();
    let argument = |index: usize, default: usize| -> Result<usize> {
        std::env::args().nth(index).map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let (rounds, batch_size, depth) = (argument(1, 9)?, argument(2, 32)?, argument(3, 164)?);
    // The cheapest chain has one bottleneck unit for each interface.
    let net = ResNet::new(depth)?.with_coarse_kind(UnitKind::Bottleneck);
    let net = net.with_coarse_units(Some(1));

    let device = Device::flex();
    let noise = Distribution::Normal(0.0, 1.0);
    let images = Tensor::<4>::random([batch_size, 3, 32, 32], noise, &device);
    let labels: Vec<i64> = (0..batch_size as i64).map(|i| i % 10).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [batch_size]), &device);
    let batch = Batch { images, labels };

    let serial = Cuts::even(net.units(), 1)?;
    let mut settings = vec![Setting::new(&net, &serial, 1, 1)?, Setting::new(&net, &serial, 1, 2)?];
    for subnetworks in [4, 6] {
        let cuts = balanced(&net, subnetworks, &batch)?;
        println!("N = {subnetworks}: cuts {:?}", cuts.positions());
        settings.push(Setting::new(&net, &cuts, 1, 1)?);
        settings.push(Setting::new(&net, &cuts, 2, 1)?);
    }
    let mut copies = [Setting::new(&net, &serial, 1, 1)?, Setting::new(&net, &serial, 1, 1)?];

    // Settings alternate, so that changes in the speed of the machine affect all of them.
    for round in 0..=rounds {
        for setting in &mut settings {
            setting.timed_step(&batch)?;
        }
        both(&mut copies, &batch)?;
        // The first step of each setting is a warm-up: it allocates the memory that later steps reuse.
        if round == 0 {
            settings.iter_mut().chain(&mut copies).for_each(|setting| setting.times.clear());
        }
    }

    println!("ResNet-{depth}, batch {batch_size}, medians of {rounds} steps");
    for pair in settings.chunks(2) {
        let (one, two) = (pair[0].median(), pair[1].median());
        println!("{:30} {:8.1} ms", pair[0].name, 1e3 * one);
        println!("{:30} {:8.1} ms   {:.2}x", pair[1].name, 1e3 * two, one / two);
    }
    let (alone, beside) = (settings[0].median(), copies[0].median().max(copies[1].median()));
    println!(
        "{:30} {:8.1} ms   {:.2}x",
        "two independent copies of N = 1",
        1e3 * beside,
        2.0 * alone / beside
    );
    Ok(())
}
