use super::cost::Cost;
use super::scenario::{Scenario, SubnetworkCosts};
use super::tasks::Tasks;
use crate::exec::Moment;
use crate::timeline::Activity;

/// Simulates a step by the paper's virtual wall clock: the phases of a step run one after another, and each
/// takes as long as its slowest device. `F_{j-1}` is assigned to the device that holds subnetwork `j`.
pub(super) fn run(scenario: &Scenario) -> Tasks {
    let mut clock = Clock { scenario, tasks: Tasks::default(), now: Moment::default() };
    let count = scenario.subnetworks.len();
    let coarse = |index: usize| scenario.subnetworks[index].coarse.unwrap_or_default();
    let head = scenario.subnetworks[count - 1].postprocessing.unwrap_or_default();
    clock.phase(Activity::FineForward, |subnetwork| subnetwork.preprocessing.forward);
    clock.phase(Activity::FineForward, |subnetwork| subnetwork.fine().forward);
    (1..count).for_each(|j| clock.one(j, Activity::ChainForward, coarse(j).forward));
    clock.one(count - 1, Activity::Head, head.forward + head.backward());
    (1..count).rev().for_each(|j| clock.one(j, Activity::ChainBackward, coarse(j).backward()));
    clock.phase(Activity::FineBackward, |subnetwork| subnetwork.fine().backward());
    clock.phase(Activity::FineBackward, |subnetwork| Cost::backward(&subnetwork.preprocessing));
    clock.phase(Activity::Update, |subnetwork| subnetwork.total().update);
    clock.tasks
}

struct Clock<'a> {
    scenario: &'a Scenario,
    tasks: Tasks,
    now: Moment,
}

impl Clock<'_> {
    /// Runs an activity on all devices in parallel. Each device runs it for its subnetworks in order.
    fn phase(&mut self, activity: Activity, cost: impl Fn(&SubnetworkCosts) -> f64) {
        let mut done = self.now;
        for device in 0..self.scenario.layout.workers() {
            let mut at = self.now;
            for index in self.scenario.layout.subnetworks_of(device) {
                let seconds = cost(&self.scenario.subnetworks[index]);
                at = self.tasks.run(at, seconds, device, index, activity);
            }
            done = done.max(at);
        }
        self.now = done;
    }

    /// Runs an activity for a single subnetwork.
    fn one(&mut self, index: usize, activity: Activity, seconds: f64) {
        let device = self.scenario.layout.worker_of(index);
        self.now = self.tasks.run(self.now, seconds, device, index, activity);
    }
}
