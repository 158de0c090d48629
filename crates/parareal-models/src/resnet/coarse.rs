use std::fmt;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Interface, Layer, ShapeError};
use serde::{Deserialize, Serialize};

use super::{ResNet, ResidualUnit};

/// Which units the coarse networks `F_j` are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CoarseKind {
    /// For each interface the paper's units where they are cheaper than what they approximate,
    /// and bottleneck units elsewhere.
    #[default]
    Auto,
    /// The paper's units, two 3×3 convolutions: one costs as much as 17 residual units.
    Basic,
    /// Residual units like those of the fine network.
    Bottleneck,
    /// The paper's units with each 3×3 convolution taken apart into a 1×1 convolution and one of
    /// each channel by itself: they see as far, for an eighth to a ninth of the work.
    Depthwise,
}

impl FromStr for CoarseKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "basic" => Ok(Self::Basic),
            "bottleneck" => Ok(Self::Bottleneck),
            "depthwise" => Ok(Self::Depthwise),
            _ => Err(format!("`{text}` is no coarse unit: auto, basic, bottleneck or depthwise")),
        }
    }
}

impl fmt::Display for CoarseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Basic => "basic",
            Self::Bottleneck => "bottleneck",
            Self::Depthwise => "depthwise",
        })
    }
}

/// The kind of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitKind {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 and 1×1 convolutions.
    Bottleneck,
    /// Twice a 1×1 convolution and a 3×3 convolution of each channel by itself.
    Depthwise,
}

impl UnitKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Basic, Self::Bottleneck, Self::Depthwise];

    /// A unit of this kind.
    pub fn build(self, from: usize, to: usize, stride: usize, init: &Init) -> ResidualUnit {
        match self {
            Self::Basic => ResidualUnit::basic(from, to, stride, init),
            Self::Bottleneck => ResidualUnit::bottleneck(from, to, stride, init),
            Self::Depthwise => ResidualUnit::depthwise(from, to, stride, init),
        }
    }
}

impl fmt::Display for UnitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => "basic",
            Self::Bottleneck => "bottleneck",
            Self::Depthwise => "depthwise",
        })
    }
}

/// What was chosen for `F_j` at one interface, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CoarseChoice {
    /// The kind of its units.
    pub kind: UnitKind,
    /// The number of its units.
    pub units: usize,
    /// Multiply-adds of `F_j` for one image.
    pub multiply_adds: u64,
    /// Multiply-adds of `g_{j+1}`, which it approximates.
    pub replaces: u64,
}

/// `F_j`: a few residual units.
#[derive(Module, Debug)]
pub struct Coarse {
    units: Vec<ResidualUnit>,
}

impl Layer<Tensor<4>, Tensor<4>> for Coarse {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.units.iter().fold(input, |state, unit| unit.forward(state))
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, ShapeError> {
        self.units.iter().try_fold(input.to_vec(), |shape, unit| unit.output_shape(&shape))
    }
}

impl Coarse {
    pub(super) fn build(net: &ResNet, interface: &Interface, init: &Init) -> Self {
        let choice = net.coarse_choice(interface);
        let units = shapes(net, interface, choice.units)
            .enumerate()
            .map(|(index, (from, to))| {
                let init = init.scope("units").scope(index);
                let stride = from.size / to.size;
                choice.kind.build(from.channels, to.channels, stride, &init)
            })
            .collect();
        Self { units }
    }
}

/// A square image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Image {
    /// Channels of a pixel.
    pub channels: usize,
    /// Pixels of a side.
    pub size: usize,
}

/// From and to what the units of `F_j` lead: the first ones halve the image as often as the jump
/// asks.
pub(super) fn shapes(
    net: &ResNet,
    interface: &Interface,
    units: usize,
) -> impl Iterator<Item = (Image, Image)> {
    let net = net.clone();
    let (first, last) = (net.stage_at(interface.position), net.stage_at(interface.next));
    let stage = move |unit: usize| net.stage_image((first + unit).min(last));
    (0..units).map(move |unit| (stage(unit), stage(unit + 1)))
}

/// Halvings of the image between the two ends of `F_j`.
fn halvings(net: &ResNet, interface: &Interface) -> usize {
    net.stage_at(interface.next) - net.stage_at(interface.position)
}

