mod block;
mod search;

use super::cost::CostModel;
use super::error::PlanError;
use super::scenario::Link;
use crate::exec::{Layout, ProgramOptions};
use crate::net::Cuts;

/// The maximum number of units. The memory for the costs of all possible blocks is quadratic in the number of
/// units.
const MAX_UNITS: usize = 2000;

/// Cuts with the smallest predicted step.
#[derive(Clone, Debug, PartialEq)]
pub struct Balanced {
    /// The cuts.
    pub cuts: Cuts,
    /// The predicted duration of a step, in seconds.
    pub step: f64,
}

/// Finds the cuts with the shortest predicted step for a layout, by an exact search.
///
/// A device never waits while it has work to do. So the step depends only on the total fine work and the
/// total chain work of each device, over the instructions of the [`Program`](crate::exec::Program). The search
/// therefore places *blocks*: the consecutive subnetworks of one device. It cuts each block evenly, because the
/// cuts within a block affect only the costs of the modules at its interfaces. Let `s` be the time of a transfer
/// over a link, and `r_N = e_N + h`. The step is
///
/// ```text
/// e_w  = max(e_{w-1} + s, fine_w) + chain_w              forward, block after block
/// r_{w-1} = r_w + chain'_w + s                           backward
/// step = max over w of (r_w + chain'_w + rest_w)  +  max over w of update_w
/// ```
///
/// because no device updates its parameters before all devices have finished their backward pass. With
/// replicas, `rest_w` ends no earlier than the last sum of gradients over the replicas: each sum begins when its
/// gradients are complete and the previous one has ended. Let `F = e_N`, and let `B` be the time after `r_N`.
///
/// For given limits on `F` and `B`, the search builds partial placements from the last block to the first. It
/// compares placements that have the same number of blocks and begin at the same unit. A placement is dropped
/// if another one is no worse in every quantity that the preceding blocks depend on: the time of the chain
/// from here to the end, forward and backward, the latest end of the backward pass, and the longest update. The last
/// two may also be later, up to what the dropped placement reaches at least once it is complete. A placement is also
/// dropped if a lower bound for it exceeds a limit. The bound divides the remaining units optimally, and reaches
/// the first block by the shortest chain.
///
/// If the chain takes most of the step, many placements have the shortest one. Among these, the longest block has as
/// few units as possible, and of partial placements that could replace each other, the one whose blocks end earlier is
/// kept.
///
/// The placement with the smallest `B` below a limit on `F` rules out all placements with a larger `F`. The
/// range of `F` that may still contain a shorter step is halved until it is empty. A first search with narrow
/// limits, which are widened until it finds a placement, keeps this range small.
///
/// Tests check that the result equals the simulated step ([`Scenario::predict`](super::Scenario::predict)).
///
/// All program options are taken into account. Without replicas, `segment_units` does not affect these totals.
///
/// # Errors
/// [`PlanError::Cuts`] if there are fewer units than subnetworks; [`PlanError::TooLong`] if there are too
/// many units.
///
/// # Panics
/// If `segment_units` is 0.
pub fn balance(
    costs: &dyn CostModel,
    layout: &Layout,
    link: Link,
    options: ProgramOptions,
) -> Result<Balanced, PlanError> {
    let units = costs.units();
    check_balance(units, layout)?;
    let held = layout.counts();
    let costs = block::BlockCosts::new(costs, layout, link, options);
    let (step, begins) = search::shortest(&costs, &held);
    let ends = begins[1..].iter().copied().chain([units]);
    let mut positions = Vec::with_capacity(layout.subnetworks() - 1);
    for ((&begin, end), &held) in begins.iter().zip(ends).zip(&held) {
        positions.extend(block::inner_cuts(begin, end, held));
        positions.push(end);
    }
    positions.pop();
    Ok(Balanced { cuts: Cuts::new(units, positions)?, step })
}

/// Checks whether [`balance`] can cut a network of `units` units for a layout. No costs are needed, so this
/// can be called before measuring them.
///
/// # Errors
/// As [`balance`].
pub fn check_balance(units: usize, layout: &Layout) -> Result<(), PlanError> {
    Cuts::even(units, layout.subnetworks())?;
    if units > MAX_UNITS {
        return Err(PlanError::TooLong { units, most: MAX_UNITS });
    }
    Ok(())
}
