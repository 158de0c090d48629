use std::collections::HashMap;

use parareal::net::{FeedForward, Interface};
use parareal::plan::{Cost, CostModel};

use super::component::Component;
use super::paper::{PAPER_BATCH, PaperRow};
use crate::image_network::ImageNetwork;
use crate::size::Size;

/// The costs of a network, for any cuts.
#[derive(Clone, Debug)]
pub struct NetworkCosts {
    net: ImageNetwork,
    batch: usize,
    times: Times,
}

/// The source of the times.
#[derive(Clone, Debug)]
enum Times {
    Measured(HashMap<Component, Cost>),
    Paper {
        row: PaperRow,
        /// The share of weight gradients in a backward pass of the coarse network, from 0 to 1.
        weight_share: f64,
    },
}

impl NetworkCosts {
    /// The times of this row of the paper's Table 2, spread evenly over all units and over all `F_j`.
    ///
    /// The paper has no separate times for weight gradients. `weight_share`, from 0 to 1, is their assumed
    /// share in the backward pass of the coarse network. The paper has no time for the optimizer either; it
    /// is taken as zero.
    pub fn paper(net: &ImageNetwork, row: PaperRow, weight_share: f64) -> Self {
        let times = Times::Paper { row, weight_share };
        Self { net: net.clone(), batch: PAPER_BATCH, times }
    }

    /// Creates costs from measured times of components for a batch of this many images.
    pub(super) fn measured(
        net: &ImageNetwork,
        batch: usize,
        times: HashMap<Component, Cost>,
    ) -> Self {
        Self { net: net.clone(), batch, times: Times::Measured(times) }
    }

    /// The number of images in a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    fn component(&self, component: &Component) -> Cost {
        let times = match &self.times {
            Times::Measured(times) => times.get(component).copied().unwrap_or_default(),
            Times::Paper { row, .. } => match component {
                Component::Preprocessing { .. } => row.preprocessing.part(0.0),
                Component::Unit { .. } => row.unit().part(0.0),
                Component::Postprocessing { .. } => row.postprocessing.part(0.0),
            },
        };
        let Size { parameters, stored, .. } = component.size(&self.net);
        let kept = (component.stored_precision(&self.net).size() * stored * self.batch) as f64;
        Cost { weights: (size_of::<f32>() * parameters) as f64, kept, ..times }
    }
}

impl CostModel for NetworkCosts {
    fn units(&self) -> usize {
        FeedForward::units(&self.net)
    }

    fn preprocessing(&self, position: usize) -> Cost {
        self.component(&Component::Preprocessing { to: self.net.image_at(position) })
    }

    fn unit(&self, index: usize) -> Cost {
        self.component(&self.net.unit_component(index))
    }

    fn coarse(&self, interface: &Interface) -> Cost {
        let units = self.net.coarse_components(interface);
        let sum: Cost = units.iter().map(|unit| self.component(unit)).sum();
        match &self.times {
            Times::Measured(_) => sum,
            Times::Paper { row, weight_share } => {
                let times = row.coarse().map_or_else(Cost::default, |f| f.part(*weight_share));
                Cost { weights: sum.weights, kept: sum.kept, ..times }
            }
        }
    }

    fn postprocessing(&self) -> Cost {
        let from = self.net.image_at(FeedForward::units(&self.net));
        self.component(&Component::Postprocessing { from })
    }

    fn interface_bytes(&self, position: usize) -> f64 {
        let image = self.net.image_at(position);
        (self.net.precision().size() * image.values() * self.batch) as f64
    }
}

#[cfg(test)]
mod tests {
    use parareal::exec::Layout;
    use parareal::net::Cuts;
    use parareal::plan::Scenario;

    use super::*;
    use crate::{Architecture, Summary, UnitKind, VitSize};

    /// Compares the numbers of parameters of a network that is cut at these positions.
    fn assert_weights_are_those_of_the_modules(net: &ImageNetwork, cuts: Vec<usize>) {
        let net = net.clone().with_classes(7);
        let cuts = Cuts::new(net.units(), cuts).unwrap();
        let expected = Summary::new(&net, &cuts).unwrap().parameters;
        let costs = NetworkCosts::measured(&net, 1, HashMap::new());
        let layout = Layout::threads(cuts.subnetworks(), 1, 1).unwrap();
        let scenario = Scenario::new(&costs, &cuts, layout).unwrap();
        let total: f64 =
            scenario.subnetworks.iter().map(|subnetwork| subnetwork.total().weights).sum();
        assert_eq!(total, 4.0 * expected.total as f64, "{} {:?}", net.name(), net.coarse_kind());
        let units: f64 = (0..net.units()).map(|unit| costs.unit(unit).weights).sum();
        assert_eq!(units, 4.0 * expected.per_subnetwork.iter().sum::<usize>() as f64);
    }

    #[test]
    fn weights_are_those_of_the_modules() {
        for kind in UnitKind::CONVOLUTIONAL {
            let net = ImageNetwork::resnet(56).unwrap().with_coarse_kind(kind);
            assert_weights_are_those_of_the_modules(&net, vec![2, 6, 9, 11]);
        }
        let vit = Architecture::Vit { size: VitSize::Small, patch: 8 };
        for (architecture, width, size, cuts) in [
            (Architecture::WideResNet { depth: 16, widening: 3 }, 5, 32, vec![1, 4]),
            (Architecture::Vgg16, 4, 32, vec![1, 2, 7, 9]),
            (Architecture::Vgg16, 2, 224, vec![3, 8]),
            (Architecture::OriginalResNet { depth: 50 }, 4, 64, vec![2, 3, 9]),
            (vit, 12, 32, vec![3, 7]),
        ] {
            let net = ImageNetwork::sized(architecture, size).unwrap().with_width(width);
            assert_weights_are_those_of_the_modules(&net, cuts);
        }
    }
}
