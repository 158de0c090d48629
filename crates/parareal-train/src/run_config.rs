//! Configuration of a run, whatever its network and data are.

use std::time::Duration;

use crate::{CheckpointEvery, DeviceName, ExecutorKind, LinkDtype, Objective, Schedule};

/// Configuration of a run: how long it trains, how a step updates the weights, what the step runs on, and
/// which checkpoints are kept. The network, its loss, its optimizer and its data are not part of it.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// Passes over the training samples.
    pub epochs: usize,
    /// Samples of a step, over all replicas.
    pub batch_size: usize,
    /// Learning rate of each step.
    pub learning_rate: Schedule,
    /// Largest norm of the gradient of all parameters together; longer gradients are scaled down to it.
    pub clip_norm: Option<f64>,
    /// Decay of the moving average of the weights that evaluations use; `None` for no average. In the
    /// first steps it is smaller ([`Self::ema_decay_of`]).
    pub ema_decay: Option<f64>,
    /// Seed of the initial weights and of everything else that is random.
    pub seed: u64,
    /// Executor of the steps.
    pub executor: ExecutorKind,
    /// Copies of the chain of subnetworks, each of which takes a part of every batch.
    pub replicas: usize,
    /// Element type of the tensors that ranks send each other.
    pub link_dtype: LinkDtype,
    /// Devices, in order; the ranks of a machine take them in turn.
    pub devices: Vec<DeviceName>,
    /// Workers that share the subnetworks of each replica, or those of a rank.
    pub workers: usize,
    /// Threads of each worker on the CPU.
    pub threads: usize,
    /// Units for each state that is kept for the backward pass, where the others are recomputed; `Some(0)`
    /// for the square root of the number of units in the longest subnetwork ([`Self::kept_units`]), and
    /// `None` to keep all of them.
    pub recompute: Option<usize>,
    /// Number by which epochs are compared, for the best checkpoint and for patience.
    pub objective: Objective,
    /// Epochs without a new best after which the run ends early.
    pub patience: Option<usize>,
    /// When checkpoints are saved in addition to those at the end of each epoch.
    pub checkpoint_every: CheckpointEvery,
    /// Checkpoints that are kept in addition to the best one, at least one.
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
