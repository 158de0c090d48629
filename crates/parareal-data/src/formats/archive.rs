//! Reading the files in a tar archive, plain or compressed, without unpacking it.
//!
//! Entries are looked at one after the other as they stand: nothing is written, and no entry is
//! renamed or enlarged by another one. An archive that could do harm if somebody unpacked it (by
//! absolute paths, paths that go up, links, devices) is refused as a whole.

use std::io::{self, Read};

use tar::{Archive, Entry, EntryType, PaxExtensions};

use crate::formats::error::{FileError, FileFault};
use crate::formats::file::DataFile;

/// The most bytes of an entry that describes others.
const MOST_EXTENSION_BYTES: u64 = 64 << 10;

/// What is done with each regular file of an archive: its path, with `/` between parts, and its
/// contents, which need not be read to the end.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&str, &mut dyn Read) -> Result<(), Box<FileError>>;

/// Visits the regular files of an archive in stored order, as the reader gives it.
pub(crate) fn read(
    file: &DataFile,
    reader: &mut dyn Read,
    visit: Visit<'_>,
) -> Result<(), Box<FileError>> {
    let mut archive = Archive::new(reader);
    let entries = archive.entries().map_err(|error| io_error(file, &error))?;
    // Raw entries are those of the archive itself: otherwise names and sizes would come from other
    // entries, which may be of any length.
    for entry in entries.raw(true) {
        read_entry(file, entry.map_err(|error| io_error(file, &error))?, visit)?;
    }
    // What fills up the archive is read too, so that the decompressor compares its checksum.
    file.skip(&mut archive.into_inner(), " at its end")?;
    Ok(())
}

fn read_entry(
    file: &DataFile,
    mut entry: Entry<'_, impl Read>,
    visit: Visit<'_>,
) -> Result<(), Box<FileError>> {
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let Some(path) = tidied(&name) else {
        let found = format!("an entry {name:?}, which would leave the folder of the archive");
        return Err(file.error(FileFault::Escape, found));
    };
    let len = entry.size();
    match entry.header().entry_type() {
        EntryType::Directory => {}
        EntryType::Regular | EntryType::Continuous => {
            let mut contents = Counting { reader: &mut entry, count: 0 };
            visit(&path, &mut contents)?;
            file.skip(&mut contents, format_args!(" in {path:?}"))?;
            let found = contents.count;
            if found < len {
                let found = format!("{found} of the {len} bytes of {path:?}, where it ends");
                return Err(file.error(FileFault::Truncated, found));
            }
        }
        EntryType::XHeader | EntryType::XGlobalHeader => check_extension(file, &mut entry)?,
        EntryType::Link
        | EntryType::Symlink
        | EntryType::Char
        | EntryType::Block
        | EntryType::Fifo => {
            let found = format!("an entry {path:?} that is a link or a device");
            return Err(file.error(FileFault::Escape, found));
        }
        other => {
            let kind = char::from(other.as_byte());
            let found = format!("an entry {path:?} of the unknown kind {kind:?}");
            return Err(file.error(FileFault::Foreign, found));
        }
    }
    Ok(())
}

/// The parts of a path that stays where it starts, with `/` between them; none for another one.
fn tidied(path: &str) -> Option<String> {
    let parts = || path.split(['/', '\\']);
    let drive = parts().next().is_some_and(|first| first.contains(':'));
    if drive || path.starts_with(['/', '\\']) || parts().any(|part| part == "..") {
        return None;
    }
    let parts: Vec<&str> = parts().filter(|part| !matches!(*part, "" | ".")).collect();
    Some(parts.join("/"))
}

/// Refuses extended headers that give another entry a new name, size or shape: only remarks like
/// times of change pass.
fn check_extension(file: &DataFile, entry: &mut dyn Read) -> Result<(), Box<FileError>> {
    let place = " in an extended header";
    let bytes = file.read_at_most(entry, MOST_EXTENSION_BYTES + 1, place)?;
    let foreign = |found| Err(file.error(FileFault::Foreign, found));
    if bytes.len() as u64 > MOST_EXTENSION_BYTES {
        return foreign(format!("an extended header of more than {MOST_EXTENSION_BYTES} bytes"));
    }
    for extension in PaxExtensions::new(&bytes) {
        let extension = extension.map_err(|error| io_error(file, &error))?;
        let key = String::from_utf8_lossy(extension.key_bytes());
        if matches!(&*key, "path" | "linkpath" | "size") || key.starts_with("GNU.sparse.") {
            return foreign(format!("an extended header that changes {key:?} of another entry"));
        }
    }
    Ok(())
}

/// What an error of reading means; the reader of archives reports its own as `Other`.
fn io_error(file: &DataFile, error: &io::Error) -> Box<FileError> {
    match error.kind() {
        io::ErrorKind::Other => {
            let text = error.to_string();
            file.error(FileFault::Foreign, format!("a damaged archive ({text:?})"))
        }
        _ => file.io_error(error, " in the archive"),
    }
}

/// Counts the bytes that are read.
struct Counting<R> {
    reader: R,
    count: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
