//! Reading PNG and JPEG files.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use parareal_text::one_line;

use crate::formats::size_limit::SizeLimit;
use crate::formats::{jpeg, png};

/// Reads and decodes a PNG or JPEG file, and applies its Exif orientation.
///
/// # Errors
///
/// A description of the problem if the file cannot be read or decoded, or exceeds the limit.
pub(crate) fn read(path: &Path, limit: SizeLimit) -> Result<DynamicImage, String> {
    decode(&read_file(path, limit)?, limit)
}

/// Reads a file of at most `limit.memory` bytes.
fn read_file(path: &Path, limit: SizeLimit) -> Result<Vec<u8>, String> {
    let max = limit.memory;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > max {
        return Err(format!("the file is larger than the limit of {max} bytes"));
    }
    Ok(bytes)
}

/// Decodes the contents of a file.
pub(crate) fn decode(bytes: &[u8], limit: SizeLimit) -> Result<DynamicImage, String> {
    // The format is detected from the first bytes, not from the name.
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        _ if bytes.is_empty() => return Err("the file is empty".to_owned()),
        _ => return Err("its first bytes are those of another file type".to_owned()),
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
    // Completeness is checked first, so that its message takes precedence over the decoder's
    // message.
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
