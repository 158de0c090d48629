//! The program of a step with the durations of a scenario.

use super::cost::Cost;
use super::error::PlanError;
use super::scenario::{Scenario, SubnetworkCosts};
use super::tasks::Tasks;
use crate::exec::{Barrier, Messages, Model, Moment, Operation, Program, ProgramOptions, simulate};
use crate::timeline::Activity;

/// Simulates the program of [`crate::exec`] with the durations of a scenario.
pub(super) fn run(scenario: &Scenario, options: ProgramOptions) -> Result<Tasks, PlanError> {
    let program = Program::new(&scenario.layout, &scenario.cuts()?, options)?;
    let workers = program.workers().len();
    let mut model = Predicted {
        scenario,
        units: scenario.subnetworks.iter().flat_map(|own| own.units.iter().copied()).collect(),
        tasks: Tasks::default(),
        messages: Messages::default(),
        totals: Barrier::new(workers),
        reduced: vec![Moment::default(); workers],
        gradients: vec![0.0; scenario.subnetworks.len()],
    };
    simulate(&program, &mut model);
    Ok(model.tasks)
}

/// Devices that take as long as a scenario says.
struct Predicted<'a> {
    scenario: &'a Scenario,
    /// The costs of all units.
    units: Vec<Cost>,
    tasks: Tasks,
    messages: Messages,
    totals: Barrier,
    /// The moment at which each worker's sums over the replicas are done.
    reduced: Vec<Moment>,
    /// The bytes of the gradients of each subnetwork that have not been summed.
    gradients: Vec<f64>,
}

impl Predicted<'_> {
    /// The duration of an operation in seconds.
    fn seconds(&self, operation: &Operation) -> f64 {
        let Some(index) = operation.subnetwork() else { return 0.0 };
        let own = &self.scenario.subnetworks[index];
        let coarse = || own.coarse.unwrap_or_default();
        match operation {
            Operation::ForwardPreprocessing { .. } => own.preprocessing.forward,
            Operation::ForwardUnits { units, .. } | Operation::RecomputeUnits { units, .. } => {
                self.units[units.clone()].iter().map(|unit| unit.forward).sum()
            }
            Operation::ForwardCoarse { .. } => coarse().forward,
            Operation::Head { .. } => own.postprocessing.map_or(0.0, |h| h.forward + h.backward()),
            Operation::BackwardCoarse { defers_weights: true, .. } => coarse().input_gradient,
            Operation::BackwardCoarse { .. } => coarse().backward(),
            Operation::BackwardCoarseWeights { .. } => coarse().weight_gradient,
            Operation::BackwardUnits { units, .. } => {
                self.units[units.clone()].iter().map(Cost::backward).sum()
            }
            Operation::BackwardPreprocessing { .. } => own.preprocessing.backward(),
            Operation::Update { .. } => own.total().update,
            _ => 0.0,
        }
    }

    /// The bytes of the weights whose gradients an operation computes.
    fn bytes(&self, operation: &Operation, own: &SubnetworkCosts) -> f64 {
        let coarse = || own.coarse.map_or(0.0, |coarse| coarse.weights);
        match operation {
            Operation::Head { .. } => own.postprocessing.map_or(0.0, |h| h.weights),
            Operation::BackwardCoarse { defers_weights: false, .. }
            | Operation::BackwardCoarseWeights { .. } => coarse(),
            Operation::BackwardUnits { units, .. } => {
                self.units[units.clone()].iter().map(|unit| unit.weights).sum()
            }
            Operation::BackwardPreprocessing { .. } => own.preprocessing.weights,
            _ => 0.0,
        }
    }

    /// Sums the gradients of a subnetwork over the replicas by a ring, after those before it:
    /// `2 (R - 1)` messages of an `R`-th each.
    fn reduce(&mut self, worker: usize, subnetwork: usize, at: Moment) {
        let bytes = std::mem::take(&mut self.gradients[subnetwork]);
        if bytes <= 0.0 {
            return;
        }
        let replicas = self.scenario.layout.replicas();
        let message = self.scenario.link.time(bytes / replicas as f64);
        let seconds = 2.0 * (replicas - 1) as f64 * message;
        let begin = self.reduced[worker].max(at);
        self.reduced[worker] = self.tasks.run(begin, seconds, worker, subnetwork, Activity::Reduce);
    }
}

impl Model for Predicted<'_> {
    fn begin(&self, _worker: usize) -> Moment {
        Moment::default()
    }

    fn arrival(&self, _worker: usize, _index: usize, operation: &Operation) -> Option<Moment> {
        self.messages.arrival(operation)
    }

    fn execute(
        &mut self,
        worker: usize,
        _index: usize,
        operation: &Operation,
        at: Moment,
    ) -> Option<Moment> {
        match *operation {
            Operation::SendState { subnetwork } | Operation::SendCotangent { subnetwork } => {
                // Both have the size of U_j; the sender goes on at once.
                let bytes = self.scenario.subnetworks[subnetwork].output_bytes;
                let seconds = self.scenario.link.time(bytes);
                let sender = match operation {
                    Operation::SendState { .. } => subnetwork,
                    _ => subnetwork + 1,
                };
                let arrival = self.tasks.run(at, seconds, worker, sender, Activity::Transfer);
                self.messages.send(operation, arrival);
                Some(at)
            }
            Operation::ReduceGradients { subnetwork } => {
                self.reduce(worker, subnetwork, at);
                Some(at)
            }
            Operation::AwaitReductions => Some(at.max(self.reduced[worker])),
            Operation::ReduceTotals => self.totals.arrive(worker, at),
            _ => {
                let (Some(activity), Some(subnetwork)) =
                    (operation.activity(), operation.subnetwork())
                else {
                    return Some(at);
                };
                let own = &self.scenario.subnetworks[subnetwork];
                self.gradients[subnetwork] += self.bytes(operation, own);
                let seconds = self.seconds(operation);
                Some(self.tasks.run(at, seconds, worker, subnetwork, activity))
            }
        }
    }
}
