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
    /// Largest norm of the gradient of all parameters together; longer gradients are scaled down to it.
    pub clip_norm: Option<f64>,
    /// Decay of the moving average of the weights that evaluations use; `None` for no average. In the
    /// first steps it is smaller ([`Self::ema_decay_of`]).
    pub ema_decay: Option<f64>,
    /// Seed of the initial weights and of all other random numbers.
    pub seed: u64,
    /// Executor of the steps.
    pub executor: ExecutorKind,
    /// Number of replicas of the network, each of which takes a part of every batch.
    pub replicas: usize,
    /// Element type of the tensors that ranks send each other.
    pub link_dtype: LinkDtype,
    /// Devices, in order; the ranks of a machine take them in turn.
    pub devices: Vec<DeviceName>,
    /// Number of workers that share the subnetworks of each replica, or those of a rank.
    pub workers: usize,
    /// Number of threads of each worker on the CPU.
    pub threads: usize,
    /// Number of units per state kept for the backward pass, while the other states are recomputed;
    /// `Some(0)` for the square root of the number of units in the longest subnetwork
    /// ([`Self::kept_units`]), and `None` to keep all states.
    pub recompute: Option<usize>,
    /// Objective by which epochs are compared, for the best checkpoint and for patience.
    pub objective: Objective,
    /// Number of epochs without a new best after which the run ends early; `None` for no limit.
    pub patience: Option<usize>,
    /// Times of checkpoints in addition to those at the end of each epoch.
    pub checkpoint_every: CheckpointEvery,
    /// Number of checkpoints that are kept in addition to the best one, at least one.
    pub keep_checkpoints: usize,
}

impl RunConfig {
    /// Returns the decay of the moving average in a step, counted from 1: smaller in the first steps, so
    /// that the initial weights do not stay in the average, as with TensorFlow's `num_updates`.
    #[must_use]
    pub fn ema_decay_of(&self, step: usize) -> Option<f64> {
        let step = step as f64;
        self.ema_decay.map(|decay| decay.min((1.0 + step) / (10.0 + step)))
    }

    /// Returns true if a checkpoint is due this many steps and this long after the last one.
    pub(crate) fn is_checkpoint_due(&self, steps: usize, time: Duration) -> bool {
        self.checkpoint_every.is_due(steps, time)
    }
}
