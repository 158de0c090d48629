use super::component::Component;
use crate::resnet::network::ResNet;
use crate::resnet::unit::UnitSize;

/// The memory of a component, as numbers of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Number of weights.
    pub(super) weights: usize,
    /// Number of values stored per image for the backward pass: the inputs of all convolutions.
    pub(super) stored: usize,
}

impl Size {
    pub(super) fn of(component: &Component, net: &ResNet) -> Self {
        match *component {
            Component::Preprocessing { to } => {
                // Only the output of C_1 has this number of channels.
                let kernel = if to.channels == net.width { 9 } else { 1 };
                let stored = net.in_channels * to.size * to.size;
                Self { weights: kernel * net.in_channels * to.channels, stored }
            }
            Component::Unit { kind, from, to } => {
                let UnitSize { parameters, stored } = kind.size(from, to);
                Self { weights: parameters, stored }
            }
            Component::Postprocessing { from } => {
                let weights = from.channels * (2 + net.classes()) + net.classes();
                Self { weights, stored: from.values() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use parareal::exec::Layout;
    use parareal::net::Cuts;
    use parareal::plan::{CostModel, Scenario};

    use crate::resnet::{PaperRow, ResNet, ResNetCosts, Summary, UnitKind};

    #[test]
    fn weights_are_those_of_the_modules() {
        for kind in UnitKind::ALL {
            let net = ResNet::new(56).unwrap().with_coarse_kind(kind).with_classes(7);
            let cuts = Cuts::new(18, vec![2, 6, 9, 11]).unwrap();
            let expected = Summary::new(&net, &cuts).unwrap().parameters;
            let costs = ResNetCosts::paper(&net, PaperRow::nearest(5), 0.5);
            let layout = Layout::threads(5, 1, 1).unwrap();
            let scenario = Scenario::new(&costs, &cuts, layout).unwrap();
            let total: f64 =
                scenario.subnetworks.iter().map(|subnetwork| subnetwork.total().weights).sum();
            assert_eq!(total, 4.0 * expected.total as f64, "{kind}");
            let units: f64 = (0..18).map(|unit| costs.unit(unit).weights).sum();
            assert_eq!(units, 4.0 * expected.per_subnetwork.iter().sum::<usize>() as f64);
        }
    }
}
