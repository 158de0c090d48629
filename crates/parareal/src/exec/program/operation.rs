use std::fmt;
use std::ops::Range;

use crate::timeline::Activity;

/// An operation of a worker in a training step.
///
/// Subnetworks and units are numbered consecutively through the whole network, from 0. In the formulas `j`
/// counts from 1, as in the paper: it is `subnetwork + 1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Begins the next micro-batch of a step with several.
    BeginMicroBatch {
        /// The micro-batch, from 0.
        micro_batch: usize,
    },
    /// `x_j = C_j(x)`.
    ForwardPreprocessing {
        /// The subnetwork.
        subnetwork: usize,
    },
    /// A segment of `y_j = g_j(x_j)`.
    ForwardUnits {
        /// The subnetwork.
        subnetwork: usize,
        /// The units of the segment.
        units: Range<usize>,
        /// True if the graph is kept for the backward pass. Otherwise only the state at the start of the
        /// segment is kept, and [`RecomputeUnits`](Self::RecomputeUnits) computes the graph.
        keeps_graph: bool,
    },
    /// Waits for `U_j` from the upstream worker, which holds subnetwork `j`.
    ReceiveState {
        /// The subnetwork.
        subnetwork: usize,
        /// The micro-batch.
        micro_batch: usize,
    },
    /// `U_j = y_j + F_{j-1}(U_{j-1} - x_j)`: step (3b) of the paper, one subnetwork after another.
    ForwardCoarse {
        /// The subnetwork.
        subnetwork: usize,
    },
    /// Sends `U_j` downstream.
    SendState {
        /// The subnetwork.
        subnetwork: usize,
        /// The micro-batch.
        micro_batch: usize,
    },
    /// The forward and backward passes of `h` and the loss, which compute `ρ_N`.
    Head {
        /// The last subnetwork.
        subnetwork: usize,
    },
    /// Exchanges between all replicas whether their targets fit the output. If a target does not fit, no
    /// replica runs the backward pass.
    ReduceTargetFailures {
        /// The last subnetwork.
        subnetwork: usize,
    },
    /// Merges updates of running statistics that modules have postponed.
    MergeStatistics {
        /// The subnetwork.
        subnetwork: usize,
    },
    /// Starts averaging the running statistics over the replicas.
    ReduceStatistics {
        /// The subnetwork.
        subnetwork: usize,
    },
    /// Waits for `ρ_j` from the downstream worker. The waiting worker holds subnetwork `j`.
    ReceiveCotangent {
        /// The subnetwork.
        subnetwork: usize,
        /// The micro-batch.
        micro_batch: usize,
    },
    /// `ρ_{j-1} = F_{j-1}'(U_{j-1} - x_j)ᵀ ρ_j`.
    BackwardCoarse {
        /// The subnetwork.
        subnetwork: usize,
        /// True if gradients of the weights of `F_{j-1}` are deferred to
        /// [`BackwardCoarseWeights`](Self::BackwardCoarseWeights), if the layers support this.
        defers_weights: bool,
    },
    /// Sends `ρ_j` upstream, to the worker that holds subnetwork `j`.
    SendCotangent {
        /// The subnetwork.
        subnetwork: usize,
        /// The micro-batch.
        micro_batch: usize,
    },
    /// The deferred gradients of the weights of `F_{j-1}`.
    BackwardCoarseWeights {
        /// The subnetwork.
        subnetwork: usize,
    },
    /// Starts summing, over the replicas, all gradients of the subnetwork whose sum has not been started yet.
    ReduceGradients {
        /// The subnetwork.
        subnetwork: usize,
    },
    /// Recomputes the graph of a segment.
    RecomputeUnits {
        /// The subnetwork.
        subnetwork: usize,
        /// The units of the segment.
        units: Range<usize>,
    },
    /// Differentiates a segment of `g_j`.
    BackwardUnits {
        /// The subnetwork.
        subnetwork: usize,
        /// The units of the segment.
        units: Range<usize>,
    },
    /// Differentiates `C_j` along `∂L/∂x_j = g_j'(x_j)ᵀ ρ_j - ρ_{j-1}`.
    BackwardPreprocessing {
        /// The subnetwork.
        subnetwork: usize,
    },
    /// Waits for all pending sums over the replicas.
    AwaitReductions,
    /// Sums the loss, the number of failures and the squared norm of the gradients over all workers. The
    /// update depends on these sums. No worker continues before all workers have reached this operation.
    ReduceTotals,
    /// Runs the optimizer.
    Update {
        /// The subnetwork.
        subnetwork: usize,
    },
}

impl Operation {
    /// Returns the kind of activity for a timeline; `None` for operations that only wait or communicate.
    pub fn activity(&self) -> Option<Activity> {
        match self {
            Self::ForwardPreprocessing { .. } | Self::ForwardUnits { .. } => {
                Some(Activity::FineForward)
            }
            Self::ForwardCoarse { .. } => Some(Activity::ChainForward),
            Self::Head { .. } => Some(Activity::Head),
            Self::BackwardCoarse { .. } => Some(Activity::ChainBackward),
            Self::BackwardCoarseWeights { .. } => Some(Activity::ChainWeights),
            Self::RecomputeUnits { .. } => Some(Activity::Recompute),
            Self::BackwardUnits { .. } | Self::BackwardPreprocessing { .. } => {
                Some(Activity::FineBackward)
            }
            Self::Update { .. } => Some(Activity::Update),
            Self::BeginMicroBatch { .. }
            | Self::ReceiveState { .. }
            | Self::SendState { .. }
            | Self::ReduceTargetFailures { .. }
            | Self::MergeStatistics { .. }
            | Self::ReduceStatistics { .. }
            | Self::ReceiveCotangent { .. }
            | Self::SendCotangent { .. }
            | Self::ReduceGradients { .. }
            | Self::AwaitReductions
            | Self::ReduceTotals => None,
        }
    }

