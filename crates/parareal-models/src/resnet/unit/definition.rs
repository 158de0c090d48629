use parareal::net::Init;

use super::conv_shape::ConvShape;
use crate::resnet::image::Image;

/// Definition of a kind of residual unit: a module, its name and the shapes of its convolutions.
pub(super) trait UnitDefinition {
    /// The name in settings, files and messages.
    const NAME: &'static str;

    /// Creates a unit with these input and output shapes. The stride is the ratio of their sizes.
    fn new(from: Image, to: Image, init: &Init) -> Self;

    /// The convolutions of a unit with these shapes, without the projection of the skip connection.
    fn convolutions(from: Image, to: Image) -> Vec<ConvShape>;
}
