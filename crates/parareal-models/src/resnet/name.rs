use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::network::{ResNet, ResNetError};

/// The name of a [`ResNet`]: `resnet-D` with the paper's units, or `wide-resnet-D-K`, where `D` is the depth and
/// `K` the widening factor.
///
/// ```
/// use parareal_models::resnet::ResNetName;
///
/// let name: ResNetName = "wide-resnet-28-10".parse()?;
/// assert_eq!(name, ResNetName::Wide { depth: 28, widening: 10 });
/// assert_eq!(name.build()?.name(), "wide-resnet-28-10");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResNetName {
    /// [`ResNet::new`].
    Bottleneck {
        /// Number of layers.
        depth: usize,
    },
    /// [`ResNet::wide`].
    Wide {
        /// Number of layers.
        depth: usize,
        /// Widening factor.
        widening: usize,
    },
}

/// A text that is not the name of a [`ResNet`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown network `{0}`: {expected}", expected = Self::EXPECTED)]
pub struct ResNetNameError(
    /// The text.
    pub String,
);

impl ResNetNameError {
    /// Description of the names.
    pub const EXPECTED: &str =
        "expected resnet-D or wide-resnet-D-K, for example resnet-110 or wide-resnet-28-10";
}

impl ResNetName {
    /// Number of layers.
    pub fn depth(self) -> usize {
        match self {
            Self::Bottleneck { depth } | Self::Wide { depth, .. } => depth,
        }
    }

    /// Creates the network, for color images of ten classes.
    ///
    /// # Errors
    /// If no network has this depth or widening factor.
    pub fn build(self) -> Result<ResNet, ResNetError> {
        match self {
            Self::Bottleneck { depth } => ResNet::new(depth),
            Self::Wide { depth, widening } => ResNet::wide(depth, widening),
        }
    }
}

impl FromStr for ResNetName {
    type Err = ResNetNameError;

    fn from_str(name: &str) -> Result<Self, ResNetNameError> {
        let error = || ResNetNameError(name.into());
        let number = |text: &str| text.parse::<usize>().map_err(|_| error());
        if let Some(numbers) = name.strip_prefix("wide-resnet-") {
            let (depth, widening) = numbers.split_once('-').ok_or_else(error)?;
            return Ok(Self::Wide { depth: number(depth)?, widening: number(widening)? });
        }
        let depth = name.strip_prefix("resnet-").ok_or_else(error)?;
        Ok(Self::Bottleneck { depth: number(depth)? })
    }
}

impl fmt::Display for ResNetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bottleneck { depth } => write!(f, "resnet-{depth}"),
            Self::Wide { depth, widening } => write!(f, "wide-resnet-{depth}-{widening}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["resnet-110", "wide-resnet-28-10"] {
            let read: ResNetName = name.parse().unwrap();
            assert_eq!(read.to_string(), name);
            assert_eq!(read.build().unwrap().name(), name);
            assert_eq!(read.build().unwrap().depth(), read.depth());
        }
        for name in
            ["", "resnet", "resnet-", "resnet-x", "wide-resnet-28", "wide-resnet-28-", "vgg16"]
        {
            assert_eq!(name.parse::<ResNetName>(), Err(ResNetNameError(name.into())));
        }
        assert!("resnet-100".parse::<ResNetName>().unwrap().build().is_err());
    }
}
