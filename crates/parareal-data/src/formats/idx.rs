//! IDX files of bytes, plain or compressed with gzip.
//!
//! An IDX file starts with two zero bytes, the type of its items (8 for bytes), the number of its
//! dimensions and each dimension as a big-endian 32-bit number; the items follow without gaps.
//!
//! The dimensions are checked against the expected ones before the items are read, and at most one
//! byte beyond the stated items is decompressed.

use std::io::Read;
use std::path::Path;

use crate::formats::error::{FileError, FileFault};
use crate::formats::file::DataFile;

/// Expected contents of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdxFormat {
    /// Description of the items, such as "MNIST training labels".
    pub(crate) what: &'static str,
    /// The dimensions of one item: none for a label, rows and columns for an image.
    pub(crate) item: &'static [u32],
    /// Maximum number of items.
    pub(crate) max: u32,
    /// Source of the canonical file.
    pub(crate) origin: &'static str,
}

/// The items of a file.
#[derive(Debug)]
pub(crate) struct IdxItems {
    /// The file from which they were read.
    pub(crate) file: DataFile,
    /// Number of items, at least one.
    pub(crate) count: usize,
    /// The items, concatenated.
    pub(crate) bytes: Vec<u8>,
}

/// Reads the first existing file among `names`, each as NAME or NAME.gz, in `directory`.
pub(crate) fn read(
    directory: &Path,
    names: &[&str],
    format: IdxFormat,
) -> Result<IdxItems, Box<FileError>> {
    let file = DataFile::require(directory, names, &format.description(), format.origin)?;
    let mut reader = file.open(u64::MAX)?;
    let (count, bytes) = format.read_from(&file, &mut reader)?;
    Ok(IdxItems { file, count, bytes })
}

impl IdxFormat {
    /// Reads the number of items and the items.
    pub(crate) fn read_from(
        &self,
        file: &DataFile,
        reader: &mut dyn Read,
    ) -> Result<(usize, Vec<u8>), Box<FileError>> {
        let count = self.read_header(file, reader)?;
        let item_len: u64 = self.item.iter().map(|&len| u64::from(len)).product();
        let expected = u64::from(count) * item_len;

        // One extra byte is requested. This detects trailing bytes, and makes the decompressor
        // verify its checksum.
        let bytes = file.read_at_most(reader, expected + 1, " in its items")?;
        let found = bytes.len() as u64;
        if found < expected {
            let found = format!("only {found} of the {expected} bytes of {count} items");
            return Err(file.error(FileFault::Truncated, found));
        }
        if found > expected {
            let found = format!("more than the {expected} bytes of {count} items");
            return Err(file.error(FileFault::Trailing, found));
        }
        Ok((count as usize, bytes))
    }

    /// Checks the header and returns the number of items.
    fn read_header(&self, file: &DataFile, reader: &mut dyn Read) -> Result<u32, Box<FileError>> {
        let magic = [0, 0, 8, 1 + self.item.len() as u8];
        let header_len = 8 + 4 * self.item.len();
        let header = file.read_at_most(reader, header_len as u64, " in its header")?;
        let start = &header[..header.len().min(4)];
        if !magic.starts_with(start) {
            let found = format!("first bytes {start:02x?} instead of {magic:02x?}");
            return Err(file.error(FileFault::Foreign, found));
        }
        if header.len() < header_len {
            let found = format!("only {} of the {header_len} bytes of the header", header.len());
            return Err(file.error(FileFault::Truncated, found));
        }
        let dimensions: Vec<u32> = header[4..]
            .chunks_exact(4)
            .map(|bytes| bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
            .collect();
        let count = dimensions[0];
        if dimensions[1..] != *self.item || !(1..=self.max).contains(&count) {
            let found = format!("a header with dimensions {dimensions:?}");
            return Err(file.error(FileFault::Dimensions, found));
        }
        Ok(count)
    }

    pub(crate) fn description(&self) -> String {
        let Self { what, item, max, .. } = self;
        let size = match item {
            [] => String::new(),
            item => {
                let sides: Vec<String> = item.iter().map(u32::to_string).collect();
                format!(" of {} bytes each", sides.join("x"))
            }
        };
        format!("an IDX file of 1 to {max} {what}{size}")
    }
}

#[cfg(test)]
#[path = "idx_tests.rs"]
mod tests;