impl ResNet {
    /// What `F_j` is made of at this interface.
    ///
    /// The paper takes `N_c = ⌈12/N⌉` units and asks that `F_j` be cheaper than `g_{j+1}`. `Auto`
    /// compares multiply-adds: the paper's units where they are cheaper, otherwise bottleneck
    /// units, at most a quarter as many as the piece has. There are always enough to halve the
    /// image as often as the jump asks.
    pub fn coarse_choice(&self, interface: &Interface) -> CoarseChoice {
        let paper = 12usize.div_ceil(interface.subnetworks);
        let needed = halvings(self, interface).max(1);
        let piece = interface.next - interface.position;
        let replaces: u64 = (interface.position..interface.next).map(|u| self.unit_cost(u)).sum();
        let choose = |kind, units: usize| {
            let units = self.coarse_units.unwrap_or(units).max(needed);
            let costs = shapes(self, interface, units).map(|(from, to)| unit_cost(kind, from, to));
            CoarseChoice { kind, units, multiply_adds: costs.sum(), replaces }
        };
        let basic = choose(UnitKind::Basic, paper);
        match self.coarse_kind {
            CoarseKind::Basic => basic,
            CoarseKind::Auto if basic.multiply_adds < replaces => basic,
            CoarseKind::Auto => choose(UnitKind::Bottleneck, paper.min(piece / 4)),
            CoarseKind::Bottleneck => choose(UnitKind::Bottleneck, paper),
            CoarseKind::Depthwise => choose(UnitKind::Depthwise, paper),
        }
    }

    /// Multiply-adds of one residual unit for one image.
    pub fn unit_cost(&self, unit: usize) -> u64 {
        let (from, to) = (self.image_at(unit), self.image_at(unit + 1));
        unit_cost(UnitKind::Bottleneck, from, to)
    }
}

/// Multiply-adds of a unit's convolutions for one image.
fn unit_cost(kind: UnitKind, from: Image, to: Image) -> u64 {
    let (before, after) = (from.size * from.size, to.size * to.size);
    let convolutions = match kind {
        UnitKind::Basic => 9 * (from.channels + to.channels) * to.channels * after,
        UnitKind::Bottleneck => {
            let narrow = to.channels / 4;
            narrow * (from.channels * before + 9 * narrow * after + to.channels * after)
        }
        UnitKind::Depthwise => {
            to.channels * (from.channels * before + 9 * after + to.channels * after + 9 * after)
        }
    };
    let projection = if from == to { 0 } else { from.channels * to.channels * after };
    (convolutions + projection) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use parareal::net::Cuts;

    #[test]
    fn units_cost_what_the_paper_lets_one_count() {
        let net = ResNet::new(1001).unwrap();
        let coarse = |kind| unit_cost(kind, net.stage_image(0), net.stage_image(0));
        assert_eq!(coarse(UnitKind::Basic) as f64 / 1e6, 75.497472);
        assert_eq!((coarse(UnitKind::Bottleneck) as f64 / 1e5).round(), 45.0);
        assert_eq!(coarse(UnitKind::Depthwise) as f64 / 1e6, 9.568256);
        let total: u64 = (0..333).map(|unit| net.unit_cost(unit)).sum();
        assert_eq!((total as f64 / 1e7).round(), 149.0);
    }

    #[test]
    fn auto_takes_the_papers_units_where_they_are_cheaper() {
        let choices = |depth, n: usize| -> Vec<_> {
            let net = ResNet::new(depth).unwrap();
            let cuts = net.default_cuts(n).unwrap();
            cuts.interfaces().map(|i| net.coarse_choice(&i)).map(|c| (c.kind, c.units)).collect()
        };
        // 111 units against 4 basic ones that cost as much as 68.
        assert_eq!(choices(1001, 3), [(UnitKind::Basic, 4); 2]);
        assert_eq!(choices(1001, 6), [(UnitKind::Basic, 2); 5]);
        // 6 units: a quarter, but at least one.
        assert_eq!(choices(110, 6), [(UnitKind::Bottleneck, 1); 5]);
        assert_eq!(choices(110, 3), [(UnitKind::Bottleneck, 3); 2]);
        assert_eq!(choices(11, 3), [(UnitKind::Bottleneck, 1); 2]);
    }

    #[test]
    fn a_jump_over_two_halvings_has_two_units() {
        let net = ResNet::new(11).unwrap();
        let cuts = Cuts::new(3, vec![1]).unwrap();
        let interface = cuts.interfaces().next().unwrap();
        assert_eq!(net.coarse_choice(&interface).units, 2);
    }
}
