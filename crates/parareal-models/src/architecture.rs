use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::image::Image;
use crate::unit::UnitKind;

/// A built-in network, apart from its width and the size of its images. It is written as its name, such as
/// `resnet-110`, `wide-resnet-28-10`, `vgg16`, `resnet50` or `vit-tiny-8`.
///
/// ```
/// use parareal_models::{Architecture, ImageNetwork};
///
/// let name: Architecture = "wide-resnet-28-10".parse()?;
/// assert_eq!(name, Architecture::WideResNet { depth: 28, widening: 10 });
/// assert_eq!(ImageNetwork::new(name)?.name(), "wide-resnet-28-10");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// The paper's pre-activation ResNet (section 4): three stages of bottleneck units, depth 9n+2.
    ResNet {
        /// Number of layers.
        depth: usize,
    },
    /// A wide residual network (Zagoruyko, Komodakis, arXiv 1605.07146, without dropout): three stages of basic
    /// units, depth 6n+4.
    WideResNet {
        /// Number of layers.
        depth: usize,
        /// Widening factor: the stages have this many times 16, 32 and 64 channels.
        widening: usize,
    },
    /// VGG-16 (Simonyan, Zisserman, arXiv 1409.1556) with batch normalization. Its convolutions have no bias,
    /// which the normalization after them would cancel. For images of fewer than 224 pixels, one linear layer
    /// follows the mean over all pixels, otherwise the three linear layers of the original.
    Vgg16,
    /// The ResNet of He et al. (arXiv 1512.03385) with bottleneck units, as torchvision builds it, with 50, 101
    /// or 152 layers.
    OriginalResNet {
        /// Number of layers.
        depth: usize,
    },
    /// A vision transformer (Dosovitskiy et al., arXiv 2010.11929) without a class token: the classifier takes
    /// the mean over all patches.
    Vit {
        /// Number of channels.
        size: VitSize,
        /// Height and width of a patch in pixels.
        patch: usize,
    },
}

/// Size of a vision transformer (Touvron et al., arXiv 2012.12877). Both have twelve blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VitSize {
    /// 192 channels and 3 attention heads.
    Tiny,
    /// 384 channels and 6 attention heads.
    Small,
}

/// An architecture or image size for which there is no network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ArchitectureError {
    /// A depth that the kind of network cannot have.
    #[error("invalid value `{depth}` for depth: {expected}", expected = self.expected())]
    Depth {
        /// The requested depth.
        depth: usize,
        /// The depths that it can have, such as `9n+2`.
        form: &'static str,
        /// The largest valid depth below, or the smallest valid depth if there is none below.
        below: usize,
        /// The smallest valid depth above.
        above: usize,
    },
    /// A wide residual network that is not widened.
    #[error("{expected}", expected = self.expected())]
    Widening(usize),
    /// A patch without pixels.
    #[error("{expected}", expected = self.expected())]
    Patch(usize),
    /// An image size that the network cannot have.
    #[error("invalid value `{size}` for image-size: {expected}", expected = self.expected())]
    ImageSize {
        /// The requested height and width in pixels.
        size: usize,
        /// The network.
        network: Architecture,
    },
}

impl ArchitectureError {
    /// Returns a description of valid values, without the invalid one.
    pub fn expected(&self) -> String {
        match self {
            Self::Depth { depth, form, below, above } => {
                let is_original = ORIGINAL_DEPTHS.iter().any(|(known, _)| known == depth);
                let original =
                    if is_original { format!(", or resnet{depth}") } else { String::new() };
                format!("expected a depth of {form}; try {below} or {above}{original}")
            }
            Self::Widening(found) => {
                format!("expected a widening factor of at least 2, got {found}")
            }
            Self::Patch(found) => format!("expected patches of at least 1 pixel, got {found}"),
            Self::ImageSize { network, .. } => {
                let sizes =
                    format!("expected a multiple of {} for {network}", network.size_divisor());
                match network {
                    Architecture::Vit { .. } => format!("{sizes}, or a network with other patches"),
                    _ => sizes,
                }
            }
        }
    }
}

