//! Images in files of the usual kinds.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::error::DataError;
use crate::jpeg;

/// Longest side of an image that is read, in pixels; memory for one, in bytes.
const LONGEST_SIDE: u32 = 20_000;
const MOST_MEMORY: u64 = 1 << 30;

/// Reads a PNG or JPEG file, turned as its camera says, and scales it, whatever its proportions, to
/// `[channels, height, width]`, as an [`ImageSet`](crate::ImageSet) keeps it: one channel is grey,
/// three are red, green and blue.
///
/// # Errors
///
/// [`DataError::Image`] where the file is no such image, cut off, damaged, or too large.
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
    let image = decode(path).map_err(|message| {
        let message = message.replace(['\n', '\r'], " ");
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

/// The image in a file, upright, or what is wrong with the file.
fn decode(path: &Path) -> Result<DynamicImage, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(MOST_MEMORY + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MOST_MEMORY {
        return Err("it has more than 1 GiB".into());
    }
    decode_bytes(&bytes)
}

/// The image in the contents of a file, upright, or what is wrong with them.
pub(crate) fn decode_bytes(bytes: &[u8]) -> Result<DynamicImage, String> {
    let text = |error: ImageError| match error {
        ImageError::Limits(_) => "it takes more than 1 GiB of memory".into(),
        error => error.to_string(),
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_MEMORY);
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.limits(limits.clone());
    // The first bytes say what it is, whatever it is called.
    let reader = reader.with_guessed_format().map_err(|error| error.to_string())?;
    let format = reader.format();
    let mut decoder = reader.into_decoder().map_err(text)?;
    let (width, height) = decoder.dimensions();
    if width.max(height) > LONGEST_SIDE {
        return Err(format!(
            "it has {width}x{height} pixels: at most {LONGEST_SIDE} on a side are read"
        ));
    }
    decoder.set_limits(limits).map_err(text)?;
    if format == Some(ImageFormat::Jpeg) {
        jpeg::check(bytes)?;
    }
    let orientation = decoder.orientation().map_err(text)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(text)?;
    image.apply_orientation(orientation);
    Ok(image)
}
