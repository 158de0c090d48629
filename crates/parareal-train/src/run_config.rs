//! Configuration of a run, independent of its network and its data.

use std::time::Duration;

use crate::{CheckpointEvery, DeviceName, ExecutorKind, LinkDtype, Objective, Schedule};

/// Configuration of a run: its length, the update in a step, executor and devices, and the retention of
/// checkpoints. The network, its loss, its optimizer and its data are not part of it.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// Number of passes over the training samples.
    pub epochs: usize,
    /// Number of samples in a step, over all replicas.
    pub batch_size: usize,
    /// Learning rate of each step.
    pub learning_rate: Schedule,
    /// Largest norm of the gradient of all parameters together. A gradient with a larger norm is scaled down to
    /// this norm. `None` disables clipping.
    pub clip_norm: Option<f64>,
    /// Decay of the moving average of the weights that evaluations use; `None` for no average. The decay is
    /// smaller in the first steps ([`Self::ema_decay_of`]).
    pub ema_decay: Option<f64>,
    /// Seed of the initial weights and of all other random numbers.
    pub seed: u64,
    /// Executor of the steps.
    pub executor: ExecutorKind,
    /// Number of replicas of the network. Each replica takes a part of every batch.
    pub replicas: usize,
    /// Number of micro-batches that the part of a replica is split into, at least one. They are computed one after
    /// another, and their gradients are added.
    pub accumulate: usize,
    /// True if batch normalization uses the statistics of all replicas.
    pub sync_batch_norm: bool,
    /// True if workers on GPUs record their launches and replay them.
    pub launch_graphs: bool,
    /// Element type of the tensors that ranks send each other.
    pub link_dtype: LinkDtype,
    /// Devices, in order. The ranks of a machine use them in round-robin order.
    pub devices: Vec<DeviceName>,
    /// Number of workers that share the subnetworks of a replica or, with MPI, of a rank.
    pub workers: usize,
    /// Number of threads of each worker on the CPU.
    pub threads: usize,
    /// Number of units per state that is kept for the backward pass. The other states are recomputed. `None`
    /// keeps all states, and `Some(0)` selects the square root of the number of units in the longest subnetwork
    /// ([`Self::kept_units`]).
    pub recompute: Option<usize>,
    /// Objective by which epochs are compared, for the best checkpoint and for patience.
    pub objective: Objective,
    /// Number of epochs without a new best after which the run ends early; `None` for no limit.
    pub patience: Option<usize>,
    /// Interval of the checkpoints that are saved in addition to those after each epoch.
    pub checkpoint_every: CheckpointEvery,
    /// Number of checkpoints that are kept in addition to the best one, at least one.
    pub keep_checkpoints: usize,
}

impl RunConfig {
    /// Returns the decay of the moving average in a step. Steps are counted from 1. The decay is smaller in the
    /// first steps, so that the initial weights do not stay in the average (like `num_updates` in TensorFlow).
    #[must_use]
    pub fn ema_decay_of(&self, step: usize) -> Option<f64> {
        let step = step as f64;
        self.ema_decay.map(|decay| decay.min((1.0 + step) / (10.0 + step)))
    }

    /// Returns true if a checkpoint is due this many steps and this long after the previous one.
    pub(crate) fn is_checkpoint_due(&self, steps: usize, time: Duration) -> bool {
        self.checkpoint_every.is_due(steps, time)
    }
}