/// A text that is not the name of an [`Architecture`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown network `{0}`: {expected}", expected = Self::EXPECTED)]
pub struct ArchitectureNameError(
    /// The text.
    pub String,
);

impl ArchitectureNameError {
    /// Description of the names.
    pub const EXPECTED: &str = "expected resnet-D, wide-resnet-D-K, vgg16, resnet50, resnet101, resnet152, vit-tiny, \
                                vit-small, vit-tiny-P or vit-small-P, for example resnet-110, wide-resnet-28-10 or \
                                vit-tiny-8";
}

/// Number of blocks of a vision transformer.
const VIT_BLOCKS: usize = 12;
/// Patch size of a vision transformer whose name has none.
const VIT_PATCH: usize = 16;
/// Depths of [`Architecture::OriginalResNet`], with the numbers of units of their stages.
const ORIGINAL_DEPTHS: [(usize, [usize; 4]); 3] =
    [(50, [3, 4, 6, 3]), (101, [3, 4, 23, 3]), (152, [3, 8, 36, 3])];

impl Architecture {
    /// Number of layers with weights, without projections; for a vision transformer, the number of blocks.
    pub fn depth(self) -> usize {
        match self {
            Self::ResNet { depth }
            | Self::WideResNet { depth, .. }
            | Self::OriginalResNet { depth } => depth,
            Self::Vgg16 => 16,
            Self::Vit { .. } => VIT_BLOCKS,
        }
    }

    /// The published number of channels of the first layer.
    pub fn default_width(self) -> usize {
        match self {
            Self::ResNet { .. } | Self::WideResNet { .. } => PAPER_WIDTH,
            Self::Vgg16 | Self::OriginalResNet { .. } => 64,
            Self::Vit { size: VitSize::Tiny, .. } => 192,
            Self::Vit { size: VitSize::Small, .. } => 384,
        }
    }

    /// The kind of the units.
    pub fn unit_kind(self) -> UnitKind {
        match self {
            Self::ResNet { .. } => UnitKind::Bottleneck,
            Self::WideResNet { .. } => UnitKind::Basic,
            Self::Vgg16 => UnitKind::Vgg,
            Self::OriginalResNet { .. } => UnitKind::OriginalBottleneck,
            Self::Vit { .. } => UnitKind::Transformer,
        }
    }

    /// The kind of coarse units that [`CoarseKind::Auto`](crate::CoarseKind::Auto) stands for: the kind that
    /// `benchmarks/coarse-units` recommends for the paper's network, [`UnitKind::RECOMMENDED`], wherever it is cheap. The
    /// original ResNets have up to 2,048 channels, on which its 3×3 convolutions would have more parameters than the
    /// network, so their coarse networks have [`UnitKind::Quarter`]. A vision transformer has blocks of its own kind.
    pub fn recommended_unit(self) -> UnitKind {
        match self {
            Self::Vit { .. } => UnitKind::Transformer,
            Self::OriginalResNet { .. } => UnitKind::Quarter,
            Self::ResNet { .. } | Self::WideResNet { .. } | Self::Vgg16 => UnitKind::RECOMMENDED,
        }
    }

    /// The number that the height and width of an image must be a multiple of, so that all halvings are exact.
    pub fn size_divisor(self) -> usize {
        match self {
            Self::ResNet { .. } | Self::WideResNet { .. } => 4,
            Self::Vgg16 | Self::OriginalResNet { .. } => 32,
            Self::Vit { patch, .. } => patch,
        }
    }

    /// Checks that there is such a network.
    ///
    /// # Errors
    /// If the depth, widening factor or patch size is not valid.
    pub fn check(self) -> Result<(), ArchitectureError> {
        self.stage_units().map(|_| ())
    }

