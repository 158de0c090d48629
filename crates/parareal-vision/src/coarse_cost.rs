//! Cost of the coarse networks relative to the subnetworks that they approximate.

use serde::Serialize;

use crate::network::NetworkConfig;

/// Cost of one coarse network, relative to the subnetwork that it approximates.
///
/// On the sequential path through the network, the coarse network replaces the subnetwork. A cut therefore
/// shortens a training step only if its coarse network is cheaper.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CoarseCost {
    /// Number of the interface, from 1: `F_j` at interface `j` approximates `g_{j+1}`.
    pub interface: usize,
    /// Cost of `F_j` divided by the cost of `g_{j+1}`.
    pub share: f64,
    /// Unit of the costs.
    pub basis: CostBasis,
    /// True if `F_j` costs less than `g_{j+1}`.
    pub is_cheaper: bool,
}

/// Units in which costs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostBasis {
    /// Multiply-adds of the forward pass.
    MultiplyAdds,
    /// Time of the forward and the backward pass.
    Time,
}

impl NetworkConfig {
    /// Returns the cost of each coarse network, in measured times if they are known, otherwise in
    /// multiply-adds.
    #[must_use]
    pub fn coarse_costs(&self) -> Vec<CoarseCost> {
        let (shares, basis) = match &self.coarse_times {
            Some(times) => (times.clone(), CostBasis::Time),
            None => {
                let choices = self.cuts.interfaces().map(|at| self.net.coarse_choice(&at));
                let share = choices
                    .map(|choice| choice.multiply_adds as f64 / choice.replaces.max(1) as f64);
                (share.collect(), CostBasis::MultiplyAdds)
            }
        };
        let numbered = shares.into_iter().zip(1..);
        numbered
            .map(|(share, interface)| CoarseCost {
                interface,
                share,
                basis,
                is_cheaper: share < 1.0,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CoarseKind, CutsSetting, Recipe, Settings, UnitKind};

    fn network(settings: Settings) -> NetworkConfig {
        NetworkConfig::resolve(&settings, Recipe::default()).unwrap()
    }

    #[test]
    fn coarse_networks_are_compared_with_the_subnetworks_that_they_approximate() {
        let depthwise = network(Settings {
            depth: Some(20),
            cuts: Some(CutsSetting::Positions(vec![4, 5])),
            coarse_unit: Some(CoarseKind::Units(UnitKind::Depthwise)),
            ..Settings::default()
        });
        let costs = depthwise.coarse_costs();
        let shares: Vec<f64> = costs.iter().map(|cost| (100.0 * cost.share).round()).collect();
        assert_eq!(shares, [540.0, 779.0]);
        assert!(costs.iter().all(|cost| !cost.is_cheaper && cost.basis == CostBasis::MultiplyAdds));
        let (first, second) = (costs[0].interface, costs[1].interface);
        assert_eq!((first, second), (1, 2));

        // An equal cost is not cheaper.
        let equal = network(Settings {
            depth: Some(20),
            cuts: Some(CutsSetting::Positions(vec![4, 5])),
            coarse_unit: Some(CoarseKind::BasicOrBottleneck),
            ..Settings::default()
        });
        assert!(equal.coarse_costs().iter().any(|cost| cost.share == 1.0 && !cost.is_cheaper));
    }

    #[test]
    fn times_are_used_if_they_are_known() {
        let mut network = network(Settings { subnetworks: Some(3), ..Settings::default() });
        network.coarse_times = Some(vec![0.9, 1.1]);
        let costs = network.coarse_costs();
        assert!(costs.iter().all(|cost| cost.basis == CostBasis::Time));
        assert!(costs[0].is_cheaper && !costs[1].is_cheaper);
    }
}
