use parareal::net::{Coarsen, Init, Interface};

use crate::Component;
use crate::coarse::{Coarse, CoarseChoice, CoarseKind};
use crate::image::Image;
use crate::image_network::ImageNetwork;
use crate::preprocessing::Preprocessing;
use crate::unit::UnitKind;

impl Coarsen for ImageNetwork {
    type Coarse = Coarse;

    /// Builds max pooling to the size of the image at the cut and a 1×1 convolution, as in the paper. If the image has
    /// the shape of the state before the first unit, as in a vision transformer, `C_{j+1}` is a second `C`.
    fn interface_preprocessing(&self, interface: &Interface, init: &Init) -> Preprocessing {
        self.build_preprocessing(self.image_at(interface.position), init)
    }

    fn coarse(&self, interface: &Interface, init: &Init) -> Coarse {
        let (kind, units) = self.coarse_kind_and_units(interface);
        Coarse::new(kind, self.coarse_shapes(interface, units), init)
    }
}

impl ImageNetwork {
    /// The kind of coarse units that [`CoarseKind::Auto`] stands for
    /// ([`Architecture::recommended_unit`](crate::Architecture::recommended_unit)).
    pub fn recommended_unit(&self) -> UnitKind {
        self.architecture().recommended_unit()
    }

    /// Returns true if coarse networks can have units of this kind: convolutional units, or transformer blocks for a
    /// vision transformer.
    pub fn accepts(&self, kind: UnitKind) -> bool {
        match self.recommended_unit() {
            UnitKind::Transformer => matches!(kind, UnitKind::Transformer | UnitKind::None),
            _ => UnitKind::CONVOLUTIONAL.contains(&kind),
        }
    }

    /// The kinds of units that the coarse networks can have.
    pub fn coarse_unit_kinds(&self) -> Vec<UnitKind> {
        self.coarse_kind.unit_kinds(self.recommended_unit())
    }

    /// The kind and number of units of the coarse network `F_j` at this interface.
    ///
    /// The number of units is the one that was set, otherwise [`CoarseKind::default_units`], for transformer blocks at
    /// most a quarter of the number that `F_j` approximates. It is increased to 1, or to the number of stages that
    /// begin between the cuts. [`UnitKind::None`] always has this smallest number.
    pub fn coarse_choice(&self, interface: &Interface) -> CoarseChoice {
        let (kind, units) = self.coarse_kind_and_units(interface);
        let multiply_adds = self.coarse_multiply_adds(interface, kind, units);
        CoarseChoice {
            kind,
            units,
            multiply_adds,
            replaces: self.replaced_multiply_adds(interface),
        }
    }

    fn coarse_kind_and_units(&self, interface: &Interface) -> (UnitKind, usize) {
        let steps = self.stage_at(interface.next) - self.stage_at(interface.position);
        let quarter = (interface.next - interface.position) / 4;
        let choose = |kind: UnitKind, units: usize| match kind {
            // Additional units would not change the function, because they are identities.
            UnitKind::None => (kind, steps.max(1)),
            _ => (kind, self.coarse_units.unwrap_or(units).max(steps.max(1))),
        };
        let units = self.coarse_kind.default_units(interface.subnetworks);
        match self.coarse_kind {
            CoarseKind::Units(UnitKind::Transformer) => {
                choose(UnitKind::Transformer, units.min(quarter))
            }
            CoarseKind::Units(kind) => choose(kind, units),
            CoarseKind::Auto => choose(self.recommended_unit(), units),
            CoarseKind::BasicOrBottleneck => {
                let (basic, number) = choose(UnitKind::Basic, units);
                let cost = self.coarse_multiply_adds(interface, basic, number);
                match cost < self.replaced_multiply_adds(interface) {
                    true => (basic, number),
                    false => choose(UnitKind::Bottleneck, units.min(quarter)),
                }
            }
        }
    }

    fn coarse_multiply_adds(&self, interface: &Interface, kind: UnitKind, units: usize) -> u64 {
        let shapes = self.coarse_shapes(interface, units);
        shapes.map(|(from, to)| kind.multiply_adds(from, to)).sum()
    }

    /// Multiply-adds of the units that `F_j` approximates.
    fn replaced_multiply_adds(&self, interface: &Interface) -> u64 {
        (interface.position..interface.next).map(|unit| self.unit_cost(unit)).sum()
    }

    /// The input and output shapes of each unit of `F_j`. The first units pass from stage to stage as often as the
    /// interface requires.
    pub(crate) fn coarse_shapes(
        &self,
        interface: &Interface,
        units: usize,
    ) -> impl Iterator<Item = (Image, Image)> {
        let (first, last) = (self.stage_at(interface.position), self.stage_at(interface.next));
        let images: Vec<_> = (first..=last).map(|stage| self.stage_image(stage)).collect();
        let image = move |unit: usize| images[unit.min(last - first)];
        (0..units).map(move |unit| (image(unit), image(unit + 1)))
    }