    /// Returns true if the operation waits for a message from another worker.
    pub fn is_receive(&self) -> bool {
        matches!(self, Self::ReceiveState { .. } | Self::ReceiveCotangent { .. })
    }

    /// Returns the message that the operation sends or receives.
    pub(crate) fn message(&self) -> Option<Message> {
        match *self {
            Self::SendState { subnetwork, micro_batch }
            | Self::ReceiveState { subnetwork, micro_batch } => {
                Some(Message::State { subnetwork, micro_batch })
            }
            Self::SendCotangent { subnetwork, micro_batch }
            | Self::ReceiveCotangent { subnetwork, micro_batch } => {
                Some(Message::Cotangent { subnetwork, micro_batch })
            }
            _ => None,
        }
    }

    /// Returns the message that the operation sends.
    pub(crate) fn sent_message(&self) -> Option<Message> {
        self.message().filter(|_| !self.is_receive())
    }

    /// Returns the subnetwork that the operation belongs to.
    pub fn subnetwork(&self) -> Option<usize> {
        match *self {
            Self::ForwardPreprocessing { subnetwork }
            | Self::ForwardUnits { subnetwork, .. }
            | Self::ReceiveState { subnetwork, .. }
            | Self::ForwardCoarse { subnetwork }
            | Self::SendState { subnetwork, .. }
            | Self::Head { subnetwork }
            | Self::ReduceTargetFailures { subnetwork }
            | Self::MergeStatistics { subnetwork }
            | Self::ReduceStatistics { subnetwork }
            | Self::ReceiveCotangent { subnetwork, .. }
            | Self::BackwardCoarse { subnetwork, .. }
            | Self::SendCotangent { subnetwork, .. }
            | Self::BackwardCoarseWeights { subnetwork }
            | Self::ReduceGradients { subnetwork }
            | Self::RecomputeUnits { subnetwork, .. }
            | Self::BackwardUnits { subnetwork, .. }
            | Self::BackwardPreprocessing { subnetwork }
            | Self::Update { subnetwork } => Some(subnetwork),
            Self::BeginMicroBatch { .. } | Self::AwaitReductions | Self::ReduceTotals => None,
        }
    }
}

/// A message between two workers of a replica, with the subnetwork and the micro-batch that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Message {
    /// `U_j`.
    State { subnetwork: usize, micro_batch: usize },
    /// `ρ_j`.
    Cotangent { subnetwork: usize, micro_batch: usize },
}

/// Writes the operation in the notation of the paper: subnetworks and units are counted from 1.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let j = self.subnetwork().map_or(0, |subnetwork| subnetwork + 1);
        let units = |units: &Range<usize>| format!("{}..={}", units.start + 1, units.end);
        match self {
            Self::BeginMicroBatch { micro_batch } => write!(f, "micro-batch {}", micro_batch + 1),
            Self::ForwardPreprocessing { .. } => write!(f, "x_{j} = C_{j}(x)"),
            Self::ForwardUnits { units: own, keeps_graph: true, .. } => {
                write!(f, "g_{j}, units {}", units(own))
            }
            Self::ForwardUnits { units: own, .. } => {
                write!(f, "g_{j}, units {}, without a graph", units(own))
            }
            Self::ReceiveState { .. } => write!(f, "receive U_{j}"),
            Self::ForwardCoarse { .. } => {
                let i = j - 1;
                write!(f, "U_{j} = y_{j} + F_{i}(U_{i} - x_{j})")
            }
            Self::SendState { .. } => write!(f, "send U_{j}"),
            Self::Head { .. } => write!(f, "h, loss, ρ_{j}"),
            Self::ReduceTargetFailures { .. } => f.write_str("compare targets with other replicas"),
            Self::MergeStatistics { .. } => write!(f, "merge running statistics of subnetwork {j}"),
            Self::ReduceStatistics { .. } => {
                write!(f, "average running statistics of subnetwork {j}")
            }
            Self::ReceiveCotangent { .. } => write!(f, "receive ρ_{j}"),
            Self::BackwardCoarse { .. } => {
                let i = j - 1;
                write!(f, "ρ_{i} = F_{i}'(U_{i} - x_{j})ᵀ ρ_{j}")
            }
            Self::SendCotangent { .. } => write!(f, "send ρ_{j}"),
            Self::BackwardCoarseWeights { .. } => {
                write!(f, "gradients of the weights of F_{}", j - 1)
            }
            Self::ReduceGradients { .. } => write!(f, "sum gradients of subnetwork {j}"),
            Self::RecomputeUnits { units: own, .. } => {
                write!(f, "g_{j} again, units {}", units(own))
            }
            Self::BackwardUnits { units: own, .. } => {
                write!(f, "backward g_{j}, units {}", units(own))
            }
            Self::BackwardPreprocessing { .. } => write!(f, "backward C_{j}"),
            Self::AwaitReductions => f.write_str("wait for the sums over replicas"),
            Self::ReduceTotals => f.write_str("sum loss and failures over all workers"),
            Self::Update { .. } => write!(f, "update subnetwork {j}"),
        }
    }
}
