use burn::tensor::{DType, Tensor};
use parareal::net::{Cuts, FeedForward, Init, NetError, SampleShape};

use crate::architecture::{Architecture, ArchitectureError};
use crate::coarse::CoarseKind;
use crate::costs::Component;
use crate::head::Head;
use crate::image::Image;
use crate::precision::Precision;
use crate::preprocessing::{Preprocessing, PreprocessingKind};
use crate::size::Size;
use crate::unit::{Unit, UnitKind};

/// Height and width in pixels of the images of the paper's data sets.
pub const DEFAULT_IMAGE_SIZE: usize = 32;

/// A built-in network for square images, with the `C_j` and `F_j` at its cuts.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use parareal::net::{Init, PararealNetwork};
/// use parareal_models::ImageNetwork;
///
/// let net = ImageNetwork::resnet(20)?.with_classes(10);
/// let init = Init::new(1, &Device::flex());
/// let parareal = PararealNetwork::build(&net, &net.default_cuts(3)?, &init)?;
/// let scores = parareal.valid().forward(Tensor::zeros([2, 3, 32, 32], &Device::flex()));
/// assert_eq!(scores.dims(), [2, 10]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImageNetwork {
    architecture: Architecture,
    /// Number of units of each stage.
    stage_units: Vec<usize>,
    width: usize,
    image_size: usize,
    pub(crate) in_channels: usize,
    classes: usize,
    pub(crate) coarse_kind: CoarseKind,
    pub(crate) coarse_units: Option<usize>,
    precision: Precision,
}

impl ImageNetwork {
    /// Creates a network of this architecture for color images of 32×32 pixels and ten classes.
    ///
    /// # Errors
    /// If there is no such network, or it cannot have images of this size.
    pub fn new(architecture: Architecture) -> Result<Self, ArchitectureError> {
        Self::sized(architecture, DEFAULT_IMAGE_SIZE)
    }

    /// Creates a network of this architecture for color images with this height and width in pixels and ten classes.
    ///
    /// # Errors
    /// If there is no such network, or the size is not a positive multiple of [`Architecture::size_divisor`].
    pub fn sized(architecture: Architecture, image_size: usize) -> Result<Self, ArchitectureError> {
        let network = Self {
            architecture,
            stage_units: architecture.stage_units()?,
            width: architecture.default_width(),
            image_size,
            in_channels: 3,
            classes: 10,
            coarse_kind: CoarseKind::Auto,
            coarse_units: None,
            precision: Precision::F32,
        };
        network.with_image_size(image_size)
    }

    /// Creates the paper's network of this depth ([`Architecture::ResNet`]).
    ///
    /// # Errors
    /// If the depth is not 9n+2 with n ≥ 1.
    pub fn resnet(depth: usize) -> Result<Self, ArchitectureError> {
        Self::new(Architecture::ResNet { depth })
    }

    /// Creates a wide residual network, WRN-`depth`-`widening` ([`Architecture::WideResNet`]).
    ///
    /// ```
    /// use parareal_models::{ImageNetwork, Summary};
    ///
    /// let net = ImageNetwork::wide_resnet(16, 4)?;
    /// let cuts = net.default_cuts(3)?;
    /// assert_eq!(net.name(), "wide-resnet-16-4");
    /// assert_eq!(Summary::new(&net, &cuts)?.parameters.original, 2_748_890);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the depth is not 6n+4 with n ≥ 1, or the widening factor is below 2.
    pub fn wide_resnet(depth: usize, widening: usize) -> Result<Self, ArchitectureError> {
        Self::new(Architecture::WideResNet { depth, widening })
    }