    /// The units of the coarse network `F_j` at this interface, in order.
    pub fn coarse_components(&self, interface: &Interface) -> Vec<Component> {
        let (kind, units) = self.coarse_kind_and_units(interface);
        let shapes = self.coarse_shapes(interface, units);
        shapes.map(|(from, to)| Component::Unit { kind, from, to }).collect()
    }

    /// Multiply-adds of one unit of the fine network for one image.
    pub fn unit_cost(&self, unit: usize) -> u64 {
        self.unit_kind().multiply_adds(self.image_at(unit), self.image_at(unit + 1))
    }
}

#[cfg(test)]
mod tests {
    use parareal::net::Cuts;

    use super::*;

    #[test]
    fn multiply_adds_of_units_are_the_papers() {
        let net = ImageNetwork::resnet(1001).unwrap();
        let coarse = |kind: UnitKind| kind.multiply_adds(net.stage_image(0), net.stage_image(0));
        assert_eq!(coarse(UnitKind::Basic) as f64 / 1e6, 75.497472);
        assert_eq!((coarse(UnitKind::Bottleneck) as f64 / 1e5).round(), 45.0);
        assert_eq!(coarse(UnitKind::Depthwise) as f64 / 1e6, 9.568256);
        // The table of docs/src/concepts/coarse-networks.md.
        let image = net.stage_image(0);
        let table = UnitKind::CONVOLUTIONAL.map(|kind| {
            (kind.name(), kind.size(image, image).parameters, kind.multiply_adds(image, image))
        });
        let expected = [
            ("basic", 73_984, 75_497_472),
            ("bottleneck", 4_544, 4_456_448),
            ("depthwise", 9_600, 9_568_256),
            ("coarsened", 73_984, 18_874_368),
            ("half", 22_848, 23_068_672),
            ("quarter", 6_880, 6_815_744),
            ("grouped", 18_688, 18_874_368),
            ("none", 0, 0),
        ];
        assert_eq!(table, expected);
        let total: u64 = (0..333).map(|unit| net.unit_cost(unit)).sum();
        assert_eq!((total as f64 / 1e7).round(), 149.0);
    }

    #[test]
    fn auto_takes_one_unit_of_the_recommended_kind_or_one_for_each_halving() {
        let choices = |depth, n: usize| -> Vec<_> {
            let net = ImageNetwork::resnet(depth).unwrap();
            let cuts = net.default_cuts(n).unwrap();
            cuts.interfaces().map(|i| net.coarse_choice(&i)).map(|c| (c.kind, c.units)).collect()
        };
        assert_eq!(choices(1001, 2), [(UnitKind::Coarsened, 1)]);
        assert_eq!(choices(1001, 3), [(UnitKind::Coarsened, 1); 2]);
        assert_eq!(choices(1001, 18), [(UnitKind::Coarsened, 1); 17]);
        assert_eq!(choices(11, 3), [(UnitKind::Coarsened, 1); 2]);
    }

    #[test]
    fn the_former_choice_takes_the_papers_units_where_they_are_cheaper() {
        let choices = |depth, n: usize| -> Vec<_> {
            let net = ImageNetwork::resnet(depth)
                .unwrap()
                .with_coarse_kind(CoarseKind::BasicOrBottleneck);
            let cuts = net.default_cuts(n).unwrap();
            cuts.interfaces().map(|i| net.coarse_choice(&i)).map(|c| (c.kind, c.units)).collect()
        };
        // A subnetwork has 111 units; the 4 basic units cost as much as 68 of them.
        assert_eq!(choices(1001, 3), [(UnitKind::Basic, 4); 2]);
        assert_eq!(choices(1001, 6), [(UnitKind::Basic, 2); 5]);
        // A subnetwork has 6 units; the limit is a quarter of them, but at least one.
        assert_eq!(choices(110, 6), [(UnitKind::Bottleneck, 1); 5]);
        assert_eq!(choices(110, 3), [(UnitKind::Bottleneck, 3); 2]);
        assert_eq!(choices(11, 3), [(UnitKind::Bottleneck, 1); 2]);
    }

    #[test]
    fn a_jump_over_two_halvings_has_two_units() {
        let net = ImageNetwork::resnet(11).unwrap().with_coarse_units(Some(1));
        let cuts = Cuts::new(3, vec![1]).unwrap();
        let interface = cuts.interfaces().next().unwrap();
        assert_eq!(net.coarse_choice(&interface).units, 2);
    }
}
