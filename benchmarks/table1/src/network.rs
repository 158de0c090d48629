//! Networks and their numbers of parameters.

use parareal::plan::CostModel;
use parareal_data::DatasetName;
use parareal_models::{
    CoarseChoice, CoarseKind, CostTable, ImageNetwork, ParameterCounts, Summary, UnitKind,
};

use crate::Result;

/// The units of a coarse network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Coarse {
    pub(crate) kind: CoarseKind,
    /// Number of units; `None` for the default of the kind.
    pub(crate) units: Option<usize>,
}

impl Coarse {
    /// The recommended coarse network, which is the default of `parareal train`.
    pub(crate) const RECOMMENDED: Self = Self { kind: CoarseKind::Auto, units: None };
    /// The paper's coarse network.
    pub(crate) const BASIC: Self = Self { kind: CoarseKind::Units(UnitKind::Basic), units: None };

    /// Returns a coarse network with a number of units of one kind.
    pub(crate) const fn of(kind: UnitKind, units: usize) -> Self {
        Self { kind: CoarseKind::Units(kind), units: Some(units) }
    }

    /// Replaces `auto` with the kind that it stands for, because a result must keep its meaning when the
    /// recommendation changes.
    pub(crate) fn resolved(self, subnetworks: usize) -> Self {
        let (kind, units) = self.kind.resolved(UnitKind::RECOMMENDED, self.units, subnetworks);
        Self { kind, units }
    }
}

/// A ResNet and its cuts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Network {
    pub(crate) depth: usize,
    pub(crate) width: usize,
    pub(crate) subnetworks: usize,
    /// `None` for an uncut network.
    pub(crate) coarse: Option<Coarse>,
}

/// Number of channels of the images, and number of classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) channels: usize,
    pub(crate) classes: usize,
}

/// Returns the channels and classes of a published or built-in data set.
///
/// # Errors
/// If the data set is a folder of images, because its classes are not known.
pub(crate) fn shape_of(dataset: DatasetName) -> Result<Shape> {
    let (channels, classes) = match dataset {
        DatasetName::Mnist => (1, 10),
        DatasetName::Cifar10 | DatasetName::Svhn | DatasetName::Shapes => (3, 10),
        DatasetName::Cifar100 => (3, 100),
        other => return Err(format!("unknown number of classes of {other}").into()),
    };
    Ok(Shape { channels, classes })
}

impl Network {
    fn net(&self) -> Result<ImageNetwork> {
        let mut net = ImageNetwork::resnet(self.depth)?.with_width(self.width);
        if let Some(Coarse { kind, units }) = self.coarse {
            net = net.with_coarse_kind(kind).with_coarse_units(units);
        }
        Ok(net)
    }

    /// Returns the coarse network at each interface.
    ///
    /// # Errors
    /// If the network cannot be built or cut.
    pub(crate) fn coarse_choices(&self) -> Result<Vec<CoarseChoice>> {
        let net = self.net()?;
        let cuts = net.default_cuts(self.subnetworks)?;
        Ok(cuts.interfaces().map(|interface| net.coarse_choice(&interface)).collect())
    }

    /// Returns the time of all coarse networks on the chain in seconds: forward pass and input gradient, for
    /// the batch size of the measured costs.
    ///
    /// # Errors
    /// If the network cannot be built or cut, or the costs lack one of its components.
    pub(crate) fn chain_seconds(&self, costs: &CostTable) -> Result<f64> {
        let net = self.net()?;
        let costs = costs.costs(&net)?;
        let cuts = net.default_cuts(self.subnetworks)?;
        let coarse = cuts.interfaces().map(|interface| costs.coarse(&interface));
        Ok(coarse.map(|cost| cost.forward + cost.input_gradient).sum())
    }

    /// Returns the title in a table, such as `N = 3, depthwise × 4`.
    ///
    /// # Errors
    /// If the network cannot be built or cut.
    pub(crate) fn title(&self) -> Result<String> {
        let choices = self.coarse_choices()?;
        let mut units: Vec<_> = choices.iter().map(|choice| choice.units).collect();
        units.sort_unstable();
        units.dedup();
        let count = format!("N = {}", self.subnetworks);
        Ok(match (choices.first(), units.as_slice()) {
            (Some(choice), &[least, .., most]) => {
                format!("{count}, {} × {least} to {most}", choice.kind)
            }
            (Some(choice), &[units]) => format!("{count}, {} × {units}", choice.kind),
            _ => count,
        })
    }
}

