use burn::tensor::Tensor;
use parareal::net::{Cuts, FeedForward, Init, NetError, SampleShape};
use thiserror::Error;

use super::coarse::CoarseKind;
use super::head::Head;
use super::image::Image;
use super::name::ResNetName;
use super::preprocessing::Preprocessing;
use super::unit::{ResidualUnit, UnitKind};

/// Height and width of the input images in pixels.
pub(super) const IMAGE_SIZE: usize = 32;
/// Number of channels after the first convolution in the paper.
pub const PAPER_WIDTH: usize = 16;

/// An error of [`ResNet::new`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResNetError {
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
}

impl ResNetError {
    /// Returns a description of valid values, without the invalid depth.
    pub fn expected(&self) -> String {
        match self {
            Self::Depth { form, below, above, .. } => {
                format!("expected a depth of {form}; try {below} or {above}")
            }
            Self::Widening(found) => {
                format!("expected a widening factor of at least 2, got {found}")
            }
        }
    }
}

/// The units of a [`ResNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// Bottleneck units, whose output has four times as many channels as their 3×3 convolution.
    Bottleneck,
    /// Basic units with `widening` times as many channels.
    Wide { widening: usize },
}

impl Family {
    /// Layers of one unit in each stage: three or two convolutions.
    fn layers(self) -> usize {
        match self {
            Self::Bottleneck => 9,
            Self::Wide { .. } => 6,
        }
    }

    /// Layers outside the units: the first convolution and the linear layer, and for wide networks, as is usual,
    /// the projections of the stages without the linear layer.
    fn further_layers(self) -> usize {
        match self {
            Self::Bottleneck => 2,
            Self::Wide { .. } => 4,
        }
    }

    fn form(self) -> &'static str {
        match self {
            Self::Bottleneck => "9n+2",
            Self::Wide { .. } => "6n+4",
        }
    }

    /// Returns the number of units of a stage of a network of this depth.
    fn stage_units(self, depth: usize) -> Result<usize, ResNetError> {
        let (layers, further) = (self.layers(), self.further_layers());
        let smallest = layers + further;
        if depth >= smallest && (depth - further).is_multiple_of(layers) {
            return Ok((depth - further) / layers);
        }
        let below = (depth.max(smallest) - further) / layers * layers + further;
        let above = if depth < smallest { smallest + layers } else { below + layers };
        Err(ResNetError::Depth { depth, form: self.form(), below, above })
    }
}

/// A pre-activation ResNet for 32×32 images, and the `C_j` and `F_j` at its cuts: the paper's, of bottleneck units
/// and depth 9n+2 ([`new`](Self::new)), or a wide residual network ([`wide`](Self::wide)).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use parareal::net::{Init, PararealNetwork};
/// use parareal_models::resnet::ResNet;
///
/// let net = ResNet::new(20)?.with_classes(10);
/// let init = Init::new(1, &Device::flex());
/// let parareal = PararealNetwork::build(&net, &net.default_cuts(3)?, &init)?;
/// let scores = parareal.valid().forward(Tensor::zeros([2, 3, 32, 32], &Device::flex()));
/// assert_eq!(scores.dims(), [2, 10]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResNet {
    family: Family,
    stage_units: usize,
    pub(super) width: usize,
    pub(super) in_channels: usize,
    classes: usize,
    pub(super) coarse_kind: CoarseKind,
    pub(super) coarse_units: Option<usize>,
}

impl ResNet {
    /// Creates the paper's network of this depth for color images of ten classes.
    ///
    /// # Errors
    /// If the depth is not 9n+2 with n ≥ 1.
    pub fn new(depth: usize) -> Result<Self, ResNetError> {
        Self::of(Family::Bottleneck, depth)
    }

