//! Choice of the numbers of workers and threads by timing.

use std::time::Duration;

use burn::tensor::Device;
use parareal::net::FeedForward;
use parareal_train::{Placement, ProcessGroup, RunConfig};

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

/// Returns the placement on the cores of this process with the shortest step, from the times of a few steps on random
/// images. `threads` restricts the placements to this number of threads. If there is only one placement, nothing is
/// timed.
///
/// # Errors
/// If the threads cannot be started, or a step fails.
pub(crate) fn fastest(
    config: &Config,
    threads: Option<usize>,
    group: &ProcessGroup,
    before_timing: &dyn Fn(),
) -> Result<(Placement, Vec<PlacementTime>), VisionError> {
    let cores = group.resources().cores / config.run.replicas;
    let most = config.network.cuts.subnetworks();
    let mut placements = Placement::candidates(cores / threads.unwrap_or(1), most);
    if let Some(threads) = threads {
        placements.iter_mut().for_each(|placement| placement.threads = threads);
        placements.dedup();
    }
    if let [only] = placements[..] {
        return Ok((only, Vec::new()));
    }
    before_timing();
    let times = placements.into_iter().map(|placement| time(config, placement, group));
    let times = times.collect::<Result<Vec<_>, _>>()?;
    let shortest = times.iter().min_by_key(|time| time.step);
    let shortest = shortest.expect("there is at least one placement").placement;
    Ok((shortest, times))
}

fn time(
    config: &Config,
    placement: Placement,
    group: &ProcessGroup,
) -> Result<PlacementTime, VisionError> {
    // Images of three channels and ten classes, whatever the run's are: only the first and the last operation differ.
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
        let shares = labels.one_hot::<2>(net.classes()).float();
        let report = executor.train_step(images, shares, 1e-3)?;
        if step > 0 {
            times.push(report.duration);
        }
    }
    times.sort();
    Ok(PlacementTime { placement, step: times[STEPS / 2] })
}
