//! From an image file or a stored image to the pixels that a network sees.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::error::DataError;
use crate::{jpeg, png};

/// The longest side of an image that is read, in pixels.
const LONGEST_SIDE: u32 = 20_000;
/// The memory that an image may take, and the length of its file, in bytes.
const MOST_MEMORY: u64 = 1 << 30;

/// The way in which images are brought to the size and the colors that a network knows.
///
/// The loaders of [`Dataset`](crate::Dataset) and whoever reads further images for the same network
/// apply the same value. [`Normalization`](crate::Normalization) follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocessing {
    /// Channels: 1 for grey levels, 3 for red, green and blue.
    pub channels: usize,
    /// Rows of the image, with the border.
    pub height: usize,
    /// Columns of the image, with the border.
    pub width: usize,
    /// Width of the black border, in pixels; it is part of `height` and `width`.
    pub padding: usize,
}

impl Preprocessing {
    /// Reads a PNG or JPEG file as `[channels, height, width]`, 8 bits each.
    ///
    /// The image is turned as its camera says. One that has exactly this height and width is taken
    /// as it is. Any other one is scaled, whatever its proportions, to the size inside the border,
    /// and gets the border.
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] where the file is not such an image, is cut off or damaged, or is too
    /// large.
    ///
    /// # Panics
    ///
    /// Where there are other than one or three channels, or no pixels inside the border.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, DataError> {
        let Self { channels, height, width, padding } = *self;
        let image = decode(path).map_err(|message| {
            let message = message.replace(['\n', '\r'], " ");
            DataError::Image { path: path.to_path_buf(), message }
        })?;
        let is_padded = (image.height() as usize, image.width() as usize) == (height, width);
        let padding = if is_padded { 0 } else { padding };
        let (rows, columns) = (height - 2 * padding, width - 2 * padding);
        let image = image.resize_exact(columns as u32, rows as u32, FilterType::Triangle);
        // Pixel by pixel, its channels side by side.
        let pixels = match channels {
            1 => image.into_luma8().into_raw(),
            3 => image.into_rgb8().into_raw(),
            _ => panic!("an image has one channel or three, not {channels}"),
        };
        let planes = (0..channels).map(|channel| pixels.iter().skip(channel).step_by(channels));
        let planes: Vec<u8> = planes.flatten().copied().collect();
        Ok(if is_padded { planes } else { self.pad(&planes) })
    }

    /// Adds the border to images `[n, channels, height - 2 padding, width - 2 padding]`.
    pub(crate) fn pad(&self, stored: &[u8]) -> Vec<u8> {
        let Self { height, width, padding, .. } = *self;
        if padding == 0 {
            return stored.to_vec();
        }
        let (rows, columns) = (height - 2 * padding, width - 2 * padding);
        let planes = stored.chunks_exact(rows * columns);
        let mut pixels = vec![0; planes.len() * height * width];
        for (plane, padded) in planes.zip(pixels.chunks_exact_mut(height * width)) {
            let rows = padded.chunks_exact_mut(width).skip(padding);
            for (stored, row) in plane.chunks_exact(columns).zip(rows) {
                row[padding..][..columns].copy_from_slice(stored);
            }
        }
        pixels
    }
}

/// The image in a file, or what is wrong with the file.
fn decode(path: &Path) -> Result<DynamicImage, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_MEMORY + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MOST_MEMORY {
        return Err(format!("the file has more than {MOST_MEMORY} bytes, which is the limit"));
    }
    // The first bytes say what it is, whatever it is called.
    let format = match image::guess_format(&bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        _ if bytes.is_empty() => return Err("the file is empty".to_owned()),
        _ => return Err("its first bytes are those of another kind of file".to_owned()),
    };
    match format {
        ImageFormat::Png => png::check(&bytes)?,
        _ => jpeg::check(&bytes)?,
    }
    let mut reader = ImageReader::with_format(Cursor::new(&bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let decoded = reader.into_decoder().and_then(|mut decoder| {
        let ((width, height), memory) = (decoder.dimensions(), decoder.total_bytes());
        if width.max(height) > LONGEST_SIDE || memory > MOST_MEMORY {
            return Ok(Err(format!(
                "it has {width} x {height} pixels, more than the limit of {LONGEST_SIDE} on a side \
                 and {} MiB in all: scale it down",
                MOST_MEMORY >> 20
            )));
        }
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(Ok(image))
    });
    decoded.map_err(|error| error.to_string())?
}