    /// Creates a wide residual network, WRN-`depth`-`widening` (Zagoruyko, Komodakis, arXiv 1605.07146, without
    /// dropout), for color images of ten classes. Its stages have `widening` times 16, 32 and 64 channels.
    ///
    /// ```
    /// use parareal_models::resnet::{ResNet, Summary};
    ///
    /// let net = ResNet::wide(16, 4)?;
    /// let cuts = net.default_cuts(3)?;
    /// assert_eq!(net.name(), "wide-resnet-16-4");
    /// assert_eq!(Summary::new(&net, &cuts)?.parameters.original, 2_748_890);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the depth is not 6n+4 with n ≥ 1, or the widening factor is below 2.
    pub fn wide(depth: usize, widening: usize) -> Result<Self, ResNetError> {
        if widening < 2 {
            return Err(ResNetError::Widening(widening));
        }
        Self::of(Family::Wide { widening }, depth)
    }

    fn of(family: Family, depth: usize) -> Result<Self, ResNetError> {
        Ok(Self {
            family,
            stage_units: family.stage_units(depth)?,
            width: PAPER_WIDTH,
            in_channels: 3,
            classes: 10,
            coarse_kind: CoarseKind::Auto,
            coarse_units: None,
        })
    }

    /// Sets the number of channels of the images.
    pub fn with_in_channels(mut self, in_channels: usize) -> Self {
        self.in_channels = in_channels;
        self
    }

