//! Times and counts of training steps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use parareal::exec::{CrossEntropy, ExecutorBuilder, Update, passes_states_directly};
use parareal::plan::Sample;
use parareal::timeline::Timeline;
use serde_json::json;

use crate::counts::Counts;
use crate::device::Named;
use crate::network::{Network, optimizer};
use crate::{Result, images};

#[derive(Args)]
pub(crate) struct Step {
    /// Devices to train on, over which the workers are distributed.
    #[arg(long, value_delimiter = ',', default_value = "cuda:0")]
    device: Vec<Named>,
    #[command(flatten)]
    network: Network,
    /// Images per batch.
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    /// Workers that share the subnetworks.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Record the launches of a step and replay them.
    #[arg(long)]
    launch_graphs: bool,
    /// Gradient clipping norm.
    #[arg(long)]
    clip_norm: Option<f64>,
    /// Decay of a moving average of the parameters.
    #[arg(long)]
    average_decay: Option<f64>,
    /// Steps before the timed ones; kernels are compiled and chosen in them.
    #[arg(long, default_value_t = 5)]
    warm_up: usize,
    /// Timed steps.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Time limit in seconds; three steps are timed in any case.
    #[arg(long)]
    seconds: Option<f64>,
    /// Folder with CIFAR-10; without it the built-in shapes are used.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// One timed step.
struct Timed {
    duration: Duration,
    timeline: Timeline,
    counts: Option<Counts>,
    is_replayed: bool,
}

impl Step {
    pub(crate) fn run(self) -> Result<()> {
        let begun = Instant::now();
        let devices: Vec<_> = self.device.iter().map(|named| named.device.clone()).collect();
        let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer());
        let builder = builder.devices(devices.clone()).workers(self.workers);
        let builder = if self.launch_graphs { builder.launch_graphs() } else { builder };
        let mut executor = builder.start(self.network.build()?)?;
        let (inputs, targets) =
            images::batches(self.data_dir.clone(), self.batch_size, 1)?.remove(0);

        let mut losses = Vec::new();
        let mut step = || -> Result<Timed> {
            let earlier = Counts::now()?;
            let (clip_norm, average_decay) = (self.clip_norm, self.average_decay);
            let update = Update { clip_norm, average_decay, ..Update::plain(0.01) };
            let begun = Instant::now();
            let report = executor.train_step_with(inputs.clone(), targets.clone(), update)?;
            let duration = begun.elapsed();
            let counts = Counts::now()?.zip(earlier).map(|(now, earlier)| now.since(&earlier));
            losses.push(report.loss);
            let is_replayed = report.is_replayed;
            Ok(Timed { duration, timeline: report.timeline, counts, is_replayed })
        };
        let is_late = || self.seconds.is_some_and(|limit| begun.elapsed().as_secs_f64() >= limit);
        // Time until the end of the first step, from the start of the program, as for PyTorch.
        let mut first = None;
        for done in 0..self.warm_up {
            let Timed { duration, is_replayed, .. } = step()?;
            let replayed = if is_replayed { ", replayed" } else { "" };
            eprintln!("warm-up step {} took {:.3} s{replayed}", done + 1, duration.as_secs_f64());
            first.get_or_insert(begun.elapsed().as_secs_f64());
            if is_late() {
                break;
            }
        }
        let is_over = |timed: usize| timed >= self.steps.max(1) || timed >= 3 && is_late();
        let mut timed = Vec::new();
        while !is_over(timed.len()) {
            timed.push(step()?);
        }
        let names: Vec<_> = self.device.iter().map(|named| &named.name[..]).collect();
        let memory = devices.iter().map(|device| device.memory_pool_usage());
        let reserved = memory.map(|memory| memory.map(|memory| memory.bytes_reserved));
        let reserved = reserved.sum::<Option<u64>>();
        let milliseconds: Vec<f64> =
            timed.iter().map(|timed| 1e3 * timed.duration.as_secs_f64()).collect();
        let replayed = timed.iter().filter(|timed| timed.is_replayed).count();
        let last = timed.pop().ok_or("no step was timed")?;
        let result = json!({
            "device": names.join(","),
            "passes_states_directly": devices.iter().all(passes_states_directly),
            "depth": self.network.depth,
            "subnetworks": self.network.subnetworks,
            "coarse_unit": self.network.coarse_unit.to_string(),
            "precision": self.network.precision.to_string(),
            "batch_size": self.batch_size,
            "workers": self.workers,
            "replayed_steps": replayed,
            "until_first_step_seconds": first,
            "median_ms": milliseconds.iter().copied().collect::<Sample>().median(),
            "milliseconds": milliseconds,
            "activities_ms": activities(&last.timeline),
            "losses": losses,
            "reserved_bytes": reserved,
            "counts": last.counts,
        });
        println!("{result}");
        Ok(())
    }
}

/// Returns the time of each kind of work, summed over all workers.
fn activities(timeline: &Timeline) -> BTreeMap<String, f64> {
    let mut times = BTreeMap::new();
    for span in &timeline.spans {
        *times.entry(format!("{:?}", span.activity)).or_default() += 1e3 * span.duration();
    }
    times
}
