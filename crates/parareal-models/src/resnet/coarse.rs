use std::fmt;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::image::Image;
use super::unit::{ResidualUnit, UnitKind, UnitKindError};

/// The choice of units for the coarse networks `F_j`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoarseKind {
    /// Units of the kind [`UnitKind::RECOMMENDED`], one unless a number is set.
    #[default]
    Auto,
    /// For each interface the paper's units if they have fewer multiply-adds than the units that they
    /// approximate, otherwise bottleneck units, at most a quarter as many as those. This was `auto` in
    /// the program's first versions.
    BasicOrBottleneck,
    /// Units of one kind at every interface.
    Units(UnitKind),
}

impl CoarseKind {
    /// The name of [`CoarseKind::Auto`].
    const AUTO: &'static str = "auto";
    /// The name of [`CoarseKind::BasicOrBottleneck`].
    const BASIC_OR_BOTTLENECK: &'static str = "basic-or-bottleneck";

    /// All choices.
    pub fn all() -> impl Iterator<Item = Self> {
        let kinds = UnitKind::ALL.map(Self::Units).into_iter();
        [Self::Auto].into_iter().chain(kinds).chain([Self::BasicOrBottleneck])
    }

    /// The name in settings, files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => Self::AUTO,
            Self::BasicOrBottleneck => Self::BASIC_OR_BOTTLENECK,
            Self::Units(kind) => kind.name(),
        }
    }

    /// The kinds of units that coarse networks of this choice can consist of.
    pub fn unit_kinds(self) -> Vec<UnitKind> {
        match self {
            Self::Auto => vec![UnitKind::RECOMMENDED],
            Self::BasicOrBottleneck => vec![UnitKind::Basic, UnitKind::Bottleneck],
            Self::Units(kind) => vec![kind],
        }
    }

    /// The number of units `N_c` of each coarse network if none is set, for a network of this many
    /// subnetworks: the paper's `⌈12/N⌉`, and 1 for [`CoarseKind::Auto`].
    pub fn default_units(self, subnetworks: usize) -> usize {
        match self {
            Self::Auto => 1,
            Self::BasicOrBottleneck | Self::Units(_) => 12_usize.div_ceil(subnetworks.max(1)),
        }
    }

    /// Replaces [`CoarseKind::Auto`] and an open number of units by the kind and the number that they stand for, which
    /// a record keeps when the recommendation changes. Any other choice is returned as it is, and so is the number for a
    /// network that is not cut.
    #[must_use]
    pub fn resolved(self, units: Option<usize>, subnetworks: usize) -> (Self, Option<usize>) {
        match self {
            Self::Auto => {
                let number = (subnetworks > 1).then(|| self.default_units(subnetworks));
                (UnitKind::RECOMMENDED.into(), units.or(number))
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

impl Coarse {
    /// Creates units of one kind between these images.
    pub(super) fn new(
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
                        quarter, grouped, none or basic-or-bottleneck";
        assert_eq!(error.to_string(), expected);
        assert!("auto".parse::<UnitKind>().is_err());
    }
}