    /// Sets the number of classes.
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Sets the number of channels after the first convolution, at least 1. The default is [`PAPER_WIDTH`].
    /// The stages have 4, 8 and 16 times as many channels, those of a wide network K, 2K and 4K times as many with
    /// a widening factor of K.
    pub fn with_width(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// Sets the kind of coarse units: a [`UnitKind`] or a [`CoarseKind`].
    pub fn with_coarse_kind(mut self, kind: impl Into<CoarseKind>) -> Self {
        self.coarse_kind = kind.into();
        self
    }

    /// Sets the number of units of every `F_j`; `None` selects the default of the kind. See
    /// [`coarse_choice`](Self::coarse_choice), which may use more units.
    pub fn with_coarse_units(mut self, units: Option<usize>) -> Self {
        self.coarse_units = units;
        self
    }

    /// The depth, 9n+2 or, for a wide network, 6n+4.
    pub fn depth(&self) -> usize {
        self.family.layers() * self.stage_units + self.family.further_layers()
    }

    /// The number of channels after the first convolution.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The name of the network without its cuts: `resnet-20` or `wide-resnet-28-10`, followed by `-w24` if its
    /// width of 24 is not the paper's.
    pub fn name(&self) -> String {
        match self.width {
            PAPER_WIDTH => self.base_name().to_string(),
            width => format!("{}-w{width}", self.base_name()),
        }
    }

    /// The name of the network at the paper's width.
    pub fn base_name(&self) -> ResNetName {
        let depth = self.depth();
        match self.family {
            Family::Bottleneck => ResNetName::Bottleneck { depth },
            Family::Wide { widening } => ResNetName::Wide { depth, widening },
        }
    }

    /// The kind of the units.
    pub fn unit_kind(&self) -> UnitKind {
        match self.family {
            Family::Bottleneck => UnitKind::Bottleneck,
            Family::Wide { .. } => UnitKind::Basic,
        }
    }

    /// The number of channels after the last unit.
    pub fn last_channels(&self) -> usize {
        self.stage_image(2).channels
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The kind of coarse units that was set.
    pub fn coarse_kind(&self) -> CoarseKind {
        self.coarse_kind
    }

    /// The number of units of each `F_j`, if it was set.
    pub fn coarse_units(&self) -> Option<usize> {
        self.coarse_units
    }

    /// Returns even cuts, with larger subnetworks first.
    ///
    /// If `subnetworks` is a multiple of three, these are the paper's cuts: each stage is divided into a
    /// third of the subnetworks. Otherwise all units are divided regardless of the stages.
    ///
    /// # Errors
    /// If there are no subnetworks or fewer units than subnetworks.
    pub fn default_cuts(&self, subnetworks: usize) -> Result<Cuts, NetError> {
        if subnetworks == 0 || !subnetworks.is_multiple_of(3) || subnetworks > self.units() {
            return Cuts::even(self.units(), subnetworks);
        }
        let stage = Cuts::even(self.stage_units, subnetworks / 3)?;
        let positions = (0..3)
            .flat_map(|s| {
                let start = s * self.stage_units;
                let own = stage.positions().iter().map(move |cut| start + cut);
                std::iter::once(start).chain(own)
            })
            .skip(1)
            .collect();
        Cuts::new(self.units(), positions)
    }

    /// The stage, from 0, whose shape the state at a position has. Position 0, before the first unit, counts
    /// as stage 0.
    pub(super) fn stage_at(&self, position: usize) -> usize {
        position.saturating_sub(1) / self.stage_units
    }

    pub(super) fn stage_image(&self, stage: usize) -> Image {
        let factor = match self.family {
            Family::Bottleneck => 4,
            Family::Wide { widening } => widening,
        };
        let channels = factor.saturating_mul(self.width).saturating_mul(1 << stage);
        Image { channels, size: IMAGE_SIZE >> stage }
    }

    pub(super) fn image_at(&self, position: usize) -> Image {
        match position {
            0 => Image { channels: self.width, size: IMAGE_SIZE },
            _ => self.stage_image(self.stage_at(position)),
        }
    }
}

impl FeedForward for ResNet {
    type Input = Tensor<4>;
    type State = Tensor<4>;
    type Output = Tensor<2>;
    type Preprocessing = Preprocessing;
    type Unit = ResidualUnit;
    type Postprocessing = Head;

    fn units(&self) -> usize {
        3 * self.stage_units
    }

    fn input_shape(&self) -> SampleShape {
        [self.in_channels, IMAGE_SIZE, IMAGE_SIZE].into()
    }

    fn state_shape(&self, position: usize) -> SampleShape {
        let Image { channels, size } = self.image_at(position);
        [size, size, channels].into()
    }

    fn preprocessing(&self, init: &Init) -> Preprocessing {
        Preprocessing::first(self.in_channels, self.width, init)
    }

    fn unit(&self, index: usize, init: &Init) -> ResidualUnit {
        self.unit_kind().build(self.image_at(index), self.image_at(index + 1), init)
    }

    fn postprocessing(&self, init: &Init) -> Head {
        Head::new(self.image_at(self.units()).channels, self.classes, init)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_are_9n_plus_2() {
        assert_eq!(ResNet::new(1001).unwrap().units(), 333);
        let error = |depth| ResNet::new(depth).unwrap_err();
        let depth = |depth, below, above| ResNetError::Depth { depth, form: "9n+2", below, above };
        assert_eq!(error(100), depth(100, 92, 101));
        assert_eq!(error(2), depth(2, 11, 20));
    }

    #[test]
    fn depths_of_wide_networks_are_6n_plus_4() {
        assert_eq!(ResNet::wide(28, 10).unwrap().units(), 12);
        assert_eq!(ResNet::wide(10, 2).unwrap().depth(), 10);
        let error = |depth| ResNet::wide(depth, 2).unwrap_err();
        let depth = |depth, below, above| ResNetError::Depth { depth, form: "6n+4", below, above };
        assert_eq!(error(27), depth(27, 22, 28));
        assert_eq!(error(4), depth(4, 10, 16));
        assert_eq!(ResNet::wide(28, 1).unwrap_err(), ResNetError::Widening(1));
    }

    #[test]
    fn names_contain_the_depth_and_a_custom_width() {
        let net = ResNet::new(20).unwrap();
        assert_eq!(net.name(), "resnet-20");
        assert_eq!(net.with_width(24).name(), "resnet-20-w24");
        let net = ResNet::wide(28, 10).unwrap();
        assert_eq!(net.name(), "wide-resnet-28-10");
        assert_eq!(net.with_width(8).name(), "wide-resnet-28-10-w8");
    }

    #[test]
    fn default_cuts_are_the_papers() {
        let net = ResNet::new(1001).unwrap();
        let cuts = |n| net.default_cuts(n).unwrap().positions().to_vec();
        assert_eq!(cuts(1), [0; 0]);
        assert_eq!(cuts(3), [111, 222]);
        assert_eq!(cuts(6), [56, 111, 167, 222, 278]);
        assert_eq!(cuts(2), [167]);
        assert_eq!(net.default_cuts(333).unwrap().subnetworks(), 333);
        assert!(net.default_cuts(336).is_err());
    }
}
