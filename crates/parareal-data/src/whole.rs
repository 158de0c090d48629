//! Completeness of PNG and JPEG files, which image decoders do not check.
//!
//! The decoder of JPEG files (`zune-jpeg`) fills what is missing with grey, also in its strict mode
//! where the file ends in the last row of blocks or between two scans. The decoder of PNG files stops
//! at the last pixel, before the checksum after it. So the structure of a file is followed to its end
//! here, without decoding it: the `IEND` chunk of a PNG file, with the checksums of all critical
//! chunks, and the end-of-image marker of a JPEG file. What follows the end is ignored.
//!
//! A JPEG file has no checksums: bytes lost in its middle are not noticed.

use flate2::Crc;

/// Checks that a PNG file is complete and that its critical chunks have their checksums.
pub(crate) fn check_png(bytes: &[u8]) -> Result<(), String> {
    const CUT: &str = "the file is cut off: it ends before its IEND chunk";
    let mut rest = bytes.get(8..).ok_or(CUT)?;
    loop {
        let (length, chunk) = rest.split_first_chunk::<4>().ok_or(CUT)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (kind_and_data, after) = chunk.split_at_checked(length.saturating_add(4)).ok_or(CUT)?;
        let (stated, after) = after.split_first_chunk::<4>().ok_or(CUT)?;
        let kind = &kind_and_data[..4];
        let mut crc = Crc::new();
        crc.update(kind_and_data);
        // A capital letter says that the image cannot be shown without the chunk.
        if kind[0].is_ascii_uppercase() && crc.sum() != u32::from_be_bytes(*stated) {
            return Err(format!("its {} chunk does not have its checksum", kind.escape_ascii()));
        }
        if kind == b"IEND" {
            return Ok(());
        }
        rest = after;
    }
}

/// Checks that a JPEG file reaches its end-of-image marker, after image data.
pub(crate) fn check_jpeg(bytes: &[u8]) -> Result<(), String> {
    const CUT: &str = "the file is cut off: it ends before its end-of-image marker";
    const END_OF_IMAGE: u8 = 0xd9;
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = bytes.get(2..).ok_or(CUT)?;
    let mut scans = 0;
    loop {
        // A marker is 0xff, any number of times, and its code; between segments nothing else is
        // expected, and in image data 0xff 0x00 stands for the byte 0xff.
        let start = rest.iter().position(|&byte| byte == 0xff).ok_or(CUT)?;
        let code = rest[start..].iter().position(|&byte| byte != 0xff).ok_or(CUT)?;
        let (marker, after) = rest[start + code..].split_first().ok_or(CUT)?;
        rest = match *marker {
            END_OF_IMAGE if scans == 0 => return Err("it has no image data".to_owned()),
            END_OF_IMAGE => return Ok(()),
            // Stuffing, restart markers and other ones without a segment.
            0x00 | 0x01 | 0xd0..=0xd8 => after,
            marker => {
                scans += usize::from(marker == START_OF_SCAN);
                let length = after.first_chunk().ok_or(CUT)?;
                after.get(u16::from_be_bytes(*length).max(2).into()..).ok_or(CUT)?
            }
        };
    }
}
