//! Headers of PNG and JPEG files: the size of an image without its pixels.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek};
use std::path::Path;

use crate::formats::size_limit::SizeLimit;

/// Bytes that are read at a time. Most headers end within the first ones.
const BUFFER: usize = 1024;
const PNG: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Width and height that the header of an image states, before any rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// Reads the header of a PNG or JPEG file, and returns the length of the file in bytes.
///
/// The pixels are not read: the file may still be damaged.
///
/// # Errors
///
/// A description of the problem if the file cannot be read, is of another type, or exceeds the limit.
pub(crate) fn read(path: &Path, limit: SizeLimit) -> Result<u64, String> {
    let read = || {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        std::io::Result::Ok((bytes, BufReader::with_capacity(BUFFER, file)))
    };
    let (bytes, reader) = read().map_err(|error| error.to_string())?;
    if bytes > limit.memory {
        return Err(format!("the file is larger than the limit of {} bytes", limit.memory));
    }
    parse(reader, limit)?;
    Ok(bytes)
}

/// Reads the header of the contents of a file.
pub(crate) fn parse(mut contents: impl Read + Seek, limit: SizeLimit) -> Result<Header, String> {
    let mut start = [0; 2];
    match contents.read_exact(&mut start) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Err("the file is empty".into());
        }
        read => read.map_err(|error| error.to_string())?,
    }
    let (header, bytes) = match start {
        [0xff, 0xd8] => jpeg(&mut contents)?,
        [0x89, b'P'] => png(&mut contents)?,
        _ => return Err("its first bytes are those of another file type".into()),
    };
    if header.width == 0 || header.height == 0 {
        return Err("its header states no size".into());
    }
    let pixels = header.width as u64 * header.height as u64;
    limit.check(header.width, header.height, pixels.saturating_mul(bytes))?;
    Ok(header)
}

/// Reads the header of a PNG file after its first two bytes. Returns it with the number of bytes of a pixel, rounded up.
fn png(contents: &mut impl Read) -> Result<(Header, u64), String> {
    let bytes = take::<27>(contents)?;
    let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| bytes[at + byte])) as usize;
    if bytes[..6] != PNG[2..] || number(6) != 13 || bytes[10..14] != *b"IHDR" {
        return Err("the file is damaged in its PNG header".into());
    }
    let samples = match bytes[23] {
        // Palettes are expanded to colors.
        2 | 3 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    let header = Header { width: number(14), height: number(18) };
    Ok((header, samples * u64::from(bytes[22].div_ceil(8).max(1))))
}

/// Reads the segments of a JPEG file after its first two bytes, up to the frame header. Returns it with the number of
/// components.
fn jpeg(contents: &mut (impl Read + Seek)) -> Result<(Header, u64), String> {
    loop {
        // Decoders skip bytes between segments, and any number of fill bytes may precede a marker.
        while take::<1>(contents)?[0] != 0xff {}
        let mut marker = 0xff;
        while marker == 0xff {
            [marker] = take(contents)?;
        }
        match marker {
            // A stuffed byte.
            0 => {}
            // Segments without contents.
            0x01 | 0xd0..=0xd8 => {}
            // Frame headers; 0xc4, 0xc8 and 0xcc are other segments.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let [_, _, _, h1, h0, w1, w0, components] = take::<8>(contents)?;
                let [height, width] =
                    [[h1, h0], [w1, w0]].map(|side| usize::from(u16::from_be_bytes(side)));
                return Ok((Header { width, height }, u64::from(components)));
            }
            0xd9 | 0xda => return Err("the file has no JPEG frame header".into()),
            _ => {
                let length = u16::from_be_bytes(take(contents)?);
                let rest = length.checked_sub(2).ok_or("the file is damaged in a segment")?;
                contents.seek_relative(i64::from(rest)).map_err(|error| error.to_string())?;
            }
        }
    }
}

/// Reads the next bytes.
fn take<const COUNT: usize>(contents: &mut impl Read) -> Result<[u8; COUNT], String> {
    let mut bytes = [0; COUNT];
    match contents.read_exact(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err("the file is truncated: it ends in its header".into())
        }
        read => read.map(|()| bytes).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, codecs};

    use super::*;

    fn of(bytes: &[u8]) -> Result<Header, String> {
        parse(Cursor::new(bytes), SizeLimit::FILES)
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(37, 23).write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    #[test]
    fn headers_state_the_size() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let bytes = encoded(format);
            assert_eq!(of(&bytes), Ok(Header { width: 37, height: 23 }));
            // Every byte before the size is needed, none after it is.
            let needed = (0..bytes.len()).find(|&end| of(&bytes[..end]).is_ok()).unwrap();
            assert!(needed < bytes.len() / 2 || format == ImageFormat::Png, "{needed}");
            for end in 0..needed {
                let message = of(&bytes[..end]).unwrap_err();
                assert!(message.contains("empty") || message.contains("truncated"), "{message}");
            }
        }
    }

    #[test]
    fn other_files_and_sizes_beyond_the_limit_are_refused() {
        let small = SizeLimit { side: 30, memory: 1 << 20 };
        let narrow = SizeLimit { side: 50, memory: 3 * 37 * 23 - 1 };
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            for limit in [small, narrow] {
                let message = parse(Cursor::new(encoded(format)), limit).unwrap_err();
                assert!(
                    message.contains("it has 37 x 23 pixels, more than the limit"),
                    "{message}"
                );
            }
        }
        let mut gray = Vec::new();
        let encoder = codecs::png::PngEncoder::new(&mut gray);
        encoder.write_image(&[0; 37 * 23], 37, 23, ExtendedColorType::L8).unwrap();
        parse(Cursor::new(gray), narrow).unwrap();
        for (bytes, expected) in [
            (&b"GIF89a"[..], "another file type"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIDAT0123456789abcdef", "PNG header"),
            (b"\xff\xd8\xff\xd9", "no JPEG frame header"),
            (b"\xff\xd8\0", "ends in its header"),
            (b"\xff\xd8\xff\xe0\0\x01", "in a segment"),
            (b"\xff\xd8\xff\xc0\0\x11\x08\0\0\0\x05\x03", "states no size"),
        ] {
            let message = of(bytes).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
