use thiserror::Error;

use super::distillation::InterfaceModule;
use super::layout::LayoutError;
use crate::net::{NetError, SampleShape};

/// An error of an executor.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ExecError {
    /// A worker panicked or could not continue. All workers have stopped, and the executor cannot be used
    /// anymore.
    #[error("worker {worker} (subnetworks {first} to {last}) failed: {message}")]
    Worker {
        /// The worker, from 1.
        worker: usize,
        /// Its first subnetwork, from 1.
        first: usize,
        /// Its last subnetwork.
        last: usize,
        /// Its panic message, or another reason.
        message: String,
    },
    /// The executor was used after a worker had failed.
    #[error("the executor has stopped after an earlier failure: {0}")]
    Stopped(Box<ExecError>),
    /// The loss is infinite or NaN. No parameter was updated.
    #[error("the loss is not finite: {loss}")]
    LossNotFinite {
        /// The loss.
        loss: f64,
    },
    /// A loss of [`distill`](super::distill) is infinite or NaN.
    #[error(
        "the loss of {module} at interface {interface} is {loss} in step {step} of the distillation: weights or \
         samples are not finite, or the learning rate of the distillation is too large"
    )]
    DistillationDiverged {
        /// The module.
        module: InterfaceModule,
        /// The interface, from 1.
        interface: usize,
        /// The step, from 1.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// Parameters that require a gradient have none after the backward pass: the loss does not depend on
    /// them, or the gradient is cut off on the path from the loss, for example by a detached tensor. No
    /// parameter was updated.
    #[error(
        "no gradient for {}: the loss must depend on every parameter; freeze the parameters that \
         should not be trained (`Module::no_grad`)",
        listed(names)
    )]
    NoGradient {
        /// The names of all these parameters.
        names: Vec<String>,
    },
    /// No parameter of the network requires a gradient.
    #[error("all parameters of the network are frozen: there is nothing to train")]
    NothingToTrain,
    /// Units computed different values when they were recomputed in the backward pass, so their gradients
    /// would be wrong. No parameter was updated.
    #[error(
        "{}, so gradients cannot be recomputed; train without `recompute`, or use the random \
         layers of `parareal::nn` instead of those of `burn::nn`",
        not_repeated(*first, *last)
    )]
    NotDeterministic {
        /// The first unit of the segment, from 0.
        first: usize,
        /// The last unit of the segment.
        last: usize,
    },
    /// The launches of a step cannot be recorded as graphs
    /// ([`ExecutorBuilder::launch_graphs`](super::ExecutorBuilder::launch_graphs)). No parameter was updated.
    #[error(
        "the launches of the step cannot be recorded as graphs: {0}; train without launch graphs"
    )]
    LaunchGraphs(String),
    /// The target does not fit the network's output. No parameter was updated.
    #[error("the target does not fit the output: {0}")]
    Target(String),
    /// The loss of a batch is not a single number. No parameter was updated.
    #[error(
        "the loss has {elements} elements: expected a single number, the mean over the samples of \
         the batch"
    )]
    LossElements {
        /// The elements of the tensor that the loss returned.
        elements: usize,
    },
    /// With MPI: the shape of the samples differs from the one that the network was built for.
    #[error(
        "the samples have shape {found}, but the ranks exchange states of samples of shape \
         {expected}"
    )]
    SampleShape {
        /// The shape of the network's input.
        expected: SampleShape,
        /// The shape of a sample of the batch.
        found: SampleShape,
    },
    /// A batch without samples.
    #[error("the batch is empty: expected at least 1 sample")]
    EmptyBatch,
    /// A batch whose number of targets differs from its number of samples.
    #[error(
        "the batch has {samples} samples and {targets} targets: expected one target for each sample"
    )]
    Targets {
        /// The samples of the input.
        samples: usize,
        /// The samples of the target.
        targets: usize,
    },
    /// An invalid number in an [`Update`](super::Update).
    #[error("invalid value `{value}` for the {what}: expected {expected}")]
    Update {
        /// The quantity.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Values that are accepted.
        expected: &'static str,
    },
    /// An impossible layout, or a layout for a different network.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// An empty list of devices.
    #[error("the executor has no device: expected at least 1")]
    NoDevice,
    /// A setting of an [`ExecutorBuilder`](super::ExecutorBuilder) that would be ignored.
    #[error("the setting `{setting}` has no effect: {reason}")]
    NoEffect {
        /// The name of the setting.
        setting: &'static str,
        /// The other setting or the property of the executor that makes it meaningless.
        reason: &'static str,
    },
    /// A setting of an [`ExecutorBuilder`](super::ExecutorBuilder) with an invalid value.
    #[error("invalid value `{value}` for {setting}: expected {expected}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// Values that are accepted.
        expected: String,
    },
    /// A batch with fewer samples than micro-batches of all replicas.
    #[error(
        "the batch has {samples} samples for {}: expected at least 1 for each",
        parts(*replicas, *micro_batches)
    )]
    Batch {
        /// The samples of the batch.
        samples: usize,
        /// The number of replicas.
        replicas: usize,
        /// The number of micro-batches of a replica.
        micro_batches: usize,
    },
    /// A failure of the communication between ranks, or of another rank.
    #[error("{0}")]
    Ranks(String),
    /// Optimizer state that cannot be read or written.
    #[error("the state of the optimizer: {0}")]
    Optimizer(String),
    /// The operating system could not start a thread.
    #[error("cannot start the threads of a worker: {0}")]
    Spawn(String),
    /// Weights that do not fit the network.
    #[error(transparent)]
    Net(#[from] NetError),
}

fn parts(replicas: usize, micro_batches: usize) -> String {
    match (replicas, micro_batches) {
        (_, 1) => format!("{replicas} replicas"),
        (1, _) => format!("{micro_batches} micro-batches"),
        _ => format!("{replicas} replicas with {micro_batches} micro-batches each"),
    }
}

fn not_repeated(first: usize, last: usize) -> String {
    match first == last {
        true => format!("unit {first} does not compute the same result twice"),
        false => format!("units {first} to {last} do not compute the same result twice"),
    }
}

/// Lists the first few names and the number of remaining ones.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
