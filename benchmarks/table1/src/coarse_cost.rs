//! The parameters of coarse networks and their time on the chain.

use parareal_models::CostTable;

use crate::Result;
use crate::network::{Network, Shape, parameters};

/// Largest share of the paper's coarse network in parameters and in time on the chain.
const MAX_SHARE: f64 = 1.0 / 3.0;

/// The cost of all coarse networks of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CoarseCost {
    /// Number of parameters.
    pub(crate) parameters: f64,
    /// Time on the chain, for the batch size of the measured costs; `None` if costs have not been measured.
    pub(crate) seconds: Option<f64>,
}

impl CoarseCost {
    /// Returns the cost for images of a shape.
    ///
    /// # Errors
    /// If the network cannot be built, or measured costs lack one of its components.
    pub(crate) fn of(network: &Network, shape: Shape, costs: Option<&CostTable>) -> Result<Self> {
        Ok(Self {
            parameters: parameters(network, shape)?.coarse as f64,
            seconds: costs.map(|costs| network.chain_seconds(costs)).transpose()?,
        })
    }

    /// Returns this cost as shares of another one.
    pub(crate) fn relative_to(&self, other: &Self) -> Shares {
        Shares {
            parameters: self.parameters / other.parameters,
            time: self.seconds.zip(other.seconds).map(|(own, other)| own / other),
        }
    }
}

/// A cost of coarse networks as shares of another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    pub(crate) parameters: f64,
    /// `None` if costs have not been measured.
    pub(crate) time: Option<f64>,
}

impl Shares {
    /// Returns true if both are at most a third; false if the time has not been measured.
    pub(crate) fn are_within(&self) -> bool {
        self.parameters <= MAX_SHARE && self.time.is_some_and(|time| time <= MAX_SHARE)
    }
}
