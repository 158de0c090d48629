use thiserror::Error;

use super::{CostModel, Part};
use crate::net::{Cuts, NetError};

/// A step that cannot be planned.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanError {
    /// More devices than subnetworks, none, or a spread that does not add up.
    #[error(
        "{held:?} subnetworks on {} devices are not {subnetworks}: each device holds at least one, \
         and all of them together all",
        held.len()
    )]
    Spread {
        /// Subnetworks of each device.
        held: Vec<usize>,
        /// All subnetworks.
        subnetworks: usize,
    },
    /// Costs of another network.
    #[error("the costs are of {costs} units, the cuts of {cuts}: take costs of the same network")]
    Units {
        /// Units that have costs.
        costs: usize,
        /// Units that are cut.
        cuts: usize,
    },
    /// More units than are cut by their costs.
    #[error("balanced cuts are found for at most {most} units, and there are {units}: cut evenly")]
    TooLong {
        /// The units.
        units: usize,
        /// The most.
        most: usize,
    },
    /// A number that no cost has.
    #[error("a cost is {0}: times and sizes are finite and not negative")]
    Cost(f64),
    /// Cuts that cannot be.
    #[error(transparent)]
    Cuts(#[from] NetError),
}

/// What a tensor between two devices takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Seconds until the first byte arrives.
    pub latency: f64,
    /// Bytes of a second; infinite where there is nothing to wait for.
    pub bandwidth: f64,
}

impl Link {
    /// A link that costs nothing.
    pub const FREE: Self = Self { latency: 0.0, bandwidth: f64::INFINITY };

    /// Seconds that so many bytes take.
    pub fn time(&self, bytes: f64) -> f64 {
        self.latency + bytes / self.bandwidth
    }
}

/// How a step is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// The program of [`crate::exec`]: the chain first, all else beside it; with `defer` gradients
    /// of weights of the coarse network wait until the cotangent is on its way.
    Overlap {
        /// Whether they wait.
        defer: bool,
    },
    /// The paper's virtual wall clock: all `C_j` at once, then all `g_j`, then one `F_j` after the
    /// other, then `h`, and backward the same in turn. Nothing overlaps the chain, and links cost
    /// nothing.
    Virtual,
}

/// Subnetworks of each device, in order.
pub type Held = Vec<usize>;

/// One subnetwork: what its parts cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Subnet {
    /// `C_j`.
    pub preprocessing: Part,
    /// The units of `g_j`.
    pub units: Vec<Part>,
    /// `F_{j-1}`, which the first has not.
    pub coarse: Option<Part>,
    /// `h` and the loss, of the last.
    pub postprocessing: Option<Part>,
    /// Bytes of `U_j`.
    pub output_bytes: f64,
}

impl Subnet {
    /// All of it.
    pub fn total(&self) -> Part {
        let ends = self.coarse.iter().chain(&self.postprocessing).copied();
        self.preprocessing + self.fine() + ends.sum()
    }

    /// `g_j`.
    pub fn fine(&self) -> Part {
        self.units.iter().copied().sum()
    }
}

/// A cut network on devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The subnetworks, in order.
    pub subnetworks: Vec<Subnet>,
    /// How many of them each device holds.
    pub held: Held,
    /// What is between neighbouring devices, and between replicas.
    pub link: Link,
    /// How often the whole is there, each with a batch of its own that costs as much; gradients
    /// are then averaged over a ring.
    pub replicas: usize,
    /// How the step is run.
    pub schedule: Schedule,
    /// Units between two looks for the chain; see [`crate::exec::Placement::segment_units`].
    pub segment_units: usize,
}

impl Setting {
    /// A network cut like this, evenly spread over `devices`, with free links, one replica, and
    /// the program of [`crate::exec`].
    ///
    /// # Errors
    /// Where costs are of another network or are no costs, or there are more devices than
    /// subnetworks.
    pub fn new(costs: &dyn CostModel, cuts: &Cuts, devices: usize) -> Result<Self, PlanError> {
        if costs.units() != cuts.units() {
            return Err(PlanError::Units { costs: costs.units(), cuts: cuts.units() });
        }
        let count = cuts.subnetworks();
        let held = even_spread(count, devices)?;
        let subnetworks = (0..count)
            .map(|index| {
                let units = cuts.units_of(index);
                Subnet {
                    preprocessing: costs.preprocessing(units.start),
                    units: units.clone().map(|unit| costs.unit(unit)).collect(),
                    coarse: (index > 0).then(|| costs.coarse(&cuts.interface(index))),
                    postprocessing: (index + 1 == count).then(|| costs.postprocessing()),
                    output_bytes: costs.interface_bytes(units.end),
                }
            })
            .collect();
        let this = Self {
            subnetworks,
            held,
            link: Link::FREE,
            replicas: 1,
            schedule: Schedule::Overlap { defer: true },
            segment_units: 4,
        };
        this.check()?;
        Ok(this)
    }

    /// Whether it can be followed.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        let (held, subnetworks) = (&self.held, self.subnetworks.len());
        if held.is_empty() || held.contains(&0) || held.iter().sum::<usize>() != subnetworks {
            return Err(PlanError::Spread { held: held.clone(), subnetworks });
        }
        let totals = self.subnetworks.iter().flat_map(|subnetwork| {
            let all = subnetwork.total();
            let times = [all.forward, all.input_gradient, all.weight_gradient, all.update];
            times.into_iter().chain([all.weights, all.kept, subnetwork.output_bytes])
        });
        match totals.into_iter().find(|cost| !cost.is_finite() || *cost < 0.0) {
            Some(cost) => Err(PlanError::Cost(cost)),
            None => Ok(()),
        }
    }

    /// The subnetworks of a device.
    pub(super) fn held_by(&self, device: usize) -> std::ops::Range<usize> {
        let first = self.held[..device].iter().sum();
        first..first + self.held[device]
    }

    /// The time of each `F_j`, divided by that of `g_{j+1}`, which it approximates, forward and
    /// backward together. A cut with a share of 1 or more does not shorten the step.
    pub fn coarse_shares(&self) -> Vec<f64> {
        let time = |part: Part| part.forward + part.backward();
        let cut = self.subnetworks.iter();
        cut.filter_map(|subnetwork| Some((time(subnetwork.coarse?), time(subnetwork.fine()))))
            .map(|(coarse, fine)| if coarse > 0.0 { coarse / fine } else { 0.0 })
            .collect()
    }

    /// What each device has to hold, in bytes.
    pub fn memory(&self) -> Vec<f64> {
        (0..self.held.len())
            .map(|device| {
                let own = &self.subnetworks[self.held_by(device)];
                own.iter().map(|subnetwork| subnetwork.total().memory()).sum()
            })
            .collect()
    }
}

/// How many subnetworks each device holds where [`crate::exec::Threads`] spreads them evenly.
///
/// # Errors
/// Where there are no devices, or more than subnetworks.
pub fn even_spread(subnetworks: usize, devices: usize) -> Result<Held, PlanError> {
    let refused = || PlanError::Spread { held: vec![1; devices], subnetworks };
    let spread = Cuts::even(subnetworks, devices).map_err(|_| refused())?;
    Ok((0..devices).map(|device| spread.units_of(device).len()).collect())
}
