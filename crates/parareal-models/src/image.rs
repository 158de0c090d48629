use parareal::net::{SampleShape, ShapeError};
use serde::{Deserialize, Serialize};

/// The shape of a square image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Image {
    /// Number of channels.
    pub channels: usize,
    /// Height and width in pixels.
    pub size: usize,
}

impl Image {
    /// The number of pixels.
    pub fn pixels(self) -> usize {
        self.size * self.size
    }

    /// The number of values.
    pub(crate) fn values(self) -> usize {
        self.channels * self.pixels()
    }
}

/// Returns height and width of a shape `[height, width, channels]`.
///
/// # Errors
/// If the shape does not have three dimensions, or has another number of channels.
pub(crate) fn height_and_width(
    shape: &SampleShape,
    channels: usize,
) -> Result<[usize; 2], ShapeError> {
    match shape.dims() {
        Some(&[height, width, found]) if found == channels => Ok([height, width]),
        _ => Err(ShapeError {
            expected: format!("an image of {channels} channels"),
            found: shape.clone(),
        }),
    }
}
