//! Strong scaling: the same training step with one worker and with two, one thread each.
//!
//! ```sh
//! cargo run --release -p strong-scaling -- [ROUNDS [BATCH [DEPTH]]]
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use burn::optim::SgdConfig;
use burn::optim::momentum::MomentumConfig;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, Executor, Placement, Threads};
use parareal::net::{Cuts, FeedForward, Init, PararealNetwork};
use parareal_models::resnet::ResNet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One network on one placement.
struct Setting {
    name: String,
    executor: Threads<ResNet, CrossEntropy>,
    times: Vec<Duration>,
}

impl Setting {
    fn new(
        net: &ResNet,
        cuts: &Cuts,
        workers: usize,
        threads: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let device = Device::flex();
        let network = PararealNetwork::build(net, cuts, &Init::new(1, &device))?;
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        let optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
        let mut placement = Placement::new(vec![device], workers);
        placement.threads = threads;
        let name = format!("N = {}, {workers} workers x {threads} threads", cuts.subnetworks());
        let executor = Threads::new(network, CrossEntropy, &optimizer, &placement)?;
        Ok(Self { name, executor, times: Vec::new() })
    }

    fn median(&self) -> f64 {
        let mut times: Vec<f64> = self.times.iter().map(Duration::as_secs_f64).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}

/// Cuts with about the same time on both sides of the middle one.
///
/// A unit of the first, second and third stage takes about 10 : 5 : 3 as long with Burn's
/// operations on the CPU, so that the middle of the time lies early in the network.
fn cuts(net: &ResNet, subnetworks: usize) -> Result<Cuts, Box<dyn Error>> {
    let units = net.units();
    let cost = |unit: usize| [10.0, 5.0, 3.0][3 * unit / units];
    let total: f64 = (0..units).map(cost).sum();
    let mut positions = Vec::new();
    let mut spent = 0.0;
    for unit in 0..units {
        spent += cost(unit);
        if spent >= total * (positions.len() + 1) as f64 / subnetworks as f64
            && positions.len() + 1 < subnetworks
        {
            positions.push(unit + 1);
        }
    }
    Ok(Cuts::new(units, positions)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |index: usize, default: usize| -> Result<usize, Box<dyn Error>> {
        std::env::args().nth(index).map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let (rounds, batch, depth) = (argument(1, 9)?, argument(2, 16)?, argument(3, 110)?);
    let net = ResNet::new(depth)?;
    let mut settings = Vec::new();
    let serial = Cuts::even(net.units(), 1)?;
    settings.push(Setting::new(&net, &serial, 1, 1)?);
    settings.push(Setting::new(&net, &serial, 1, 2)?);
    for subnetworks in [4, 6] {
        let cuts = cuts(&net, subnetworks)?;
        println!("N = {subnetworks}: cuts {:?}", cuts.positions());
        settings.push(Setting::new(&net, &cuts, 1, 1)?);
        settings.push(Setting::new(&net, &cuts, 2, 1)?);
    }

    let device = Device::flex();
    let images = Tensor::<4>::random([batch, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
    let labels: Vec<i64> = (0..batch as i64).map(|i| i % 10).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [batch]), &device);
    // All settings in turn, so that a drift of the machine's speed hits all of them.
    for round in 0..=rounds {
        for setting in &mut settings {
            let report = setting.executor.train_step(images.clone(), labels.clone(), 1e-3)?;
            // The first step of each pays for memory that the others find.
            if round > 0 {
                setting.times.push(report.duration);
            }
        }
    }

    println!("ResNet-{depth}, batch {batch}, medians of {rounds} steps");
    for pair in settings.chunks(2) {
        let (one, two) = (pair[0].median(), pair[1].median());
        println!("{:34} {:8.1} ms", pair[0].name, 1e3 * one);
        println!("{:34} {:8.1} ms   {:.2}x", pair[1].name, 1e3 * two, one / two);
    }
    Ok(())
}
