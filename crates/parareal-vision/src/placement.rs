//! Choice of the numbers of workers and threads by timing.

use std::time::Duration;

use burn::tensor::Device;
use parareal::net::FeedForward;
use parareal_train::{Placement, ProcessGroup, RunConfig, check_threads};

use crate::random_batch::RandomBatch;
use crate::{Config, VisionError};

/// Number of timed steps with each placement. An untimed step comes first: it allocates memory.
const STEPS: usize = 3;

/// Time of a step with these numbers of workers and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacementTime {
    /// Numbers of workers and threads.
    pub placement: Placement,
    /// Median duration of the timed steps.
    pub step: Duration,
}

/// Times steps of the network of a configuration on random images, with each placement on the cores of this
/// process. `threads` restricts the placements to this number of threads.
///
/// # Errors
/// If there are fewer cores than threads, the threads cannot be started, or a step fails.
pub(crate) fn measure(
    config: &Config,
    threads: Option<usize>,
    group: &ProcessGroup,
) -> Result<Vec<PlacementTime>, VisionError> {
    let cores = group.resources().cores;
    let most = config.network.cuts.subnetworks();
    let shared = match threads {
        Some(threads) => {
            check_threads(threads, cores)?;
            (cores / threads / config.run.replicas).max(1)
        }
        None => cores / config.run.replicas,
    };
    let mut placements = Placement::candidates(shared, most);
    if let Some(threads) = threads {
        placements.iter_mut().for_each(|placement| placement.threads = threads);
        placements.dedup();
    }
    placements.into_iter().map(|placement| time(config, placement, group)).collect()
}

fn time(
    config: &Config,
    placement: Placement,
    group: &ProcessGroup,
) -> Result<PlacementTime, VisionError> {
    // The network of a configuration is for images of three channels, and its cost hardly depends on them.
    let net = &config.network.net;
    let (shape, count) = (net.input_shape(), config.run.batch_size);
    let batch = RandomBatch::new(&shape, net.classes(), count, &Device::flex());
    let model = config.model(3, net.classes());
    let Placement { workers, threads } = placement;
    let run = RunConfig { workers, threads, ..config.run.clone() };
    let mut executor = run.start(group, &model, None)?;
    let mut times = Vec::new();
    for step in 0..=STEPS {
        let RandomBatch { images, labels } = batch.clone();
        let report = executor.train_step(images, labels, 1e-3)?;
        if step > 0 {
            times.push(report.duration);
        }
    }
    times.sort();
    Ok(PlacementTime { placement, step: times[STEPS / 2] })
}

/// Returns the placement with the shortest step; the first of several.
pub(crate) fn fastest(times: &[PlacementTime]) -> Placement {
    let fastest = times.iter().min_by_key(|time| time.step);
    fastest.map_or(Placement { workers: 1, threads: 1 }, |time| time.placement)
}