/// Returns the numbers of parameters of a network with its coarse networks.
///
/// # Errors
/// If the network cannot be built or cut.
pub(crate) fn parameters(network: &Network, shape: Shape) -> Result<ParameterCounts> {
    let net = network.net()?.with_in_channels(shape.channels).with_classes(shape.classes);
    let cuts = net.default_cuts(network.subnetworks)?;
    Ok(Summary::new(&net, &cuts)?.parameters)
}

/// Returns the width whose number of parameters is nearest to `wanted`. `of_width` returns the number of
/// parameters, which must increase with the width.
///
/// # Errors
/// If `of_width` fails.
pub(crate) fn width_for(wanted: usize, of_width: impl Fn(usize) -> Result<usize>) -> Result<usize> {
    let mut below = 1;
    let mut above = 2;
    while of_width(above)? < wanted {
        (below, above) = (above, 2 * above);
    }
    while above - below > 1 {
        let middle = below.midpoint(above);
        if of_width(middle)? < wanted { below = middle } else { above = middle }
    }
    let distance = |width| Ok::<_, crate::Error>(of_width(width)?.abs_diff(wanted));
    Ok(if distance(below)? <= distance(above)? { below } else { above })
}

#[cfg(test)]
pub(crate) mod tests {
    use parareal_models::{Component, ComponentCost, Precision};

    use super::*;

    #[test]
    fn the_nearest_width_is_found() {
        let squares = |width: usize| Ok(width * width);
        for (wanted, expected) in [(1, 1), (4, 2), (100, 10), (109, 10), (111, 11), (0, 1)] {
            assert_eq!(width_for(wanted, squares).unwrap(), expected, "{wanted}");
        }
    }

    #[test]
    fn titles_contain_the_units_of_the_coarse_networks() {
        let network = |subnetworks, coarse| Network { depth: 29, width: 16, subnetworks, coarse };
        assert_eq!(network(1, None).title().unwrap(), "N = 1");
        let coarse = Coarse::of(UnitKind::Depthwise, 4);
        assert_eq!(network(3, Some(coarse)).title().unwrap(), "N = 3, depthwise × 4");
        assert_eq!(network(3, Some(Coarse::BASIC)).title().unwrap(), "N = 3, basic × 4");
        let auto = Coarse { kind: CoarseKind::Auto, units: None };
        let title = format!("N = 3, {} × 1", UnitKind::RECOMMENDED);
        assert_eq!(network(3, Some(auto)).title().unwrap(), title);
    }

    /// Returns costs of 1 s for a unit that keeps the shape and 10 s for a unit that changes it, with a tenth
    /// of that for the input gradient.
    pub(crate) fn costs(kinds: &[UnitKind]) -> CostTable {
        let components = CostTable::components_of(&ImageNetwork::resnet(29).unwrap(), kinds);
        let cost = |component| {
            let forward_ms = match component {
                Component::Unit { from, to, .. } if from == to => 1e3,
                Component::Unit { .. } => 1e4,
                _ => 1e6,
            };
            let input_gradient_ms = forward_ms / 10.0;
            let (weight_gradient_ms, update_ms, spread_ms) = (1e6, 1e6, 0.0);
            ComponentCost {
                component,
                forward_ms,
                input_gradient_ms,
                weight_gradient_ms,
                update_ms,
                spread_ms,
            }
        };
        CostTable {
            batch: 32,
            channels: 3,
            classes: 10,
            precision: Precision::F32,
            threads: 1,
            device: "cpu".into(),
            components: components.into_iter().map(cost).collect(),
        }
    }

    #[test]
    fn the_chain_has_a_strided_unit_and_further_ones_at_each_interface() {
        let costs = costs(&[UnitKind::Basic]);
        let network = |units| {
            let coarse = Coarse { units, ..Coarse::BASIC };
            Network { depth: 29, width: 16, subnetworks: 3, coarse: Some(coarse) }
        };
        for (units, expected) in [(Some(1), 2.0 * 11.0), (None, 2.0 * (11.0 + 3.0 * 1.1))] {
            let seconds = network(units).chain_seconds(&costs).unwrap();
            assert!((seconds - expected).abs() < 1e-9, "{seconds}");
        }
        let coarse = Coarse { kind: UnitKind::Grouped.into(), units: None };
        let unknown = Network { coarse: Some(coarse), ..network(None) };
        assert!(unknown.chain_seconds(&costs).unwrap_err().to_string().contains("grouped"));
    }

    #[test]
    fn parameters_are_those_of_the_papers_table() {
        let cut = Network { depth: 1001, width: 16, subnetworks: 3, coarse: Some(Coarse::BASIC) };
        let found = parameters(&cut, Shape { channels: 3, classes: 100 }).unwrap().total as f64;
        assert!((found / 15.9e6 - 1.0).abs() < 0.01, "{found}");
    }
}