    /// Number of units of each stage. All states of a stage after its first unit have the same shape.
    ///
    /// # Errors
    /// If the depth, widening factor or patch size is not valid.
    pub(crate) fn stage_units(self) -> Result<Vec<usize>, ArchitectureError> {
        match self {
            Self::ResNet { depth } => Ok(vec![equal_stages(depth, "9n+2", 9, 2)?; 3]),
            // As is usual, the projections of the stages are counted as layers.
            Self::WideResNet { widening, .. } if widening < 2 => {
                Err(ArchitectureError::Widening(widening))
            }
            Self::WideResNet { depth, .. } => Ok(vec![equal_stages(depth, "6n+4", 6, 4)?; 3]),
            // The first convolution is the preprocessing.
            Self::Vgg16 => Ok(vec![1, 2, 3, 3, 3]),
            Self::OriginalResNet { depth } => {
                let found = ORIGINAL_DEPTHS.into_iter().find(|(known, _)| *known == depth);
                let (below, above) = if depth < 101 { (50, 101) } else { (101, 152) };
                let error =
                    ArchitectureError::Depth { depth, form: "50, 101 or 152", below, above };
                found.map(|(_, units)| units.to_vec()).ok_or(error)
            }
            Self::Vit { patch: 0, .. } => Err(ArchitectureError::Patch(0)),
            Self::Vit { .. } => Ok(vec![VIT_BLOCKS]),
        }
    }

    /// The shape of the states of a stage, counted from 0, in a network of this width.
    pub(crate) fn stage_image(self, stage: usize, width: usize, image_size: usize) -> Image {
        let times = |factor: usize, halvings: usize| Image {
            channels: factor.saturating_mul(width).saturating_mul(1 << stage),
            size: image_size >> (halvings + stage),
        };
        match self {
            Self::ResNet { .. } => times(4, 0),
            Self::WideResNet { widening, .. } => times(widening, 0),
            Self::OriginalResNet { .. } => times(4, 2),
            Self::Vgg16 => Image { channels: width << stage.min(3), ..times(1, 0) },
            Self::Vit { patch, .. } => Image { channels: width, size: image_size / patch },
        }
    }

    /// The shape of the state before the first unit.
    pub(crate) fn first_image(self, width: usize, image_size: usize) -> Image {
        let size = match self {
            Self::ResNet { .. } | Self::WideResNet { .. } | Self::Vgg16 => image_size,
            Self::OriginalResNet { .. } => image_size / 4,
            Self::Vit { patch, .. } => image_size / patch,
        };
        Image { channels: width, size }
    }
}

/// Number of channels after the first convolution in the paper.
pub const PAPER_WIDTH: usize = 16;

/// Returns the number of units in each of three equal stages of a network with `layers` · n + `further` layers.
fn equal_stages(
    depth: usize,
    form: &'static str,
    layers: usize,
    further: usize,
) -> Result<usize, ArchitectureError> {
    let smallest = layers + further;
    if depth >= smallest && (depth - further).is_multiple_of(layers) {
        return Ok((depth - further) / layers);
    }
    let below = (depth.max(smallest) - further) / layers * layers + further;
    let above = if depth < smallest { smallest + layers } else { below + layers };
    Err(ArchitectureError::Depth { depth, form, below, above })
}

impl FromStr for Architecture {
    type Err = ArchitectureNameError;

