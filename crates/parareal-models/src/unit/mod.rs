//! Units of the built-in networks and of their coarse networks.
//!
//! Each kind has its own file, which implements [`UnitDefinition`] and [`Layer`] for a module. The table of
//! kinds below registers the module. Names, settings, forward passes and costs are derived from it.

mod basic;
mod bottleneck;
mod coarsened;
mod definition;
mod depthwise;
mod error;
mod grouped;
mod narrow;
mod original_bottleneck;
mod skip;
mod skip_only;
mod transformer;
mod vgg;

use std::fmt;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, SampleShape, ShapeError};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::image::Image;
use crate::precision::in_f32;
use crate::size::Size;
use definition::UnitDefinition;

pub use basic::BasicUnit;
pub use bottleneck::BottleneckUnit;
pub use coarsened::CoarsenedUnit;
pub use depthwise::DepthwiseUnit;
pub use error::UnitKindError;
pub use grouped::GroupedUnit;
pub use narrow::NarrowUnit;
pub use original_bottleneck::OriginalBottleneckUnit;
pub use skip_only::SkipUnit;
pub use transformer::TransformerUnit;
pub use vgg::VggUnit;
pub(crate) use vgg::halve;

/// Defines [`UnitKind`] and [`Unit`] from the table of kinds.
macro_rules! unit_kinds {
    ($($(#[$doc:meta])* $kind:ident($module:ty),)+) => {
        /// A kind of unit.
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
            ///
            /// # Panics
            /// If the size of the input is not a multiple of that of the output. A `coarsened` unit panics
            /// unless it keeps the shape or halves the size.
            pub fn build(self, from: Image, to: Image, init: &Init) -> Unit {
                let stride = from.size.checked_div(to.size);
                assert!(stride.is_some_and(|stride| stride > 0 && stride * to.size == from.size), "the size of the input is a multiple of that of the output");
                match self {
                    $(Self::$kind => Unit::$kind(<$module>::new(from, to, init)),)+
                }
            }

            /// Returns true if a unit keeps states in bfloat16 for its backward pass if it receives them.
            pub(crate) fn supports_bfloat16(self) -> bool {
                match self {
                    $(Self::$kind => <$module>::SUPPORTS_BFLOAT16,)+
                }
            }

            /// Parameters, memory and multiply-adds of a unit.
            pub(crate) fn size(self, from: Image, to: Image) -> Size {
                match self {
                    $(Self::$kind => <$module>::size(from, to),)+
                }
            }
        }

        /// A unit of a network or of its coarse networks.
        ///
        /// Most kinds are pre-activation residual units: the sum of a chain of convolutions, most of them after
        /// batch normalization and ReLU, and a skip connection. The skip connection is the identity or, if the
        /// shape changes, a 1×1 convolution of the activated input.
        #[derive(Module, Debug)]
        #[non_exhaustive]
        pub enum Unit {
            $($(#[$doc])* $kind($module),)+
        }

        impl Layer<Tensor<4>, Tensor<4>> for Unit {
            fn forward(&self, input: Tensor<4>) -> Tensor<4> {
                match self {
                    $(Self::$kind(unit) if <$module>::SUPPORTS_BFLOAT16 => unit.forward(input),
                    Self::$kind(unit) => in_f32(input, |input| unit.forward(input)),)+
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
    /// Layer of VGG: a 3×3 convolution.
    Vgg(VggUnit),
    /// 1×1, 3×3 and 1×1 convolutions, each before batch normalization.
    OriginalBottleneck(OriginalBottleneckUnit),
    /// Self-attention and two linear layers.
    Transformer(TransformerUnit),
}

impl UnitKind {
    /// The recommended kind for the coarse networks of convolutional networks. In `benchmarks/coarse-units`, a single unit takes
    /// the shortest time among those whose validation error after four epochs is within its standard error of the paper's.
    pub const RECOMMENDED: Self = Self::Coarsened;

    /// The kinds for coarse networks of convolutional networks. A vision transformer has [`Self::Transformer`] or
    /// [`Self::None`].
    pub const CONVOLUTIONAL: [Self; 8] = [
        Self::Basic,
        Self::Bottleneck,
        Self::Depthwise,
        Self::Coarsened,
        Self::Half,
        Self::Quarter,
        Self::Grouped,
        Self::None,
    ];

    /// The number of attention heads of a [`TransformerUnit`] of this many channels.
    pub fn attention_heads(channels: usize) -> usize {
        transformer::heads(channels)
    }

    /// Multiply-adds of a unit for one image.
    pub(crate) fn multiply_adds(self, from: Image, to: Image) -> u64 {
        self.size(from, to).multiply_adds as u64
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
