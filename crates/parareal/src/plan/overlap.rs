//! Simulation of the program of a step with the durations of a scenario.

use super::cost::Cost;
use super::error::PlanError;
use super::operation_time::{SubnetworkCost, gradient_bytes, operation_time};
use super::scenario::Scenario;
use super::tasks::Tasks;
use crate::exec::{Message, Moment, Operation, Program, ProgramOptions, Simulation, TimingModel};
use crate::timeline::Activity;

/// Simulates the program of [`crate::exec`] with the durations of a scenario.
pub(super) fn run(scenario: &Scenario, options: ProgramOptions) -> Result<Tasks, PlanError> {
    let program = Program::new(&scenario.layout, &scenario.cuts()?, options)?;
    let workers = program.workers().len();
    let mut model = Predicted {
        scenario,
        units: scenario.subnetworks.iter().flat_map(|own| own.units.iter().copied()).collect(),
        tasks: Tasks::default(),
        reduced: vec![Moment::default(); workers],
        gradients: vec![0.0; scenario.subnetworks.len()],
    };
    let executed = Simulation::new(&program, 1).run(&mut model);
    debug_assert!(program.is_complete(&executed), "every message is sent");
    Ok(model.tasks)
}

/// A timing model with the durations of a scenario.
struct Predicted<'a> {
    scenario: &'a Scenario,
    /// The costs of all units.
    units: Vec<Cost>,
    tasks: Tasks,
    /// The moment at which each worker's sums over the replicas are complete.
    reduced: Vec<Moment>,
    /// The size of the gradients of each subnetwork that have not been summed yet, in bytes.
    gradients: Vec<f64>,
}

impl Predicted<'_> {
    /// Returns the costs that the duration of an operation depends on.
    fn cost(&self, operation: &Operation, subnetwork: usize) -> SubnetworkCost {
        let own = &self.scenario.subnetworks[subnetwork];
        let units = match operation {
            Operation::ForwardUnits { units, .. }
            | Operation::RecomputeUnits { units, .. }
            | Operation::BackwardUnits { units, .. } => {
                self.units[units.clone()].iter().copied().sum()
            }
            Operation::Update { .. } => own.fine(),
            _ => Cost::default(),
        };
        SubnetworkCost {
            preprocessing: own.preprocessing,
            units,
            coarse: own.coarse.unwrap_or_default(),
            head: own.postprocessing.unwrap_or_default(),
        }
    }

    /// Adds the time of a ring all-reduce over the replicas, for the gradients of a subnetwork. It begins
    /// after the previous all-reduce.
    fn reduce(&mut self, worker: usize, subnetwork: usize, at: Moment) {
        let bytes = std::mem::take(&mut self.gradients[subnetwork]);
        if bytes <= 0.0 {
            return;
        }
        let seconds = self.scenario.link.all_reduce_time(bytes, self.scenario.layout.replicas());
        let begin = self.reduced[worker].max(at);
        self.reduced[worker] = self.tasks.run(begin, seconds, worker, subnetwork, Activity::Reduce);
    }
}

impl TimingModel for Predicted<'_> {
    fn send(&mut self, worker: usize, message: Message, at: Moment) -> Moment {
        // U_j and ρ_j have the same size. ρ_j is sent by the next subnetwork.
        let (index, sender) = match message {
            Message::State { subnetwork, .. } => (subnetwork, subnetwork),
            Message::Cotangent { subnetwork, .. } => (subnetwork, subnetwork + 1),
        };
        let seconds = self.scenario.link.time(self.scenario.subnetworks[index].output_bytes);
        self.tasks.run(at, seconds, worker, sender, Activity::Transfer)
    }

    fn execute(
        &mut self,
        worker: usize,
        _index: usize,
        operation: &Operation,
        at: Moment,
    ) -> Option<Moment> {
        match *operation {
            Operation::ReduceGradients { subnetwork } => {
                self.reduce(worker, subnetwork, at);
                Some(at)
            }
            Operation::AwaitReductions => Some(at.max(self.reduced[worker])),
            _ => {
                let (Some(activity), Some(subnetwork)) =
                    (operation.activity(), operation.subnetwork())
                else {
                    return Some(at);
                };
                let own = self.cost(operation, subnetwork);
                self.gradients[subnetwork] += gradient_bytes(operation, &own);
                let seconds = operation_time(operation, &own);
                Some(self.tasks.run(at, seconds, worker, subnetwork, activity))
            }
        }
    }
}
