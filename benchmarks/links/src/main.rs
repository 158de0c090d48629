//! Measures training steps over MPI and compares them with predictions for the link between the ranks.
//!
//! ```sh
//! mpirun -n 2 target/release/links [GBPS|free [ROUNDS [BATCH [DEPTH]]]]
//! ```
//!
//! `GBPS` is the nominal speed of the link; `run` in this folder creates links of that speed.
#![allow(clippy::print_stdout)]

mod probe;

use std::error::Error;
use std::time::Instant;

use burn::optim::ModuleOptimizer;
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData};
use parareal::exec::{Communicator, CrossEntropy, ExecutorBuilder, Layout, World};
use parareal::net::{Cuts, FeedForward, Init};
use parareal::plan::{CostModel, Link, Sample, Scenario, Stopwatch};
use parareal_kernels::Sgd;
use parareal_kernels::allocator::{self, MiMalloc};
use parareal_models::{CostTable, ImageNetwork, NetworkCosts, UnitKind};
use rayon::ThreadPoolBuilder;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Number of classes.
const CLASSES: usize = 10;

/// A measured configuration: all ranks form one chain, or each rank has a replica of the whole network.
struct Way {
    name: &'static str,
    replicas: usize,
    /// Element type of the tensors that are sent.
    wire: DType,
}

const WAYS: [Way; 3] = [
    Way { name: "chain", replicas: 1, wire: DType::F32 },
    Way { name: "chain, bfloat16 on the link", replicas: 1, wire: DType::BF16 },
    // `usize::MAX` stands for the number of ranks.
    Way { name: "replicas", replicas: usize::MAX, wire: DType::F32 },
];

struct Bench<'a> {
    world: &'a World,
    all: &'a Communicator,
    net: ImageNetwork,
    batch: usize,
    rounds: usize,
    optimizer: ModuleOptimizer,
}

impl Bench<'_> {
    /// Measures the costs of components on one core, while the other ranks do the same.
    fn costs(&self, images: usize) -> Result<NetworkCosts> {
        probe::meet(self.all)?;
        let optimizer = self.optimizer.clone();
        let stopwatch = Stopwatch { optimizer, segment_units: 4, repetitions: 5, warm_up: 1 };
        let (net, kinds) = (&self.net, self.net.coarse_unit_kinds());
        let device = Device::flex();
        let table = ThreadPoolBuilder::new()
            .num_threads(1)
            .build()?
            .install(|| CostTable::measure(net, &kinds, images, &stopwatch, &device, "cpu", 1));
        Ok(table.costs(net)?)
    }

    fn predict(
        &self,
        costs: &dyn CostModel,
        cuts: &Cuts,
        way: &Way,
        replicas: usize,
        link: Link,
    ) -> Result<f64> {
        let layout = Layout::threads(cuts.subnetworks(), cuts.subnetworks(), replicas)?;
        let mut scenario = Scenario { link, ..Scenario::new(costs, cuts, layout)? };
        let share = way.wire.size() as f64 / DType::F32.size() as f64;
        scenario.subnetworks.iter_mut().for_each(|subnetwork| subnetwork.output_bytes *= share);
        Ok(scenario.predict()?.makespan())
    }

    /// Measures the wall-clock time of steps.
    fn measure(&self, cuts: &Cuts, way: &Way, replicas: usize) -> Result<Sample> {
        let device = Device::flex();
        let noise = Distribution::Normal(0.0, 1.0);
        let images = Tensor::<4>::random([self.batch, 3, 32, 32], noise, &device);
        let labels: Vec<i64> = (0..self.batch).map(|index| (index % CLASSES) as i64).collect();
        let labels = TensorData::new(labels, [self.batch]);
        let labels = Tensor::<1, Int>::from_data(labels, &device);
        let builder = ExecutorBuilder::new(CrossEntropy::default(), self.optimizer.clone())
            .replicas(replicas)
            .threads(1)
            .message_dtype(way.wire);
        let init = Init::new(1, &device);
        let mut ranks = builder.start_rank(self.world, &self.net, cuts, &init)?;
        let mut sample = Sample::default();
        for round in 0..=self.rounds {
            probe::meet(self.all)?;
            let begun = Instant::now();
            ranks.train_step(images.clone(), labels.clone(), 1e-3)?;
            // The first step is a warm-up: it allocates the memory that later steps reuse.
            if round > 0 {
                sample.push(begun.elapsed().as_secs_f64());
            }
        }
        Ok(sample)
    }

    fn run(&self, nominal: Option<Link>) -> Result<()> {
        let count = self.world.size();
        let speaks = self.world.rank() == 0;
        let whole = self.costs(self.batch)?;
        let part = self.costs(self.batch.div_ceil(count))?;
        let chain = Cuts::even(self.net.units(), count)?;
        let bytes = whole.interface_bytes(chain.units_of(0).end);
        let found = probe::link(self.all, bytes as usize)?;
        if speaks {
            println!(
                "ResNet-{}, batch {}, {count} ranks of one thread, medians of {} steps",
                self.net.depth(),
                self.batch,
                self.rounds
            );
            println!(
                "link: {}; measured {:.0} µs and {:.2} Gbit/s for {:.1} MB",
                nominal.map_or("unshaped".into(), |link| {
                    format!("{} Gbit/s", 8e-9 * link.bandwidth)
                }),
                1e6 * found.latency,
                8e-9 * found.bandwidth,
                1e-6 * bytes
            );
            println!(
                "{:28} {:>12} {:>12} {:>12} {:>12} {:>8} {:>8}",
                "", "no link", "nominal link", "measured link", "measured", "spread", "error"
            );
        }
        for way in &WAYS {
            let replicas = way.replicas.min(count);
            let cuts = Cuts::even(self.net.units(), count / replicas)?;
            let costs = if replicas > 1 { &part } else { &whole };
            let predict = |link| self.predict(costs, &cuts, way, replicas, link);
            let said = nominal.map(predict).transpose()?;
            let (free, with_found) = (predict(Link::FREE)?, predict(found)?);
            let sample = self.measure(&cuts, way, replicas)?;
            if speaks {
                let ms = |seconds: f64| format!("{:.1} ms", 1e3 * seconds);
                println!(
                    "{:28} {:>12} {:>12} {:>12} {:>12} {:>8} {:>+7.1}%",
                    way.name,
                    ms(free),
                    said.map_or("-".into(), ms),
                    ms(with_found),
                    ms(sample.median()),
                    ms(sample.spread()),
                    100.0 * (said.unwrap_or(with_found) / sample.median() - 1.0)
                );
            }
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    allocator::retain();
    let argument = |index: usize, default: usize| -> Result<usize> {
        std::env::args().nth(index).map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let nominal = match std::env::args().nth(1).as_deref() {
        None | Some("free") => None,
        Some(gigabits) => Some(Link { latency: 0.0, bandwidth: gigabits.parse::<f64>()? * 1.25e8 }),
    };
    let (rounds, batch, depth) = (argument(2, 9)?, argument(3, 32)?, argument(4, 56)?);
    let net = ImageNetwork::resnet(depth)?.with_coarse_kind(UnitKind::Bottleneck);
    let optimizer = Sgd { momentum: 0.9, weight_decay: 5e-4, ..Sgd::default() }.into();

    let world = World::init()?;
    let all = world.split(Some(0))?.ok_or("no communicator of all ranks")?;
    if world.size() < 2 {
        return Err("expected at least 2 ranks, for example mpirun -n 2 ..".into());
    }
    let bench = Bench { world: &world, all: &all, net, batch, rounds, optimizer };
    bench.run(nominal)?;
    world.finalize()?;
    Ok(())
}
