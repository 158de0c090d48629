use std::fmt;

use serde::{Deserialize, Serialize};

use crate::head::Head;
use crate::image::Image;
use crate::image_network::ImageNetwork;
use crate::precision::Precision;
use crate::size::Size;
use crate::unit::UnitKind;

/// A component of a parareal network, without its position. Equal components have equal costs at all
/// positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "lowercase")]
pub enum Component {
    /// `C_j`.
    Preprocessing {
        /// The output shape.
        to: Image,
    },
    /// A unit of the fine network or of an `F_j`.
    Unit {
        /// The kind of the unit.
        kind: UnitKind,
        /// The input shape.
        from: Image,
        /// The output shape.
        to: Image,
    },
    /// `h` and the loss.
    Postprocessing {
        /// The input shape.
        from: Image,
    },
}

impl Component {
    /// Returns the size of the component in a network.
    pub(crate) fn size(&self, net: &ImageNetwork) -> Size {
        match *self {
            Self::Preprocessing { to } => net.preprocessing_size(to),
            Self::Unit { kind, from, to } => kind.size(from, to),
            Self::Postprocessing { .. } => Head::size(net),
        }
    }

    /// Returns the precision of what the component keeps for its backward pass: that of states if it consists of
    /// operations on them.
    pub(crate) fn stored_precision(&self, net: &ImageNetwork) -> Precision {
        match *self {
            Self::Unit { kind, .. } if kind.supports_bfloat16() => net.precision(),
            _ => Precision::F32,
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = |image: &Image| format!("{}×{1}×{1}", image.channels, image.size);
        match self {
            Self::Preprocessing { to } => write!(f, "preprocessing to {}", image(to)),
            Self::Unit { kind, from, to } => {
                write!(f, "{kind} unit {} to {}", image(from), image(to))
            }
            Self::Postprocessing { from } => write!(f, "postprocessing of {}", image(from)),
        }
    }
}
