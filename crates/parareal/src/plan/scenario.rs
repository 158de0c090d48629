use super::cost::{Cost, CostModel};
use super::error::PlanError;
use crate::exec::{Layout, ProgramOptions};
use crate::net::Cuts;

/// The latency and bandwidth of the connection between two devices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Latency in seconds.
    pub latency: f64,
    /// Bandwidth in bytes per second; may be infinite.
    pub bandwidth: f64,
}

impl Link {
    /// A link without cost.
    pub const FREE: Self = Self { latency: 0.0, bandwidth: f64::INFINITY };

    /// Returns the time, in seconds, to send a message of this many bytes.
    pub fn time(&self, bytes: f64) -> f64 {
        self.latency + bytes / self.bandwidth
    }

    /// Returns the time, in seconds, of a ring all-reduce of this many bytes over `R` replicas: `2 (R - 1)` messages
    /// with an `R`-th of the bytes each.
    ///
    /// # Panics
    /// If there are no replicas.
    pub fn all_reduce_time(&self, bytes: f64, replicas: usize) -> f64 {
        assert!(replicas > 0, "a sum needs at least one replica");
        2.0 * (replicas - 1) as f64 * self.time(bytes / replicas as f64)
    }
}

/// The schedule of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// The [`Program`](crate::exec::Program) of [`crate::exec`]: the chain has priority, and everything else
    /// overlaps with it.
    Overlap(ProgramOptions),
    /// The paper's virtual wall clock: all `C_j` in parallel, then all `g_j` in parallel, then one `F_j`
    /// after another, then `h`, and the backward pass in reverse order. Nothing overlaps with the chain, and
    /// links have no cost.
    Virtual,
}

/// The costs of one subnetwork.
#[derive(Clone, Debug, PartialEq)]
pub struct SubnetworkCosts {
    /// `C_j`.
    pub preprocessing: Cost,
    /// The units of `g_j`.
    pub units: Vec<Cost>,
    /// `F_{j-1}`; `None` for the first subnetwork.
    pub coarse: Option<Cost>,
    /// `h` and the loss; `None` for all but the last subnetwork.
    pub postprocessing: Option<Cost>,
    /// The size of `U_j` in bytes.
    pub output_bytes: f64,
}

impl SubnetworkCosts {
    /// Returns the sum of all costs.
    pub fn total(&self) -> Cost {
        let ends = self.coarse.iter().chain(&self.postprocessing).copied();
        self.preprocessing + self.fine() + ends.sum()
    }

    /// Returns the cost of `g_j`.
    pub fn fine(&self) -> Cost {
        self.units.iter().copied().sum()
    }
}

/// The input of a prediction: the costs of the subnetworks, and their layout on devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The subnetworks, in order.
    pub subnetworks: Vec<SubnetworkCosts>,
    /// The layout of the subnetworks on devices, with one device per worker. Each replica processes its own
    /// batch at the same cost. Gradients are averaged over the replicas by a ring all-reduce.
    pub layout: Layout,
    /// The link between neighboring devices, and between replicas.
    pub link: Link,
    /// The schedule of the step.
    pub schedule: Schedule,
}

impl Scenario {
    /// Creates a scenario of a network with these cuts and this layout. Links have no cost, and the schedule
    /// is the program of [`crate::exec`] with default options.
    ///
    /// # Errors
    /// [`PlanError::Units`] if the costs are for a different number of units; [`PlanError::Cost`] if a cost
    /// is invalid; [`PlanError::Layout`] if the layout has a different number of subnetworks.
    pub fn new(costs: &dyn CostModel, cuts: &Cuts, layout: Layout) -> Result<Self, PlanError> {
        if costs.units() != cuts.units() {
            return Err(PlanError::Units { costs: costs.units(), cuts: cuts.units() });
        }
        let count = cuts.subnetworks();
        let subnetworks = (0..count)
            .map(|index| {
                let units = cuts.units_of(index);
                SubnetworkCosts {
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
            layout,
            link: Link::FREE,
            schedule: Schedule::Overlap(ProgramOptions::default()),
        };
        this.check()?;
        Ok(this)
    }

    /// Returns the cuts of the network.
    ///
    /// # Errors
    /// [`PlanError::Cuts`] if a subnetwork has no units.
    pub(super) fn cuts(&self) -> Result<Cuts, PlanError> {
        let ends = self.subnetworks.iter().scan(0, |end, own| {
            *end += own.units.len();
            Some(*end)
        });
        let mut positions: Vec<_> = ends.collect();
        let units = positions.pop().unwrap_or(0);
        Ok(Cuts::new(units, positions)?)
    }

    /// Checks that the layout fits the network and that all costs are valid.
    ///
    /// # Errors
    /// [`PlanError::Layout`] or [`PlanError::Cost`].
    pub(super) fn check(&self) -> Result<(), PlanError> {
        self.layout.check_network(self.subnetworks.len())?;
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

    /// Returns the time of each `F_j` as a fraction of the time of `g_{j+1}`, which it approximates. Forward
    /// and backward passes are added. A cut with a fraction of 1 or more does not shorten the step.
    pub fn coarse_shares(&self) -> Vec<f64> {
        let time = |part: Cost| part.forward + part.backward();
        let cut = self.subnetworks.iter();
        cut.filter_map(|subnetwork| Some((time(subnetwork.coarse?), time(subnetwork.fine()))))
            .map(|(coarse, fine)| if coarse > 0.0 { coarse / fine } else { 0.0 })
            .collect()
    }

    /// Returns the memory that each device needs, in bytes.
    ///
    /// With [`ProgramOptions::recompute`], the forward pass keeps one state per segment, which is assumed to
    /// be as large as `U_j`. The backward pass needs the memory of the largest segment of the device.
    pub fn memory(&self) -> Vec<f64> {
        let device = |device| {
            let own = &self.subnetworks[self.layout.subnetworks_of(device)];
            let all: f64 = own.iter().map(|subnetwork| subnetwork.total().memory()).sum();
            let segment_units = match self.schedule {
                Schedule::Overlap(ProgramOptions { recompute: true, segment_units, .. }) => {
                    segment_units
                }
                _ => return all,
            };
            let segments = || {
                own.iter().flat_map(|own| {
                    own.units.chunks(segment_units.max(1)).map(|segment| {
                        let kept: f64 = segment.iter().map(|unit| unit.kept).sum();
                        (own.output_bytes, kept)
                    })
                })
            };
            let states: f64 = segments().map(|(state, _)| state).sum();
            let kept: f64 = segments().map(|(_, kept)| kept).sum();
            let largest = segments().map(|(_, kept)| kept).fold(0.0, f64::max);
            all - kept + states + largest
        };
        (0..self.layout.workers()).map(device).collect()
    }
}
