//! Nested initialization of a deeper ResNet from a shallower one, stage by stage.

use parareal_models::resnet::UnitKind;
use parareal_train::UnitSource;

use crate::UnitInit;

/// Number of stages of a ResNet.
pub(crate) const STAGES: usize = 3;

/// Returns the name of the weights of the last convolution of a unit.
pub(crate) fn last_convolution(kind: UnitKind) -> &'static str {
    match kind {
        UnitKind::Basic => "conv2.weight",
        _ => "conv3.weight",
    }
}

/// Returns the source of each unit of a ResNet with `deep` units per stage that is initialized from a ResNet
/// with `shallow` units per stage.
///
/// The first unit of a stage has other shapes than the rest. Its source is the first unit of the shallower
/// stage. The remaining units are initialized from the remaining units of the shallower stage.
/// [`UnitInit::Repeat`] repeats each of them about equally often. [`UnitInit::Interpolate`] takes means of
/// neighbors, linear in depth; the second and the last unit of the stage are copied unchanged. If the
/// shallower stage has only one unit, the remaining units keep their initial weights.
pub(crate) fn unit_sources(shallow: usize, deep: usize, init: UnitInit) -> Vec<UnitSource> {
    let (from, to) = (shallow - 1, deep - 1);
    let source = |stage: usize, unit: usize| {
        let first = stage * shallow;
        if unit == 0 {
            return UnitSource::Unit(first);
        }
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
    };
    (0..STAGES).flat_map(|stage| (0..deep).map(move |unit| source(stage, unit))).collect()
}

/// Returns the scale factor for a tensor of a unit of the deeper ResNet.
///
/// A residual unit corresponds to a time step of a differential equation. Several units of the deeper ResNet
/// replace one unit of the shallower ResNet (except for the first unit of a stage), so each residual is
/// scaled by the ratio of the numbers of units. Units without a source have residual 0, so that the deeper
/// ResNet computes the same function as the shallower one.
///
/// `is_last` is true for the weights of the unit's [last convolution](last_convolution).
pub(crate) fn scale(shallow: usize, deep: usize, unit: usize, is_last: bool) -> f64 {
    match unit % deep {
        0 => 1.0,
        _ if is_last => (shallow - 1) as f64 / (deep - 1) as f64,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_repeated_stage_by_stage() {
        let units = |shallow, deep| {
            let sources = unit_sources(shallow, deep, UnitInit::Repeat);
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
        let single = unit_sources(1, 2, UnitInit::Interpolate);
        assert_eq!(single[..2], [UnitSource::Unit(0), UnitSource::Initial]);
        assert_eq!(single[2], UnitSource::Unit(1));
    }

    #[test]
    fn units_are_interpolated_from_the_second_to_the_last_of_a_stage() {
        let sources = unit_sources(3, 6, UnitInit::Interpolate);
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
                .map(|init| unit_sources(shallow, deep, init));
            assert_eq!(interpolated, repeated);
        }
    }

    #[test]
    fn a_stage_adds_as_much_as_before() {
        let sum: f64 = (0..6).map(|unit| scale(3, 6, unit, true)).sum();
        assert!((sum - 3.0).abs() < 1e-12);
        assert_eq!(scale(3, 6, 6, true), 1.0);
        assert_eq!(scale(3, 6, 1, false), 1.0);
        assert_eq!(scale(1, 3, 1, true), 0.0);
    }
}
