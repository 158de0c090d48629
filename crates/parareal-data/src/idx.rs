//! Reading IDX files of bytes, plain or compressed with gzip.
//!
//! An IDX file starts with two zero bytes, the type of its items (8 for bytes), the number of its
//! dimensions and each dimension as a big-endian 32-bit number; the items follow without gaps.
//!
//! The files come from elsewhere, so nothing they say is trusted: the dimensions are checked
//! against what the data set allows before the items are read, and never more than one byte beyond
//! the announced items is unpacked. Memory grows with what a file truly delivers, not with what its
//! header promises.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{FileError, FileFault};

/// What a file of a data set must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdxFormat {
    /// The items in words, as in "MNIST training labels".
    pub(crate) what: &'static str,
    /// The dimensions of one item: none for a label, rows and columns for an image.
    pub(crate) item: &'static [u32],
    /// The greatest number of items.
    pub(crate) most: u32,
    /// Where the canonical file comes from.
    pub(crate) origin: &'static str,
}

/// The items of a file that has passed all checks.
#[derive(Debug)]
pub(crate) struct IdxItems {
    /// The file they were read from.
    pub(crate) path: PathBuf,
    /// Number of items, at least one.
    pub(crate) count: usize,
    /// The items, one after the other.
    pub(crate) bytes: Vec<u8>,
}

/// Reads the first file that exists among `names`, each as NAME or NAME.gz, in `directory`.
///
/// Whether a file is compressed is told from its first bytes, because downloads are now and then
/// unpacked on the way without losing the ending of their name.
pub(crate) fn read(
    directory: &Path,
    names: &[&str],
    format: IdxFormat,
) -> Result<IdxItems, Box<FileError>> {
    let mut missing = None;
    for name in names {
        for name in [(*name).to_owned(), format!("{name}.gz")] {
            let path = directory.join(name);
            let reader = FileReader { path: &path, format };
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => return reader.read(),
                Ok(_) => {
                    return Err(reader.error(FileFault::Unreadable, "something that is no file"));
                }
                Err(error) if is_absence(&error) => {
                    missing.get_or_insert(path);
                }
                Err(error) => return Err(reader.error(FileFault::Unreadable, error.to_string())),
            }
        }
    }
    let path = missing.unwrap_or_else(|| directory.to_owned());
    let mut error =
        FileReader { path: &path, format }.error(FileFault::Missing, "no such file in either form");
    error.expected += ", plain or with .gz added to its name";
    Err(error)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// One file with what it must be.
struct FileReader<'a> {
    path: &'a Path,
    format: IdxFormat,
}

impl FileReader<'_> {
    fn read(&self) -> Result<IdxItems, Box<FileError>> {
        let file = File::open(self.path).map_err(|error| self.io_error(&error, ""))?;
        let mut file = BufReader::new(file);
        let start = file.fill_buf().map_err(|error| self.io_error(&error, ""))?;
        if start.starts_with(&[0x1f, 0x8b]) {
            self.read_from(&mut MultiGzDecoder::new(file))
        } else {
            self.read_from(&mut file)
        }
    }

    fn read_from(&self, reader: &mut dyn Read) -> Result<IdxItems, Box<FileError>> {
        let count = self.read_header(reader)?;
        let item_len: u64 = self.format.item.iter().map(|&len| u64::from(len)).product();
        let expected = u64::from(count) * item_len;

        // The byte asked for beyond the last item shows whether anything follows, and lets the
        // decompressor compare its checksum.
        let bytes = self.read_at_most(reader, expected + 1, " in its items")?;
        let found = bytes.len() as u64;
        if found < expected {
            let found = format!("{found} of the {expected} bytes that {count} items take");
            return Err(self.error(FileFault::Truncated, found));
        }
        if found > expected {
            let found = format!("more bytes after the {expected} that {count} items take");
            return Err(self.error(FileFault::Trailing, found));
        }
        Ok(IdxItems { path: self.path.to_owned(), count: count as usize, bytes })
    }

    /// Checks the header and returns the number of items.
    fn read_header(&self, reader: &mut dyn Read) -> Result<u32, Box<FileError>> {
        let IdxFormat { item, most, .. } = self.format;
        let magic = self.magic();
        let header_len = 8 + 4 * item.len();
        let header = self.read_at_most(reader, header_len as u64, " in its header")?;
        let start = &header[..header.len().min(4)];
        if !magic.starts_with(start) {
            let found = format!("first bytes {start:02x?} instead of {magic:02x?}");
            return Err(self.error(FileFault::Foreign, found));
        }
        if header.len() < header_len {
            let found = format!("only {} of the {header_len} bytes of the header", header.len());
            return Err(self.error(FileFault::Truncated, found));
        }
        let dimensions: Vec<u32> = header[4..]
            .chunks_exact(4)
            .map(|bytes| bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
            .collect();
        let count = dimensions[0];
        if dimensions[1..] != *item || !(1..=most).contains(&count) {
            let found = format!("a header that states dimensions {dimensions:?}");
            return Err(self.error(FileFault::Dimensions, found));
        }
        Ok(count)
    }

    fn magic(&self) -> [u8; 4] {
        [0, 0, 8, 1 + self.format.item.len() as u8]
    }

    /// Reads to the end or to `limit` bytes, whichever comes first.
    fn read_at_most(
        &self,
        reader: &mut dyn Read,
        limit: u64,
        place: &str,
    ) -> Result<Vec<u8>, Box<FileError>> {
        let mut bytes = Vec::new();
        reader.take(limit).read_to_end(&mut bytes).map_err(|error| self.io_error(&error, place))?;
        Ok(bytes)
    }

    fn io_error(&self, error: &io::Error, place: &str) -> Box<FileError> {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.error(FileFault::Truncated, format!("compressed data cut off{place}"))
            }
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                let found = format!("damaged compressed data{place} ({error})");
                self.error(FileFault::Foreign, found)
            }
            _ => self.error(FileFault::Unreadable, format!("that it cannot be read ({error})")),
        }
    }

    fn error(&self, fault: FileFault, found: impl Into<String>) -> Box<FileError> {
        let IdxFormat { what, item, most, origin } = self.format;
        let size = match item {
            [] => String::new(),
            item => {
                let sides: Vec<String> = item.iter().map(u32::to_string).collect();
                format!(" of {} bytes each", sides.join("x"))
            }
        };
        Box::new(FileError {
            path: self.path.to_owned(),
            fault,
            expected: format!("an IDX file of 1 to {most} {what}{size}"),
            found: found.into(),
            origin,
        })
    }
}

#[cfg(test)]
#[path = "idx_tests.rs"]
mod tests;
