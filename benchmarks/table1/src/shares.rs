//! Coarse networks compared by their parameters and their time on the chain.

use parareal_models::CostTable;

use crate::Result;
use crate::network::{Network, parameters, shape_of};
use crate::row::Row;

/// Largest share of the paper's coarse network in parameters and in time on the chain.
const MAX_SHARE: f64 = 1.0 / 3.0;

/// The parameters of all coarse networks and their time on the chain, as shares of those of another network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    pub(crate) parameters: f64,
    /// `None` if costs have not been measured.
    pub(crate) time: Option<f64>,
}

impl Shares {
    /// Compares the coarse networks of a row with those of another network for the same images.
    ///
    /// # Errors
    /// If a network cannot be built, or measured costs lack one of its components.
    pub(crate) fn of(row: &Row, other: &Network, costs: Option<&CostTable>) -> Result<Self> {
        let shape = shape_of(row.dataset)?;
        let [own, others] = [&row.network, other]
            .map(|network| Ok::<_, crate::Error>(parameters(network, shape)?.coarse as f64));
        let time = match costs {
            Some(costs) => Some(row.network.chain_seconds(costs)? / other.chain_seconds(costs)?),
            None => None,
        };
        Ok(Self { parameters: own? / others?, time })
    }

    /// Returns true if both are at most a third; false if the time has not been measured.
    pub(crate) fn are_within(&self) -> bool {
        self.parameters <= MAX_SHARE && self.time.is_some_and(|time| time <= MAX_SHARE)
    }
}
