//! From an image file or a stored image to the pixels that a network sees.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::error::{DataError, one_line};
use crate::size_limit::SizeLimit;
use crate::{jpeg, png};

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
    /// The image is turned as its camera says. An image of exactly this size is used unchanged. Any
    /// other is resized, without keeping its aspect ratio, to the size inside the border, and gets
    /// the border.
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
        let limit = SizeLimit::FILES;
        let image = read_file(path, limit)
            .and_then(|bytes| decode(&bytes, limit))
            .map_err(|message| DataError::Image { path: path.to_path_buf(), message })?;
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

/// Reads a file that is not longer than the limit.
fn read_file(path: &Path, limit: SizeLimit) -> Result<Vec<u8>, String> {
    let most = limit.memory;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most {
        return Err(format!("the file has more than {most} bytes, which is the limit"));
    }
    Ok(bytes)
}

/// Decodes the contents of a file, or says what is wrong with them.
pub(crate) fn decode(bytes: &[u8], limit: SizeLimit) -> Result<DynamicImage, String> {
    // The first bytes say what it is, whatever it is called.
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        _ if bytes.is_empty() => return Err("the file is empty".to_owned()),
        _ => return Err("its first bytes are those of another kind of file".to_owned()),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(limit.memory);
    reader.limits(limits);
    let decoder = reader.into_decoder();
    if let Ok(decoder) = &decoder {
        let (width, height) = decoder.dimensions();
        limit.check(width as usize, height as usize, decoder.total_bytes())?;
    }
    // Completeness is checked first, so that its message precedes that of the decoder.
    match format {
        ImageFormat::Png => png::check(bytes)?,
        _ => jpeg::check(bytes, limit)?,
    }
    let decoded = decoder.and_then(|mut decoder| {
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(image)
    });
    decoded.map_err(|error| one_line(&error.to_string().replace(['\n', '\r'], " ")))
}
