//! Finding, opening and reading untrusted files.
//!
//! Sizes stated in a header are checked against limits before anything is read. Memory grows with
//! the bytes that are read, not with the sizes that a header states. Decompression stops at a
//! limit.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::formats::error::{FileError, FileFault};

/// Buffer size in bytes.
const BUFFER: usize = 64 << 10;

/// A file with its expected contents.
#[derive(Clone, Debug)]
pub(crate) struct DataFile {
    /// Path of the file.
    pub(crate) path: PathBuf,
    /// Description of the expected contents.
    pub(crate) expected: String,
    /// Source of the canonical file: authors, title and address.
    pub(crate) origin: &'static str,
}

impl DataFile {
    /// Finds the first existing file among `names`, each as NAME or NAME.gz, in `directory`.
    ///
    /// # Errors
    ///
    /// [`FileFault::Unreadable`] if something other than a regular file has one of the names.
    pub(crate) fn find(
        directory: &Path,
        names: &[&str],
        expected: &str,
        origin: &'static str,
    ) -> Result<Option<Self>, Box<FileError>> {
        for name in names {
            for ending in ["", ".gz"] {
                let path = directory.join(format!("{name}{ending}"));
                let file = Self { path, expected: expected.to_owned(), origin };
                match fs::metadata(&file.path) {
                    Ok(metadata) if metadata.is_file() => return Ok(Some(file)),
                    Ok(_) => {
                        let found = "something that is not a regular file";
                        return Err(file.error(FileFault::Unreadable, found));
                    }
                    Err(error) if is_absence(&error) => {}
                    Err(error) => return Err(file.io_error(&error, "")),
                }
            }
        }
        Ok(None)
    }

    /// Finds a file like [`find`](Self::find).
    ///
    /// # Errors
    ///
    /// The errors of [`find`](Self::find), and [`FileFault::Missing`] for the first name if no file
    /// exists.
    pub(crate) fn require(
        directory: &Path,
        names: &[&str],
        expected: &str,
        origin: &'static str,
    ) -> Result<Self, Box<FileError>> {
        Self::find(directory, names, expected, origin)?.ok_or_else(|| {
            let path = directory.join(names.first().unwrap_or(&""));
            let expected = format!("{expected}, plain or gzip-compressed (.gz)");
            Self { path, expected, origin }.error(FileFault::Missing, "no such file in either form")
        })
    }

    /// Returns the same file with other expected contents, for example the contents of an archive
    /// entry.
    pub(crate) fn with_expected(&self, expected: String) -> Self {
        Self { expected, ..self.clone() }
    }

    /// Opens the file, and decompresses it if it is compressed. The reader reports an error if
    /// there are more than `limit` bytes of decompressed contents.
    ///
    /// Compression is detected from the first bytes and not from the name, because some clients
    /// decompress a download without changing its name.
    pub(crate) fn open(&self, limit: u64) -> Result<Box<dyn BufRead>, Box<FileError>> {
        let file = File::open(&self.path).map_err(|error| self.io_error(&error, ""))?;
        self.unpacked(BufReader::with_capacity(BUFFER, file), limit)
    }

    /// Like [`open`](Self::open), but for the given contents of the file.
    pub(crate) fn unpacked<'a>(
        &self,
        mut contents: impl BufRead + 'a,
        limit: u64,
    ) -> Result<Box<dyn BufRead + 'a>, Box<FileError>> {
        let start = contents.fill_buf().map_err(|error| self.io_error(&error, ""))?;
        let unpacked: Box<dyn Read + 'a> = if start.starts_with(&[0x1f, 0x8b]) {
            Box::new(MultiGzDecoder::new(contents))
        } else {
            Box::new(contents)
        };
        Ok(Box::new(BufReader::with_capacity(BUFFER, Bounded { reader: unpacked, left: limit })))
    }

    /// Fills `buffer` up to the end of the reader, and returns the number of bytes read.
    ///
    /// `place` completes the message about damage, as in `" in its header"`.
    pub(crate) fn read_full(
        &self,
        reader: &mut dyn Read,
        buffer: &mut [u8],
        place: impl Display,
    ) -> Result<usize, Box<FileError>> {
        let mut filled = 0;
        while filled < buffer.len() {
            match reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io_error(&error, place)),
            }
        }
        Ok(filled)
    }

    /// Reads to the end or to `limit` bytes, whichever comes first.
    pub(crate) fn read_at_most(
        &self,
        reader: &mut dyn Read,
        limit: u64,
        place: impl Display,
    ) -> Result<Vec<u8>, Box<FileError>> {
        let mut bytes = Vec::new();
        reader.take(limit).read_to_end(&mut bytes).map_err(|error| self.io_error(&error, place))?;
        Ok(bytes)
    }

    /// Reads to the end, discards the bytes and returns their number.
    pub(crate) fn skip(
        &self,
        reader: &mut dyn Read,
        place: impl Display,
    ) -> Result<u64, Box<FileError>> {
        io::copy(reader, &mut io::sink()).map_err(|error| self.io_error(&error, place))
    }

    /// Converts a read error.
    pub(crate) fn io_error(&self, error: &io::Error, place: impl Display) -> Box<FileError> {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.error(FileFault::Truncated, format!("truncated compressed data{place}"))
            }
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                let found = format!("damaged compressed data{place} ({error})");
                self.error(FileFault::Foreign, found)
            }
            io::ErrorKind::FileTooLarge => {
                self.error(FileFault::TooLarge, "more bytes than such a file can have")
            }
            _ => self.error(FileFault::Unreadable, format!("an unreadable file ({error})")),
        }
    }

    /// Creates the error for a file that has `found` instead of the expected contents.
    pub(crate) fn error(&self, fault: FileFault, found: impl Into<String>) -> Box<FileError> {
        let Self { path, expected, origin } = self.clone();
        Box::new(FileError { path, fault, expected, found: found.into(), origin })
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A reader of at most `left` bytes. It reports an error of kind `FileTooLarge` if there are more.
struct Bounded<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            return match self.reader.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::ErrorKind::FileTooLarge.into()),
            };
        }
        let max = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.reader.read(&mut buffer[..max])?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_reached_and_not_passed() {
        let read = |len: usize| {
            let bytes = vec![7; len];
            let mut all = Vec::new();
            Bounded { reader: &bytes[..], left: 3 }.read_to_end(&mut all).map(|_| all)
        };
        assert_eq!(read(2).unwrap(), [7; 2]);
        assert_eq!(read(3).unwrap(), [7; 3]);
        assert_eq!(read(4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
