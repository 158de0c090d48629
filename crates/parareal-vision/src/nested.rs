//! Nested initialization of a deeper ResNet from a shallower one, stage by stage.

use parareal_models::UnitKind;
use parareal_train::UnitSource;

use crate::UnitInit;

/// Returns true if the residual of a unit is proportional to the tensor with this name in the unit.
pub(crate) fn scales_residual(kind: UnitKind, name: &str) -> bool {
    match kind {
        UnitKind::Basic => name == "conv2.weight",
        // A normalization after the last convolution cancels its scale.
        UnitKind::OriginalBottleneck => name == "norm3.weight" || name == "norm3.bias",
        UnitKind::Bottleneck => name == "conv3.weight",
        // Networks of other units have only one depth, and other coarse units are not deepened.
        _ => false,
    }
}

/// Returns the source of each unit of a ResNet with these numbers of units per stage, `deep`, that is initialized from
/// a ResNet with `shallow` units per stage. Each stage has at least as many units as that of the shallower ResNet.
///
/// The first unit of a stage has other shapes than the rest. Its source is the first unit of the shallower
/// stage. The remaining units are initialized from the remaining units of the shallower stage.
/// [`UnitInit::Repeat`] repeats each of them about equally often. [`UnitInit::Interpolate`] takes means of
/// neighbors, linear in depth; the second and the last unit of the stage are copied unchanged. If the
/// shallower stage has only one unit, the remaining units keep their initial weights.
pub(crate) fn unit_sources(shallow: &[usize], deep: &[usize], init: UnitInit) -> Vec<UnitSource> {
    let mut first = 0;
    let mut sources = Vec::new();
    for (&shallow, &deep) in shallow.iter().zip(deep) {
        sources.extend((0..deep).map(|unit| stage_source(first, shallow, deep, unit, init)));
        first += shallow;
    }
    sources
}

/// Returns the source of a unit of a stage with `deep` units, which corresponds to `shallow` units from `first` on.
fn stage_source(
    first: usize,
    shallow: usize,
    deep: usize,
    unit: usize,
    init: UnitInit,
) -> UnitSource {
    if unit == 0 {
        return UnitSource::Unit(first);
    }
    let (from, to) = (shallow - 1, deep - 1);
    if from == 0 {
        return UnitSource::Initial;
    }
    let (first, index) = (first + 1, unit - 1);
    if init == UnitInit::Repeat || from == 1 {
        return UnitSource::Unit(first + index * from / to);
    }
    // `to` is at least `from`, so at least 2.
    let (whole, rest) = (index * (from - 1) / (to - 1), index * (from - 1) % (to - 1));
    match rest {
        0 => UnitSource::Unit(first + whole),
        rest => UnitSource::Between {
            first: first + whole,
            second: first + whole + 1,
            share: rest as f64 / (to - 1) as f64,
        },
    }
}

