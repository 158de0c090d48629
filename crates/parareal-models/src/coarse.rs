use std::fmt;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::image::Image;
use crate::unit::{Unit, UnitKind, UnitKindError};

/// A rule for the kind of units in the coarse networks `F_j`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoarseKind {
    /// Units of the recommended kind ([`ImageNetwork::recommended_unit`](crate::ImageNetwork::recommended_unit));
    /// one unit per coarse network unless a number is set.
    #[default]
    Auto,
    /// At each interface, the paper's units if they have fewer multiply-adds than the units that they
    /// approximate. Otherwise bottleneck units, at most a quarter as many as they approximate. This was the
    /// meaning of `auto` in the first versions.
    BasicOrBottleneck,
    /// Units of one kind at every interface.
    Units(UnitKind),
}

impl CoarseKind {
    /// The name of [`CoarseKind::Auto`].
    const AUTO: &'static str = "auto";
    /// The name of [`CoarseKind::BasicOrBottleneck`].
    const BASIC_OR_BOTTLENECK: &'static str = "basic-or-bottleneck";

    /// All rules.
    pub fn all() -> impl Iterator<Item = Self> {
        let kinds = UnitKind::CONVOLUTIONAL.into_iter().chain([UnitKind::Transformer]);
        [Self::Auto].into_iter().chain(kinds.map(Self::Units)).chain([Self::BasicOrBottleneck])
    }

    /// The name in settings, files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => Self::AUTO,
            Self::BasicOrBottleneck => Self::BASIC_OR_BOTTLENECK,
            Self::Units(kind) => kind.name(),
        }
    }

    /// The kinds of units that coarse networks can have under this rule, if this is the recommended kind.
    pub fn unit_kinds(self, recommended: UnitKind) -> Vec<UnitKind> {
        match self {
            Self::Auto => vec![recommended],
            Self::BasicOrBottleneck => vec![UnitKind::Basic, UnitKind::Bottleneck],
            Self::Units(kind) => vec![kind],
        }
    }

    /// The default number of units `N_c` of each coarse network, for a network with this many subnetworks:
    /// the paper's `⌈12/N⌉`, but 1 for [`CoarseKind::Auto`].
    pub fn default_units(self, subnetworks: usize) -> usize {
        match self {
            Self::Auto => 1,
            Self::BasicOrBottleneck | Self::Units(_) => 12_usize.div_ceil(subnetworks.max(1)),
        }
    }

    /// Replaces [`CoarseKind::Auto`] with the recommended kind and, if the network is cut, an unset number of
    /// units with the default number. A recorded configuration therefore keeps its meaning when the
    /// recommendation changes.
    ///
    /// Other rules are returned unchanged, with their number of units.
    #[must_use]
    pub fn resolved(
        self,
        recommended: UnitKind,
        units: Option<usize>,
        subnetworks: usize,
    ) -> (Self, Option<usize>) {
        match self {
            Self::Auto => {
                let number = (subnetworks > 1).then(|| self.default_units(subnetworks));
                (recommended.into(), units.or(number))
            }
            Self::BasicOrBottleneck | Self::Units(_) => (self, units),
        }
    }
}

impl From<UnitKind> for CoarseKind {
    fn from(kind: UnitKind) -> Self {
        Self::Units(kind)
    }
}

impl FromStr for CoarseKind {
    type Err = UnitKindError;

    fn from_str(name: &str) -> Result<Self, UnitKindError> {
        let found = Self::all().find(|kind| kind.name() == name);
        let expected = || Self::all().map(Self::name).collect();
        found.ok_or_else(|| UnitKindError { name: name.into(), expected: expected() })
    }
}

impl fmt::Display for CoarseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for CoarseKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CoarseKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The coarse network `F_j` at one interface, and its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CoarseChoice {
    /// The kind of the units of `F_j`.
    pub kind: UnitKind,
    /// The number of units of `F_j`.
    pub units: usize,
    /// Multiply-adds of `F_j` for one image.
    pub multiply_adds: u64,
    /// Multiply-adds for one image of `g_{j+1}`, which `F_j` approximates.
    pub replaces: u64,
}

/// `F_j`: a few units.
#[derive(Module, Debug)]
pub struct Coarse {
    units: Vec<Unit>,
}

impl Coarse {
    /// Creates units of one kind, one for each pair of input and output shapes.
    pub(crate) fn new(
        kind: UnitKind,
        shapes: impl Iterator<Item = (Image, Image)>,
        init: &Init,
    ) -> Self {
        let scope = init.scope("units");
        let units = shapes.enumerate();
        let units = units.map(|(index, (from, to))| kind.build(from, to, &scope.scope(index)));
        Self { units: units.collect() }
    }
}

impl Layer<Tensor<4>, Tensor<4>> for Coarse {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.units.iter().fold(input, |state, unit| unit.forward(state))
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        self.units.iter().try_fold(input.clone(), |shape, unit| unit.output_shape(&shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_choices_are_read_and_written() {
        let names: Vec<_> = CoarseKind::all().map(CoarseKind::name).collect();
        let expected = [
            "auto",
            "basic",
            "bottleneck",
            "depthwise",
            "coarsened",
            "half",
            "quarter",
            "grouped",
            "none",
            "transformer",
            "basic-or-bottleneck",
        ];
        assert_eq!(names, expected);
        for kind in CoarseKind::all() {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<CoarseKind>(&json).unwrap(), kind);
        }
        let error = "wide".parse::<CoarseKind>().unwrap_err();
        let expected = "unknown kind of unit `wide`: expected auto, basic, bottleneck, depthwise, coarsened, half, \
                        quarter, grouped, none, transformer or basic-or-bottleneck";
        assert_eq!(error.to_string(), expected);
        assert!("auto".parse::<UnitKind>().is_err());
    }
}
