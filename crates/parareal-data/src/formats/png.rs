//! Completeness check for PNG files.
//!
//! The decoder stops at the last pixel and does not read the checksum after it. [`check`] parses
//! the chunks of a file to its end without decoding them. Bytes after the end are ignored.

use flate2::Crc;

/// Checks that a PNG file is complete and that its critical chunks match their checksums.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    const CUT: &str = "the file is truncated: it ends before its IEND chunk";
    let mut rest = bytes.get(8..).ok_or(CUT)?;
    loop {
        let (length, chunk) = rest.split_first_chunk::<4>().ok_or(CUT)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (kind_and_data, after) = chunk.split_at_checked(length.saturating_add(4)).ok_or(CUT)?;
        let (stated, after) = after.split_first_chunk::<4>().ok_or(CUT)?;
        let kind = &kind_and_data[..4];
        let mut crc = Crc::new();
        crc.update(kind_and_data);
        // An upper-case first letter marks a critical chunk.
        if kind[0].is_ascii_uppercase() && crc.sum() != u32::from_be_bytes(*stated) {
            return Err(format!("its {} chunk does not match its checksum", kind.escape_ascii()));
        }
        if kind == b"IEND" {
            return Ok(());
        }
        rest = after;
    }
}
