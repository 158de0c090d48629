use thiserror::Error;

use crate::exec::LayoutError;
use crate::net::NetError;

/// An error from planning a step.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// An impossible layout, or a layout for a different network.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The costs are for a different network.
    #[error(
        "the costs are for {costs} units, but the cuts are for {cuts}; use costs for the same network"
    )]
    Units {
        /// The number of units that have costs.
        costs: usize,
        /// The number of units that the cuts are for.
        cuts: usize,
    },
    /// The network has too many units for balanced cuts.
    #[error("balanced cuts are available for at most {most} units, got {units}; cut evenly")]
    TooLong {
        /// The number of units.
        units: usize,
        /// The maximum.
        most: usize,
    },
    /// A cost that is negative or not finite.
    #[error("a cost is {0}: expected a finite number of at least 0")]
    Cost(f64),
    /// Impossible cuts.
    #[error(transparent)]
    Cuts(#[from] NetError),
}
