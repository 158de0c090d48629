use super::cost::Cost;
use crate::exec::Operation;

/// The costs of a subnetwork that the durations of its operations depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SubnetworkCost {
    /// `C_j`.
    pub(super) preprocessing: Cost,
    /// The units of the operation; for an update, all units of the subnetwork.
    pub(super) units: Cost,
    /// `F_{j-1}`.
    pub(super) coarse: Cost,
    /// `h` and the loss.
    pub(super) head: Cost,
}

/// Returns the duration of an operation in seconds, without communication and waiting.
pub(super) fn operation_time(operation: &Operation, own: &SubnetworkCost) -> f64 {
    match operation {
        Operation::ForwardPreprocessing { .. } => own.preprocessing.forward,
        Operation::ForwardUnits { .. } | Operation::RecomputeUnits { .. } => own.units.forward,
        Operation::ForwardCoarse { .. } => own.coarse.forward,
        Operation::Head { .. } => own.head.forward + own.head.backward(),
        Operation::BackwardCoarse { defers_weights: true, .. } => own.coarse.input_gradient,
        Operation::BackwardCoarse { .. } => own.coarse.backward(),
        Operation::BackwardCoarseWeights { .. } => own.coarse.weight_gradient,
        Operation::BackwardUnits { .. } => own.units.backward(),
        Operation::BackwardPreprocessing { .. } => own.preprocessing.backward(),
        Operation::Update { .. } => {
            let all = [own.preprocessing, own.units, own.coarse, own.head];
            all.iter().map(|part| part.update).sum()
        }
        Operation::BeginMicroBatch { .. }
        | Operation::ReceiveState { .. }
        | Operation::SendState { .. }
        | Operation::ReduceTargetFailures { .. }
        | Operation::MergeStatistics { .. }
        | Operation::ReduceStatistics { .. }
        | Operation::ReceiveCotangent { .. }
        | Operation::SendCotangent { .. }
        | Operation::ReduceGradients { .. }
        | Operation::AwaitReductions
        | Operation::ReduceTotals => 0.0,
    }
}

/// Returns the bytes of the weights whose gradients are complete after an operation.
pub(super) fn gradient_bytes(operation: &Operation, own: &SubnetworkCost) -> f64 {
    match operation {
        Operation::Head { .. } => own.head.weights,
        Operation::BackwardCoarse { defers_weights: false, .. }
        | Operation::BackwardCoarseWeights { .. } => own.coarse.weights,
        Operation::BackwardUnits { .. } => own.units.weights,
        Operation::BackwardPreprocessing { .. } => own.preprocessing.weights,
        _ => 0.0,
    }
}