/// Returns the scale factor of the residual of each unit of the deeper ResNet.
///
/// A residual unit corresponds to a time step of a differential equation. Several units of the deeper ResNet
/// replace one unit of the shallower ResNet (except for the first unit of a stage), so each residual is
/// scaled by the ratio of the numbers of units. Units without a source have residual 0: if there are no other new units, the deeper
/// ResNet computes the same function as the shallower one.
pub(crate) fn residual_scales(shallow: &[usize], deep: &[usize]) -> Vec<f64> {
    let stages = shallow.iter().zip(deep);
    let scales = stages.flat_map(|(&shallow, &deep)| {
        let scale = move |unit| match unit {
            0 => 1.0,
            _ => (shallow - 1) as f64 / (deep - 1) as f64,
        };
        (0..deep).map(scale)
    });
    scales.collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tensor};
    use parareal::net::{Cuts, FeedForward, Init, PararealNetwork};
    use parareal_models::ImageNetwork;
    use parareal_train::spread_units;

    use super::*;

    #[test]
    fn units_are_repeated_stage_by_stage() {
        let units = |shallow, deep| {
            let sources = unit_sources(&[shallow; 3], &[deep; 3], UnitInit::Repeat);
            let unit = |source: &UnitSource| match source {
                UnitSource::Unit(unit) => Some(*unit),
                _ => None,
            };
            sources.iter().map(unit).collect::<Option<Vec<_>>>()
        };
        assert_eq!(units(2, 3).unwrap(), [0, 1, 1, 2, 3, 3, 4, 5, 5]);
        assert_eq!(units(3, 6).unwrap()[..6], [0, 1, 1, 1, 2, 2]);
        assert_eq!(units(3, 3).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(units(1, 2), None, "a single unit cannot be repeated");
        let single = unit_sources(&[1; 3], &[2; 3], UnitInit::Interpolate);
        assert_eq!(single[..2], [UnitSource::Unit(0), UnitSource::Initial]);
        assert_eq!(single[2], UnitSource::Unit(1));
    }

    #[test]
    fn units_are_interpolated_from_the_second_to_the_last_of_a_stage() {
        let sources = unit_sources(&[3; 3], &[6; 3], UnitInit::Interpolate);
        let share = |source: &UnitSource| match *source {
            UnitSource::Unit(unit) => unit as f64,
            UnitSource::Between { first, second, share } => {
                assert_eq!(second, first + 1);
                first as f64 + share
            }
            UnitSource::Initial => f64::NAN,
        };
        let found: Vec<f64> = sources.iter().map(share).collect();
        assert_eq!(found[..6], [0.0, 1.0, 1.25, 1.5, 1.75, 2.0]);
        assert_eq!(found[6..8], [3.0, 4.0]);
        // With one unit besides the first, or with equally many units, there is nothing to interpolate.
        for (shallow, deep) in [(2, 5), (4, 4)] {
            let [interpolated, repeated] = [UnitInit::Interpolate, UnitInit::Repeat]
                .map(|init| unit_sources(&[shallow; 3], &[deep; 3], init));
            assert_eq!(interpolated, repeated);
        }
    }

    #[test]
    fn stages_may_have_different_numbers_of_units() {
        let sources = unit_sources(&[3, 4, 6, 3], &[3, 8, 36, 3], UnitInit::Repeat);
        assert_eq!(sources.len(), 50);
        assert_eq!(sources[3..6], [3, 4, 4].map(UnitSource::Unit));
        assert_eq!(sources[11], UnitSource::Unit(7));
        assert_eq!(sources[47..], [13, 14, 15].map(UnitSource::Unit));
    }

    /// With one unit in each stage, all other units of the deeper network are new and have residual 0.
    #[test]
    fn a_deeper_network_computes_the_same_function_if_its_other_units_are_new() {
        let networks = [
            [ImageNetwork::resnet(11), ImageNetwork::resnet(29)],
            [ImageNetwork::wide_resnet(10, 2), ImageNetwork::wide_resnet(22, 2)],
        ];
        for pair in networks {
            let [shallow, deep] = pair.map(|net| net.unwrap().with_width(4));
            let build = |net: &ImageNetwork, seed| {
                let cuts = Cuts::even(net.units(), 1).unwrap();
                PararealNetwork::build(net, &cuts, &Init::new(seed, &Device::flex())).unwrap()
            };
            let (before, after) = (build(&shallow, 1), build(&deep, 2));
            let (from, to) = (shallow.stage_units(), deep.stage_units());
            let sources = unit_sources(from, to, UnitInit::Repeat);
            let scales = residual_scales(from, to);
            let scale = |unit: usize, name: &str| match scales_residual(shallow.unit_kind(), name) {
                true => scales[unit],
                false => 1.0,
            };
            let spread = spread_units(&before.state_dict(), &after.state_dict(), &sources, scale);
            let after = after.load(&spread.unwrap()).unwrap();
            let input = Tensor::<4>::random([2, 3, 32, 32], Distribution::Default, &Device::flex());
            let [expected, found] =
                [before, after].map(|network| network.valid().forward(input.clone()).into_data());
            assert_eq!(found, expected, "{}", deep.name());
        }
    }

    #[test]
    fn a_stage_adds_as_much_as_before() {
        let scales = residual_scales(&[3, 1], &[6, 3]);
        assert!((scales[..6].iter().sum::<f64>() - 3.0).abs() < 1e-12);
        assert_eq!(scales[6..], [1.0, 0.0, 0.0]);
        assert_eq!(residual_scales(&[2, 2], &[2, 2]), [1.0; 4]);
    }
}
