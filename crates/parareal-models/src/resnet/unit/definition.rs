use parareal::net::Init;

use super::conv_shape::ConvShape;
use crate::resnet::image::Image;

/// One kind of residual unit: a module, its name and the shapes of its convolutions.
pub(super) trait UnitDefinition {
    /// The name in settings, files and messages.
    const NAME: &'static str;

    /// Creates a unit that leads from one image to another. Its stride is the ratio of their sizes.
    fn new(from: Image, to: Image, init: &Init) -> Self;

    /// The convolutions of such a unit without the projection of its skip.
    fn convolutions(from: Image, to: Image) -> Vec<ConvShape>;
}
