//! Predictions of the duration of a training step, for this machine or for other devices.

mod source;
mod suggest;

use parareal::exec::{Layout, ProgramOptions};
use parareal::net::FeedForward;
use parareal::plan::{Link, PlanError, Prediction, Scenario, Schedule, check_balance};
use parareal::timeline::Activity;
use parareal_train::kept_units;

pub(crate) use source::in_range;
pub use source::{CostSource, Costs, Machine};
pub use suggest::{Suggestion, suggest, suggest_here};

use crate::VisionError;
use crate::network::{Cutting, NetworkConfig};

/// Largest number of devices, and of replicas.
const MAX_COUNT: usize = 10_000;

/// Assumptions of a prediction about the machine and the step.
#[derive(Clone, Debug)]
pub struct PlanSettings {
    /// Number of devices; `None` for one per subnetwork.
    pub devices: Option<usize>,
    /// Link between the devices.
    pub link: Link,
    /// Number of replicas, each with the batch size of the costs.
    pub replicas: usize,
    /// Schedule of the step. [`recompute`](Self::recompute) turns on recomputation in an overlapping schedule.
    pub schedule: Schedule,
    /// Number of units per kept state, if the other states are recomputed; `None` for no recomputation, and 0
    /// for the square root of the number of units in the longest subnetwork.
    pub recompute: Option<usize>,
}

impl PlanSettings {
    /// Returns settings for this number of devices with free links.
    #[must_use]
    pub fn here(devices: usize) -> Self {
        let schedule = Schedule::Overlap(ProgramOptions::default());
        Self { devices: Some(devices), link: Link::FREE, replicas: 1, schedule, recompute: None }
    }

    /// Checks that a step of the network can be planned, without any costs.
    ///
    /// # Errors
    /// If [`plan`] would fail for a reason that does not depend on costs.
    pub fn check(&self, network: &NetworkConfig) -> Result<(), VisionError> {
        let devices = self.devices.unwrap_or(1);
        for (name, value) in [("device-count", devices), ("replicas", self.replicas)] {
            if !(1..=MAX_COUNT).contains(&value) {
                let expected = format!("expected a number from 1 to {MAX_COUNT}");
                return Err(VisionError::setting(name, value, expected));
            }
        }
        if let (Schedule::Virtual, Some(units)) = (&self.schedule, self.recompute) {
            let expected = "the paper's schedule recomputes nothing; leave it unset";
            return Err(VisionError::setting("recompute", units, expected));
        }
        if network.cutting != Cutting::Balanced {
            return Ok(());
        }
        if self.schedule == Schedule::Virtual {
            let expected = "balanced cuts require the overlapping schedule; the paper's schedule uses even cuts";
            return Err(VisionError::setting("cuts", "balanced", expected));
        }
        Ok(check_balance(network.net.units(), &self.layout(network)?)?)
    }

    /// Returns the layout of a network on the devices. Devices beyond the number of subnetworks are not used.
    fn layout(&self, network: &NetworkConfig) -> Result<Layout, VisionError> {
        let count = network.cuts.subnetworks();
        let devices = self.devices.unwrap_or(count).min(count);
        Ok(Layout::threads(count, devices, self.replicas).map_err(PlanError::from)?)
    }
}

/// A network that is distributed over devices, and the prediction of its training step.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The network with its cuts.
    pub network: NetworkConfig,
    /// Number of subnetworks on each device.
    pub held: Vec<usize>,
    /// Number of threads of each device that the costs are for.
    pub threads: usize,
    /// Prediction of the step.
    pub prediction: Prediction,
    /// Predicted duration of a step of the serial network on one device, in seconds. It includes
    /// recomputation if the step of the cut network does.
    pub serial: f64,
    /// Number of units per kept state, if the other states are recomputed.
    pub kept_units: Option<usize>,
    /// Number of replicas.
    pub replicas: usize,
}