    fn from_str(name: &str) -> Result<Self, ArchitectureNameError> {
        let error = || ArchitectureNameError(name.into());
        let number = |text: &str| {
            // A sign or leading zeros are not part of a name.
            let number = text.parse::<usize>().ok();
            number.filter(|number| number.to_string() == text).ok_or_else(error)
        };
        let vit = |size, patch: &str| match patch.strip_prefix('-') {
            Some(patch) => Ok(Self::Vit { size, patch: number(patch)? }),
            None if patch.is_empty() => Ok(Self::Vit { size, patch: VIT_PATCH }),
            None => Err(error()),
        };
        if name == "vgg16" {
            Ok(Self::Vgg16)
        } else if let Some(patch) = name.strip_prefix("vit-tiny") {
            vit(VitSize::Tiny, patch)
        } else if let Some(patch) = name.strip_prefix("vit-small") {
            vit(VitSize::Small, patch)
        } else if let Some(numbers) = name.strip_prefix("wide-resnet-") {
            let (depth, widening) = numbers.split_once('-').ok_or_else(error)?;
            Ok(Self::WideResNet { depth: number(depth)?, widening: number(widening)? })
        } else if let Some(depth) = name.strip_prefix("resnet-") {
            Ok(Self::ResNet { depth: number(depth)? })
        } else {
            let depth = number(name.strip_prefix("resnet").ok_or_else(error)?)?;
            let is_known = ORIGINAL_DEPTHS.iter().any(|(known, _)| *known == depth);
            is_known.then_some(Self::OriginalResNet { depth }).ok_or_else(error)
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResNet { depth } => write!(f, "resnet-{depth}"),
            Self::WideResNet { depth, widening } => write!(f, "wide-resnet-{depth}-{widening}"),
            Self::Vgg16 => f.write_str("vgg16"),
            Self::OriginalResNet { depth } => write!(f, "resnet{depth}"),
            Self::Vit { size, patch } => {
                let size = match size {
                    VitSize::Tiny => "tiny",
                    VitSize::Small => "small",
                };
                match *patch {
                    VIT_PATCH => write!(f, "vit-{size}"),
                    patch => write!(f, "vit-{size}-{patch}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in [
            "resnet-110",
            "wide-resnet-28-10",
            "vgg16",
            "resnet50",
            "resnet101",
            "resnet152",
            "vit-tiny",
            "vit-small",
            "vit-tiny-8",
        ] {
            let read: Architecture = name.parse().unwrap();
            assert_eq!(read.to_string(), name);
            assert!(read.stage_units().is_ok());
        }
        for name in [
            "",
            "resnet",
            "resnet-",
            "resnet-x",
            "resnet18",
            "wide-resnet-28",
            "wide-resnet-28-",
            "vgg",
            "vit-tiny8",
            "vit-tiny-",
            "resnet-+20",
            "resnet050",
            "vit-tiny-04",
        ] {
            assert_eq!(name.parse::<Architecture>(), Err(ArchitectureNameError(name.into())));
        }
        assert_eq!("vit-tiny-16".parse::<Architecture>().unwrap().to_string(), "vit-tiny");
    }

    #[test]
    fn depths_are_9n_plus_2() {
        let units = |depth| Architecture::ResNet { depth }.stage_units();
        assert_eq!(units(1001).unwrap(), [111; 3]);
        let depth =
            |depth, below, above| ArchitectureError::Depth { depth, form: "9n+2", below, above };
        assert_eq!(units(100), Err(depth(100, 92, 101)));
        assert_eq!(units(2), Err(depth(2, 11, 20)));
    }

    #[test]
    fn depths_of_wide_networks_are_6n_plus_4() {
        let units = |depth, widening| Architecture::WideResNet { depth, widening }.stage_units();
        assert_eq!(units(28, 10).unwrap(), [4; 3]);
        assert_eq!(units(10, 2).unwrap(), [1; 3]);
        let depth =
            |depth, below, above| ArchitectureError::Depth { depth, form: "6n+4", below, above };
        assert_eq!(units(27, 2), Err(depth(27, 22, 28)));
        assert_eq!(units(4, 2), Err(depth(4, 10, 16)));
        assert_eq!(units(28, 1), Err(ArchitectureError::Widening(1)));
    }

    #[test]
    fn other_networks_have_their_published_units() {
        let total = |name: &str| -> usize {
            name.parse::<Architecture>().unwrap().stage_units().unwrap().iter().sum()
        };
        assert_eq!(
            ["vgg16", "resnet50", "resnet101", "resnet152", "vit-tiny"].map(total),
            [12, 16, 33, 50, 12]
        );
        let patch = Architecture::Vit { size: VitSize::Tiny, patch: 0 };
        assert_eq!(patch.stage_units(), Err(ArchitectureError::Patch(0)));
        let depth = Architecture::OriginalResNet { depth: 18 }.stage_units().unwrap_err();
        assert_eq!(depth.expected(), "expected a depth of 50, 101 or 152; try 50 or 101");
    }
}
