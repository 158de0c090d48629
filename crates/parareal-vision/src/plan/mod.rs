//! Predictions of the duration of a training step, on devices that need not be there.

mod source;
mod suggest;

use parareal::exec::{Layout, ProgramOptions};
use parareal::net::FeedForward;
use parareal::plan::{Link, PlanError, Prediction, Scenario, Schedule, check_balance};
use parareal::timeline::Activity;
use parareal_train::kept_units;

pub(crate) use source::in_range;
pub use source::{CostSource, Costs, Machine};
pub use suggest::{Suggestion, suggest};

use crate::VisionError;
use crate::network::{Cutting, NetworkConfig};

/// More devices, or copies of all of them, are a mistake.
const MAX_COUNT: usize = 10_000;

/// Assumptions of a prediction about the machine and the step.
#[derive(Clone, Debug)]
pub struct PlanSettings {
    /// Devices; one for each subnetwork if nothing is said.
    pub devices: Option<usize>,
    /// What is between them.
    pub link: Link,
    /// Copies of all of it, each with as many images as the costs are for.
    pub replicas: usize,
    /// Schedule of the step. Of an overlapping one [`recompute`](Self::recompute) sets the recomputation.
    pub schedule: Schedule,
    /// Units for each state that is kept where the others are recomputed; 0 for the square root of the units of the
    /// longest subnetwork.
    pub recompute: Option<usize>,
}

impl PlanSettings {
    /// So many devices with free links.
    #[must_use]
    pub fn here(devices: usize) -> Self {
        let schedule = Schedule::Overlap(ProgramOptions::default());
        Self { devices: Some(devices), link: Link::FREE, replicas: 1, schedule, recompute: None }
    }

    /// Refuses what cannot be planned for a network, before anything is measured for it.
    ///
    /// # Errors
    /// Those of [`plan`] that do not depend on costs.
    pub fn check(&self, network: &NetworkConfig) -> Result<(), VisionError> {
        let devices = self.devices.unwrap_or(1);
        for (name, value) in [("device-count", devices), ("replicas", self.replicas)] {
            if !(1..=MAX_COUNT).contains(&value) {
                let expected = format!("from 1 to {MAX_COUNT} can be planned");
                return Err(VisionError::setting(name, value, expected));
            }
        }
        if self.schedule == Schedule::Virtual && self.recompute.is_some() {
            let expected = "nothing is recomputed in the paper's schedule";
            return Err(VisionError::setting("recompute", "set", expected));
        }
        if network.cutting != Cutting::Balanced {
            return Ok(());
        }
        if self.schedule == Schedule::Virtual {
            let expected = "balanced cuts are for the program that overlaps; the paper's schedule \
                            goes with even ones";
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

/// A network on devices, and what a step will come to.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The network with its cuts.
    pub network: NetworkConfig,
    /// Subnetworks of each device.
    pub held: Vec<usize>,
    /// The step.
    pub prediction: Prediction,
    /// The step of the whole network on one device, in seconds; recomputed as well where the step is.
    pub serial: f64,
    /// Units for each state that is kept, where the others are recomputed.
    pub kept_units: Option<usize>,
    /// Copies of all of it.
    pub replicas: usize,
}

/// What bounds a step from below: most of the path that decides is of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Fine work, `h` and the update: more devices help.
    FineWork,
    /// The coarse network: cheaper coarse units help, or fewer subnetworks.
    Chain,
    /// Links and the averaging of gradients.
    Link,
    /// What would be faster does not fit.
    Memory,
}

impl Bound {
    /// Its name.
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
    /// How many times as many images a second as on one device.
    #[must_use]
    pub fn speedup(&self) -> f64 {
        self.replicas as f64 * self.serial / self.prediction.makespan()
    }

    /// Seconds of the path that decides: fine work, chain, links.
    #[must_use]
    pub fn critical(&self) -> [f64; 3] {
        // A sum of nothing is -0.
        let time = |kind: fn(Activity) -> bool| self.prediction.critical_time(kind) + 0.0;
        let [chain, link] = [time(Activity::is_coarse), time(|kind| !kind.is_work())];
        [self.prediction.makespan() - chain - link, chain, link]
    }

    /// What takes most of that path.
    #[must_use]
    pub fn bound(&self) -> Bound {
        let kinds = [Bound::FineWork, Bound::Chain, Bound::Link];
        let largest = self.critical().into_iter().zip(kinds).max_by(|a, b| a.0.total_cmp(&b.0));
        largest.map_or(Bound::FineWork, |(_, kind)| kind)
    }

    /// The most that a device has to hold, in bytes.
    #[must_use]
    pub fn memory(&self) -> f64 {
        self.prediction.memory.iter().copied().fold(0.0, f64::max)
    }
}

/// Predicts a step, and finds the cuts where they are to be balanced.
///
/// # Errors
/// Where a number of devices cannot be, or costs are missing.
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
    Ok(Planned { network, held, prediction, serial, replicas, kept_units })
}
