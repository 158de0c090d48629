//! Pre-activation residual units.
//!
//! Each kind has its own file, which implements [`UnitDefinition`] and [`Layer`] for a module. The table of
//! kinds below registers the module. Names, settings, forward passes and costs are derived from it.

mod basic;
mod bottleneck;
mod coarsened;
mod conv_shape;
mod definition;
mod depthwise;
mod error;
mod grouped;
mod narrow;
mod skip;
mod skip_only;

use std::fmt;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::image::Image;
use conv_shape::ConvShape;
use definition::UnitDefinition;

pub use basic::BasicUnit;
pub use bottleneck::BottleneckUnit;
pub use coarsened::CoarsenedUnit;
pub use depthwise::DepthwiseUnit;
pub use error::UnitKindError;
pub use grouped::GroupedUnit;
pub use narrow::NarrowUnit;
pub use skip_only::SkipUnit;

/// Defines [`UnitKind`] and [`ResidualUnit`] from the table of kinds.
macro_rules! unit_kinds {
    ($($(#[$doc:meta])* $kind:ident($module:ty),)+) => {
        /// A kind of residual unit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum UnitKind {
            $($(#[$doc])* $kind,)+
        }

        impl UnitKind {
            /// All kinds.
            pub const ALL: [Self; [$(<$module>::NAME),+].len()] = [$(Self::$kind),+];

            /// The name in settings, files and messages.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => <$module>::NAME,)+
                }
            }

            /// Creates a unit of this kind with these input and output shapes. The stride is the ratio of
            /// their sizes.
            pub fn build(self, from: Image, to: Image, init: &Init) -> ResidualUnit {
                match self {
                    $(Self::$kind => ResidualUnit::$kind(<$module>::new(from, to, init)),)+
                }
            }

            /// The convolutions without the projection of the skip connection.
            fn convolutions(self, from: Image, to: Image) -> Vec<ConvShape> {
                match self {
                    $(Self::$kind => <$module>::convolutions(from, to),)+
                }
            }
        }

        /// A pre-activation residual unit.
        ///
        /// It is the sum of a chain of convolutions, most of them after batch normalization and ReLU, and a
        /// skip connection. The skip connection is the identity or, if the shape changes, a 1×1 convolution
        /// of the activated input.
        #[derive(Module, Debug)]
        #[non_exhaustive]
        pub enum ResidualUnit {
            $($(#[$doc])* $kind($module),)+
        }

        impl Layer<Tensor<4>, Tensor<4>> for ResidualUnit {
            fn forward(&self, input: Tensor<4>) -> Tensor<4> {
                match self {
                    $(Self::$kind(unit) => unit.forward(input),)+
                }
            }

            fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
                match self {
                    $(Self::$kind(unit) => unit.output_shape(input),)+
                }
            }
        }
    };
}

unit_kinds! {
    /// Two 3×3 convolutions.
    Basic(BasicUnit),
    /// 1×1, 3×3 and 1×1 convolutions.
    Bottleneck(BottleneckUnit),
    /// A 1×1 and a 3×3 depthwise convolution, both twice.
    Depthwise(DepthwiseUnit),
    /// Two 3×3 convolutions at half the resolution.
    Coarsened(CoarsenedUnit),
    /// Two 3×3 convolutions on half the channels, between 1×1 convolutions.
    Half(NarrowUnit<2>),
    /// Two 3×3 convolutions on a quarter of the channels, between 1×1 convolutions.
    Quarter(NarrowUnit<4>),
    /// Two balanced 3×3 group convolutions.
    Grouped(GroupedUnit),
    /// The skip connection alone.
    None(SkipUnit),
}

/// Parameters and memory of a unit, as numbers of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitSize {
    /// Number of parameters.
    pub(super) parameters: usize,
    /// Number of values stored per image for the backward pass.
    pub(super) stored: usize,
}

impl UnitKind {
    /// The recommended kind for coarse networks. In `benchmarks/coarse-units`, it has the shortest time among
    /// the kinds that are as accurate as the paper's.
    pub const RECOMMENDED: Self = Self::Coarsened;

    /// Multiply-adds of a unit's convolutions for one image.
    pub(super) fn multiply_adds(self, from: Image, to: Image) -> u64 {
        let convolutions = self.all_convolutions(from, to);
        convolutions.iter().map(|conv| conv.multiply_adds() as u64).sum()
    }

    /// Parameters and memory of a unit.
    pub(super) fn size(self, from: Image, to: Image) -> UnitSize {
        let convolutions = self.all_convolutions(from, to);
        UnitSize {
            parameters: convolutions.iter().map(|conv| conv.parameters()).sum(),
            stored: convolutions.iter().map(|conv| conv.stored()).sum(),
        }
    }

    /// The convolutions, including the projection of the skip connection if there is one.
    fn all_convolutions(self, from: Image, to: Image) -> Vec<ConvShape> {
        let mut all = self.convolutions(from, to);
        if from != to {
            all.push(ConvShape::projection(from, to, !all.is_empty()));
        }
        all
    }
}

impl FromStr for UnitKind {
    type Err = UnitKindError;

    fn from_str(name: &str) -> Result<Self, UnitKindError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        let expected = || Self::ALL.map(Self::name).to_vec();
        found.ok_or_else(|| UnitKindError { name: name.into(), expected: expected() })
    }
}

impl fmt::Display for UnitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for UnitKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnitKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