    /// Sets the height and width of the images in pixels.
    ///
    /// # Errors
    /// If it is not a positive multiple of [`Architecture::size_divisor`].
    pub fn with_image_size(mut self, size: usize) -> Result<Self, ArchitectureError> {
        let network = self.architecture;
        if size == 0 || !size.is_multiple_of(network.size_divisor()) {
            return Err(ArchitectureError::ImageSize { size, network });
        }
        self.image_size = size;
        Ok(self)
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

    /// Sets the number of channels of the first layer, at least 1. All other layers are scaled in proportion. The
    /// default is [`Architecture::default_width`].
    pub fn with_width(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// Sets the precision of states; the default is [`Precision::F32`].
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
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

    /// The architecture.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Number of layers ([`Architecture::depth`]).
    pub fn depth(&self) -> usize {
        self.architecture.depth()
    }

    /// The number of channels of the first layer.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of channels of the images.
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// Height and width of the images in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size
    }

    /// The name of the network without its cuts: `resnet-20` or `wide-resnet-28-10`, followed by `-w24` if its
    /// width of 24 is not the published one, and by `-64px` if its images do not have 32×32 pixels.
    pub fn name(&self) -> String {
        let mut name = self.architecture.to_string();
        if self.width != self.architecture.default_width() {
            name += &format!("-w{}", self.width);
        }
        if self.image_size != DEFAULT_IMAGE_SIZE {
            name += &format!("-{}px", self.image_size);
        }
        name
    }

    /// The kind of the units.
    pub fn unit_kind(&self) -> UnitKind {
        self.architecture.unit_kind()
    }

    /// The number of channels after the last unit.
    pub fn last_channels(&self) -> usize {
        self.last_image().channels
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

    /// Returns true if the preprocessing and the postprocessing of a network with the same channels and kind of units
    /// have parameters of the same shapes.
    pub fn has_ends_of(&self, other: &Self) -> bool {
        let is_same = self.image_size == other.image_size;
        match self.architecture {
            Architecture::Vit { .. } => is_same && self.architecture == other.architecture,
            Architecture::Vgg16 => self.head_kind() == other.head_kind(),
            _ => true,
        }
    }

    /// Precision of states.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Number of units of each stage.
    pub fn stage_units(&self) -> &[usize] {
        &self.stage_units
    }

    /// Returns even cuts, with larger subnetworks first.
    ///
    /// If `subnetworks` is a multiple of the number of stages and all stages have the same number of units, these
    /// are the paper's cuts: each stage is divided into as many subnetworks. If the stages differ, the
    /// multiply-adds are divided as evenly as possible. Otherwise all units are divided regardless of the
    /// stages.
    ///
    /// # Errors
    /// If there are no subnetworks or fewer units than subnetworks.
    pub fn default_cuts(&self, subnetworks: usize) -> Result<Cuts, NetError> {
        let (stages, first) = (self.stages(), self.stage_units[0]);
        if self.stage_units.iter().any(|units| *units != first) {
            return self.cuts_by_cost(subnetworks);
        }
        if subnetworks == 0 || !subnetworks.is_multiple_of(stages) || subnetworks > self.units() {
            return Cuts::even(self.units(), subnetworks);
        }
        let stage = Cuts::even(first, subnetworks / stages)?;
        let positions = (0..stages)
            .flat_map(|s| {
                let start = s * first;
                let own = stage.positions().iter().map(move |cut| start + cut);
                std::iter::once(start).chain(own)
            })
            .skip(1)
            .collect();
        Cuts::new(self.units(), positions)
    }

    /// Returns cuts that divide the multiply-adds of the units as evenly as possible, one after the other.
    fn cuts_by_cost(&self, subnetworks: usize) -> Result<Cuts, NetError> {
        let units = self.units();
        if subnetworks == 0 || subnetworks > units {
            return Cuts::even(units, subnetworks);
        }
        let costs = (0..units).map(|unit| self.unit_cost(unit) as f64);
        let before: Vec<f64> = std::iter::once(0.0)
            .chain(costs.scan(0.0, |sum, cost| {
                *sum += cost;
                Some(*sum)
            }))
            .collect();
        let mut positions = Vec::with_capacity(subnetworks - 1);
        for cut in 1..subnetworks {
            let target = before[units] * cut as f64 / subnetworks as f64;
            // At least one unit remains for each subnetwork before and after the cut.
            let least = positions.last().map_or(1, |last| last + 1);
            let nearest = (least..=units - (subnetworks - cut)).min_by(|&a, &b| {
                let distance = |position: usize| (before[position] - target).abs();
                distance(a).total_cmp(&distance(b))
            });
            positions.extend(nearest);
        }
        Cuts::new(units, positions)
    }

    /// Number of stages.
    pub(crate) fn stages(&self) -> usize {
        self.stage_units.len()
    }

    /// The stage, from 0, whose shape the state at a position has. Position 0, before the first unit, counts
    /// as stage 0.
    pub(crate) fn stage_at(&self, position: usize) -> usize {
        let mut end = 0;
        let is_before = |units: &usize| {
            end += units;
            position > end
        };
        self.stage_units.iter().copied().take_while(is_before).count()
    }

    pub(crate) fn stage_image(&self, stage: usize) -> Image {
        self.architecture.stage_image(stage, self.width, self.image_size)
    }

    /// The shape of the state after this many units. Layouts are channels last.
    ///
    /// # Panics
    /// May panic for a position after the last unit.
    pub fn image_at(&self, position: usize) -> Image {
        match position {
            0 => self.architecture.first_image(self.width, self.image_size),
            _ => self.stage_image(self.stage_at(position)),
        }
    }

    /// The unit with this index, from 0.
    pub fn unit_component(&self, index: usize) -> Component {
        let (from, to) = (self.image_at(index), self.image_at(index + 1));
        Component::Unit { kind: self.unit_kind(), from, to }
    }

    /// The shape of the state after the last unit.
    pub(crate) fn last_image(&self) -> Image {
        self.stage_image(self.stages() - 1)
    }

    /// Height and width, in pixels, of the smallest state that the network with these cuts normalizes over a batch; `None` for
    /// a vision transformer, which normalizes each patch by itself.
    ///
    /// If it is 1, a batch of one image has one value for each channel, and its normalized value is always 0.
    pub fn smallest_normalized_size(&self, cuts: &Cuts) -> Option<usize> {
        if matches!(self.architecture, Architecture::Vit { .. }) {
            return None;
        }
        let last = self.last_image().size;
        let is_coarsened =
            cuts.subnetworks() > 1 && self.coarse_unit_kinds().contains(&UnitKind::Coarsened);
        Some(if is_coarsened { last.div_ceil(2) } else { last })
    }

    /// Number of parameters of the network without cuts.
    pub fn parameters(&self) -> usize {
        let units = (0..self.units()).map(|unit| self.unit_component(unit));
        let ends = [
            Component::Preprocessing { to: self.image_at(0) },
            Component::Postprocessing { from: self.last_image() },
        ];
        units.chain(ends).map(|component| component.size(self).parameters).sum()
    }

    /// Number of parameters of the network with these cuts. Modules at the interfaces are counted as well.
    pub fn cut_parameters(&self, cuts: &Cuts) -> usize {
        let interfaces = cuts.interfaces().flat_map(|interface| {
            let to = self.image_at(interface.position);
            self.coarse_components(&interface).into_iter().chain([Component::Preprocessing { to }])
        });
        let modules = interfaces.map(|component| component.size(self).parameters);
        modules.fold(self.parameters(), usize::saturating_add)
    }

    /// The kind of a `C_j` whose output has this shape.
    pub fn preprocessing_kind(&self, to: Image) -> PreprocessingKind {
        match self.architecture {
            Architecture::Vit { patch, .. } => PreprocessingKind::Patches { patch },
            _ if to != self.image_at(0) => {
                let poolings = (self.image_size / to.size).ilog2() as usize;
                PreprocessingKind::Interface { poolings }
            }
            Architecture::OriginalResNet { .. } => PreprocessingKind::Stem,
            _ => PreprocessingKind::First,
        }
    }

    /// Builds a `C_j` whose output has this shape.
    pub(crate) fn build_preprocessing(&self, to: Image, init: &Init) -> Preprocessing {
        let kind = self.preprocessing_kind(to);
        Preprocessing::new(kind, self.in_channels, to, self.precision, init)
    }

    /// Returns the size of a `C_j` whose output has this shape.
    pub(crate) fn preprocessing_size(&self, to: Image) -> Size {
        let image = Image { channels: self.in_channels, size: self.image_size };
        self.preprocessing_kind(to).size(image, to)
    }
}

impl FeedForward for ImageNetwork {
    type Input = Tensor<4>;
    type State = Tensor<4>;
    type Output = Tensor<2>;
    type Preprocessing = Preprocessing;
    type Unit = Unit;
    type Postprocessing = Head;

    fn units(&self) -> usize {
        self.stage_units.iter().sum()
    }

    fn input_shape(&self) -> SampleShape {
        [self.in_channels, self.image_size, self.image_size].into()
    }

    fn state_shape(&self, position: usize) -> SampleShape {
        let Image { channels, size } = self.image_at(position);
        [size, size, channels].into()
    }

    fn state_dtype(&self) -> Option<DType> {
        match self.precision {
            Precision::F32 => None,
            Precision::Bf16 => Some(DType::BF16),
        }
    }

    fn preprocessing(&self, init: &Init) -> Preprocessing {
        self.build_preprocessing(self.image_at(0), init)
    }

    fn unit(&self, index: usize, init: &Init) -> Unit {
        self.unit_kind().build(self.image_at(index), self.image_at(index + 1), init)
    }

    fn postprocessing(&self, init: &Init) -> Head {
        Head::new(self, init)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, size: usize) -> ImageNetwork {
        ImageNetwork::new(name.parse().unwrap()).unwrap().with_image_size(size).unwrap()
    }

    #[test]
    fn names_contain_a_custom_width_and_image_size() {
        let net = ImageNetwork::resnet(20).unwrap();
        assert_eq!(net.name(), "resnet-20");
        assert_eq!(net.with_width(24).name(), "resnet-20-w24");
        let net = ImageNetwork::wide_resnet(28, 10).unwrap();
        assert_eq!(net.name(), "wide-resnet-28-10");
        assert_eq!(net.with_width(8).name(), "wide-resnet-28-10-w8");
        assert_eq!(network("vit-tiny-8", 64).name(), "vit-tiny-8-64px");
    }

    #[test]
    fn default_cuts_are_the_papers() {
        let net = ImageNetwork::resnet(1001).unwrap();
        let cuts = |n| net.default_cuts(n).unwrap().positions().to_vec();
        assert_eq!(cuts(1), [0; 0]);
        assert_eq!(cuts(3), [111, 222]);
        assert_eq!(cuts(6), [56, 111, 167, 222, 278]);
        assert_eq!(cuts(2), [167]);
        assert_eq!(net.default_cuts(333).unwrap().subnetworks(), 333);
        assert!(net.default_cuts(336).is_err());
    }

    #[test]
    fn default_cuts_of_uneven_stages_divide_the_multiply_adds() {
        let cuts =
            |name, n| network(name, 32).default_cuts(n).map(|cuts| cuts.positions().to_vec());
        // Multiply-adds of the convolutions of VGG-16, in units of 18.9 million: 2, 1 2, 1 2 2, 1 2 2, ½ ½ ½.
        assert_eq!(cuts("vgg16", 3), Ok(vec![3, 7]));
        assert_eq!(cuts("vgg16", 12).unwrap(), (1..12).collect::<Vec<_>>());
        assert!(cuts("vgg16", 13).is_err() && cuts("vgg16", 0).is_err());
        assert_eq!(cuts("resnet50", 3), Ok(vec![5, 11]));
        assert_eq!(cuts("vit-small-8", 3), Ok(vec![4, 8]));
    }

    #[test]
    fn states_have_the_published_shapes() {
        let shapes = |name, size, positions: &[usize]| -> Vec<(usize, usize)> {
            let net = network(name, size);
            positions.iter().map(|&p| net.image_at(p)).map(|at| (at.channels, at.size)).collect()
        };
        let vgg = shapes("vgg16", 32, &[0, 1, 2, 3, 4, 6, 7, 9, 10, 12]);
        let expected = [
            (64, 32),
            (64, 32),
            (128, 16),
            (128, 16),
            (256, 8),
            (256, 8),
            (512, 4),
            (512, 4),
            (512, 2),
            (512, 2),
        ];
        assert_eq!(vgg, expected);
        let resnet = shapes("resnet50", 224, &[0, 1, 3, 4, 7, 8, 13, 14, 16]);
        let expected = [
            (64, 56),
            (256, 56),
            (256, 56),
            (512, 28),
            (512, 28),
            (1024, 14),
            (1024, 14),
            (2048, 7),
            (2048, 7),
        ];
        assert_eq!(resnet, expected);
        assert_eq!(shapes("vit-small", 224, &[0, 12]), [(384, 14); 2]);
    }

    #[test]
    fn image_sizes_that_do_not_fit_are_refused() {
        let error = |name: &str, size| {
            ImageNetwork::new(name.parse().unwrap())
                .unwrap()
                .with_image_size(size)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error("resnet50", 100),
            "invalid value `100` for image-size: expected a multiple of 32 for resnet50"
        );
        assert_eq!(
            error("vit-tiny-8", 36),
            "invalid value `36` for image-size: expected a multiple of 8 for vit-tiny-8, or a network with other \
             patches"
        );
        assert!(error("resnet-20", 0).contains("multiple of 4"));
    }
}