/// Kind of work that takes most of the critical path of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Fine propagation, `h` and the update: more devices help.
    FineWork,
    /// The coarse network: cheaper coarse units help, or fewer subnetworks.
    Chain,
    /// Communication: transfers between devices, and averages of gradients over replicas.
    Link,
    /// Memory: a faster configuration does not fit.
    Memory,
}

impl Bound {
    /// Returns the name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FineWork => "fine work",
            Self::Chain => "chain",
            Self::Link => "link",
            Self::Memory => "memory",
        }
    }
}

impl Planned {
    /// Returns the speedup: throughput in images per second relative to the serial network on one device.
    #[must_use]
    pub fn speedup(&self) -> f64 {
        self.replicas as f64 * self.serial / self.prediction.makespan()
    }

    /// Returns the parts of the critical path in seconds: fine work, chain, links.
    #[must_use]
    pub fn critical(&self) -> [f64; 3] {
        // An empty sum is -0.0; adding 0.0 makes it positive.
        let time = |kind: fn(Activity) -> bool| self.prediction.critical_time(kind) + 0.0;
        let [chain, link] = [time(Activity::is_coarse), time(|kind| !kind.is_work())];
        [self.prediction.makespan() - chain - link, chain, link]
    }

    /// Returns the kind of work that takes most of the critical path.
    #[must_use]
    pub fn bound(&self) -> Bound {
        let kinds = [Bound::FineWork, Bound::Chain, Bound::Link];
        let largest = self.critical().into_iter().zip(kinds).max_by(|a, b| a.0.total_cmp(&b.0));
        largest.map_or(Bound::FineWork, |(_, kind)| kind)
    }

    /// Returns the memory that all devices need together, in bytes.
    #[must_use]
    pub fn total_memory(&self) -> f64 {
        self.prediction.memory.iter().sum()
    }

    /// Returns the largest memory requirement of a device, in bytes.
    #[must_use]
    pub fn memory(&self) -> f64 {
        self.prediction.memory.iter().copied().fold(0.0, f64::max)
    }
}

/// Predicts a step, and computes balanced cuts if they are requested.
///
/// # Errors
/// If a number of devices is not valid, or costs are missing.
pub fn plan(
    mut network: NetworkConfig,
    costs: &Costs,
    settings: &PlanSettings,
) -> Result<Planned, VisionError> {
    settings.check(&network)?;
    let PlanSettings { link, replicas, mut schedule, recompute, .. } = *settings;
    let layout = settings.layout(&network)?;
    let model = costs.of(&network.net, network.cuts.subnetworks())?;
    if let Schedule::Overlap(options) = &mut schedule {
        options.recompute |= recompute.is_some();
        // The segments follow from the cuts. Until these are known, those of the present cuts are used.
        if let Some(units) = kept_units(recompute, &network.cuts) {
            options.segment_units = units;
        }
        if network.cutting == Cutting::Balanced {
            network.balance(&model, &layout, link, *options)?;
        }
        if let Some(units) = kept_units(recompute, &network.cuts) {
            options.segment_units = units;
        }
    }
    let held = layout.counts();
    let scenario = Scenario::new(&model, &network.cuts, layout)?;
    network.coarse_times = Some(scenario.coarse_shares());
    let prediction = Scenario { link, schedule, ..scenario }.predict()?;
    let kept_units = kept_units(recompute, &network.cuts);
    let whole = network.net.default_cuts(1)?;
    let alone = Layout::threads(1, 1, 1).map_err(PlanError::from)?;
    let mut serial = Scenario::new(&costs.of(&network.net, 1)?, &whole, alone)?;
    if let Schedule::Overlap(options) = &mut serial.schedule {
        options.recompute = recompute.is_some();
    }
    let serial = serial.predict()?.makespan();
    let threads = costs.threads();
    Ok(Planned { network, held, threads, prediction, serial, replicas, kept_units })
}
