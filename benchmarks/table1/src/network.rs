//! Networks and their numbers of parameters.

use parareal_data::DatasetName;
use parareal_models::resnet::{ResNet, Summary};

use crate::Result;
use crate::study::Coarse;

/// A ResNet and how it is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Network {
    pub(crate) depth: usize,
    pub(crate) width: usize,
    pub(crate) subnetworks: usize,
    /// `None` for an uncut network.
    pub(crate) coarse: Option<Coarse>,
}

/// Channels of the images and number of classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) channels: usize,
    pub(crate) classes: usize,
}

/// Returns the channels and classes of a published or built-in data set.
///
/// # Errors
/// For a folder of images, whose classes are not known here.
pub(crate) fn shape_of(dataset: DatasetName) -> Result<Shape> {
    let (channels, classes) = match dataset {
        DatasetName::Mnist => (1, 10),
        DatasetName::Cifar10 | DatasetName::Svhn | DatasetName::Shapes => (3, 10),
        DatasetName::Cifar100 => (3, 100),
        other => return Err(format!("the classes of {other} are not known").into()),
    };
    Ok(Shape { channels, classes })
}

impl Network {
    fn net(&self) -> Result<ResNet> {
        let mut net = ResNet::new(self.depth)?.with_width(self.width);
        if let Some(Coarse { kind, units }) = self.coarse {
            net = net.with_coarse_kind(kind).with_coarse_units(units);
        }
        Ok(net)
    }

    /// Title in a table, such as `N = 3, depthwise × 4`.
    pub(crate) fn title(&self) -> Result<String> {
        let net = self.net()?;
        let cuts = net.default_cuts(self.subnetworks)?;
        let mut units: Vec<_> = cuts.interfaces().map(|at| net.coarse_choice(&at).units).collect();
        units.sort_unstable();
        units.dedup();
        let count = format!("N = {}", self.subnetworks);
        Ok(match (self.coarse, units.as_slice()) {
            (Some(coarse), &[least, .., most]) => {
                format!("{count}, {} × {least} to {most}", coarse.kind)
            }
            (Some(coarse), &[units]) => format!("{count}, {} × {units}", coarse.kind),
            _ => count,
        })
    }
}

/// Returns the number of parameters of a network with its coarse networks.
///
/// # Errors
/// If the network cannot be built or cut.
pub(crate) fn parameters(network: &Network, shape: Shape) -> Result<usize> {
    let net = network.net()?.with_in_channels(shape.channels).with_classes(shape.classes);
    let cuts = net.default_cuts(network.subnetworks)?;
    Ok(Summary::new(&net, &cuts)?.parameters.total)
}

/// Returns the width whose number of parameters is nearest to the one wanted. `of_width` grows with the width.
///
/// # Errors
/// Those of `of_width`.
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
    let distance = |width| Ok::<_, Box<dyn std::error::Error>>(of_width(width)?.abs_diff(wanted));
    Ok(if distance(below)? <= distance(above)? { below } else { above })
}

#[cfg(test)]
mod tests {
    use parareal_models::resnet::UnitKind;

    use super::*;

    #[test]
    fn the_nearest_width_is_found() {
        let squares = |width: usize| Ok(width * width);
        for (wanted, expected) in [(1, 1), (4, 2), (100, 10), (109, 10), (111, 11), (0, 1)] {
            assert_eq!(width_for(wanted, squares).unwrap(), expected, "{wanted}");
        }
    }

    #[test]
    fn titles_tell_the_units_of_the_coarse_networks() {
        let network = |subnetworks, coarse| Network { depth: 29, width: 16, subnetworks, coarse };
        assert_eq!(network(1, None).title().unwrap(), "N = 1");
        let coarse = Coarse { kind: UnitKind::Depthwise, units: Some(4) };
        assert_eq!(network(3, Some(coarse)).title().unwrap(), "N = 3, depthwise × 4");
        let coarse = Coarse { kind: UnitKind::Basic, units: None };
        assert_eq!(network(3, Some(coarse)).title().unwrap(), "N = 3, basic × 4");
    }

    #[test]
    fn parameters_are_those_of_the_papers_table() {
        let coarse = Coarse { kind: UnitKind::Basic, units: None };
        let cut = Network { depth: 1001, width: 16, subnetworks: 3, coarse: Some(coarse) };
        let found = parameters(&cut, Shape { channels: 3, classes: 100 }).unwrap() as f64;
        assert!((found / 15.9e6 - 1.0).abs() < 0.01, "{found}");
    }
}
