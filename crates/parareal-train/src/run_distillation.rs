//! Distillation of a run before its first step.

use std::collections::HashMap;

use parareal::net::StateDict;
use parareal_run::DistillationRecord;

use crate::checkpoint::tensors::{decode, encode};
use crate::observer::Observer;
use crate::prepared::Prepared;
use crate::{Distillation, Distilled, Task, TrainError};

/// Outcome of the distillation of a run.
pub(crate) struct RunDistillation {
    /// All weights of the network.
    pub(crate) weights: StateDict,
    /// Records for `metrics.jsonl`, in the root process; empty in the others.
    pub(crate) records: Vec<DistillationRecord>,
    /// Duration in seconds.
    pub(crate) seconds: f64,
}

/// Distills the initial weights of a run. Returns `None` if `stop` returned true on any process.
///
/// The root process distills all interfaces, and the others receive the weights. All replicas therefore start
/// with identical weights, even on ranks with different numbers of threads.
pub(crate) fn distill_run<T: Task>(
    run: &Prepared<T>,
    distillation: &Distillation,
    observer: &mut dyn Observer,
    stop: &dyn Fn() -> bool,
) -> Result<Option<RunDistillation>, TrainError> {
    let Prepared { group, config, task, initial, .. } = run;
    let model = task.model();
    let stop = || Ok(group.any([stop()])?[0]);
    if !group.is_root() {
        // `stop` is collective, so it must be called as often as in the root process.
        for _ in 0..distillation.steps() {
            if stop()? {
                return Ok(None);
            }
        }
        let mut tensors = HashMap::new();
        let unread = |message: String| TrainError::ranks(&message);
        decode(&group.broadcast(Vec::new())?, &mut tensors).map_err(unread)?;
        let weights = StateDict::new(model.cuts.clone(), tensors);
        return Ok(Some(RunDistillation { weights, records: Vec::new(), seconds: 0.0 }));
    }
    let mut network = model.build(config.seed)?;
    if let Some(weights) = initial {
        network = network.load(weights)?;
    }
    let workers = config.workers.min(model.cuts.subnetworks());
    let devices = config.own_devices(group).iter().take(workers).cloned();
    let placed = distillation.clone().devices(devices).workers(workers).threads(config.threads);
    let mut epochs = 1..;
    let mut batches = None;
    let inputs = std::iter::from_fn(|| {
        loop {
            if batches.is_none() {
                match task.batches(config.batch_size, config.seed, epochs.next()?, 0) {
                    Ok(epoch) => batches = Some(epoch),
                    Err(error) => return Some(Err(error)),
                }
            }
            match batches.as_mut().and_then(Iterator::next) {
                Some(batch) => return Some(batch.map(|batch| batch.input)),
                None => batches = None,
            }
        }
    });
    let Distilled { network, records, seconds, interrupted } =
        placed.run(network, inputs, observer, &stop)?;
    if interrupted {
        return Ok(None);
    }
    let weights = network.state_dict();
    if group.size() > 1 {
        let mut names: Vec<String> = weights.tensors().keys().cloned().collect();
        names.sort();
        let bytes = encode(&names, weights.tensors()).map_err(|text| TrainError::ranks(&text))?;
        group.broadcast(bytes)?;
    }
    Ok(Some(RunDistillation { weights, records, seconds }))
}
