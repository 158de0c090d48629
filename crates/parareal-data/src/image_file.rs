//! Images in files of the usual kinds.

use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader, ImageResult, Limits};

use crate::error::DataError;

/// Longest side of an image that is read, in pixels; memory for one, in bytes.
const LONGEST_SIDE: u32 = 20_000;
const MOST_MEMORY: u64 = 1 << 30;

/// Reads a PNG or JPEG file, turned as its camera says, and scales it, whatever its proportions, to
/// `[channels, height, width]`, as an [`ImageSet`](crate::ImageSet) keeps it: one channel is grey,
/// three are red, green and blue.
///
/// # Errors
///
/// [`DataError::Image`] where the file is no such image, or too large.
///
/// # Panics
///
/// Where there are other than one or three channels.
pub fn read_image(
    path: &Path,
    channels: usize,
    height: usize,
    width: usize,
) -> Result<Vec<u8>, DataError> {
    let image = decode(path).map_err(|error| {
        let message = error.to_string().replace(['\n', '\r'], " ");
        DataError::Image { path: path.to_path_buf(), message }
    })?;
    let image = image.resize_exact(width as u32, height as u32, FilterType::Triangle);
    // Pixel by pixel, its channels side by side.
    let pixels = match channels {
        1 => image.into_luma8().into_raw(),
        3 => image.into_rgb8().into_raw(),
        _ => panic!("an image has one channel or three, not {channels}"),
    };
    let planes = (0..channels).map(|channel| pixels.iter().skip(channel).step_by(channels));
    Ok(planes.flatten().copied().collect())
}

fn decode(path: &Path) -> ImageResult<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    let mut reader = ImageReader::open(path)?;
    reader.limits(limits);
    // The first bytes say what it is, whatever it is called.
    let mut decoder = reader.with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}
