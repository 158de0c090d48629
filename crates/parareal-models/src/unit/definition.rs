use parareal::net::Init;

use crate::image::Image;
use crate::size::Size;

/// Definition of a kind of unit: a module, its name and its size.
pub(super) trait UnitDefinition {
    /// The name in settings, files and messages.
    const NAME: &'static str;

    /// True if all operations support states in bfloat16. Otherwise states are converted before and after.
    const SUPPORTS_BFLOAT16: bool = true;

    /// Creates a unit with these input and output shapes. The stride is the ratio of their sizes.
    fn new(from: Image, to: Image, init: &Init) -> Self;

    /// Returns the size of a unit with these shapes.
    fn size(from: Image, to: Image) -> Size;
}
