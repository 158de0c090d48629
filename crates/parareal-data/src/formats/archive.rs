//! Tar archives, plain or compressed, read in memory.
//!
//! Entries are read in stored order and in raw form: nothing is written to disk, and no entry can
//! change the name or size of another one. An archive that would be unsafe to unpack (with absolute
//! paths, parent folders, links or devices) is rejected as a whole.

use std::io::{self, Read};

use tar::{Archive, Entry, EntryType, PaxExtensions};

use crate::formats::error::{FileError, FileFault};
use crate::formats::file::DataFile;

/// Maximum length of an extended header, in bytes.
const MAX_EXTENSION_BYTES: u64 = 64 << 10;

/// Callback for each regular file of an archive. It receives the path, separated by `/`, and the
/// contents, which it need not read to the end.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&str, &mut dyn Read) -> Result<(), Box<FileError>>;

/// Calls `visit` for the regular files of an archive in stored order.
pub(crate) fn read(
    file: &DataFile,
    reader: &mut dyn Read,
    visit: Visit<'_>,
) -> Result<(), Box<FileError>> {
    let mut archive = Archive::new(reader);
    let entries = archive.entries().map_err(|error| io_error(file, &error))?;
    // Without raw mode, names and sizes could come from other entries of any length.
    for entry in entries.raw(true) {
        read_entry(file, entry.map_err(|error| io_error(file, &error))?, visit)?;
    }
    // The padding is read too, so that the decompressor verifies its checksum.
    file.skip(&mut archive.into_inner(), " at its end")?;
    Ok(())
}

fn read_entry(
    file: &DataFile,
    mut entry: Entry<'_, impl Read>,
    visit: Visit<'_>,
) -> Result<(), Box<FileError>> {
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let Some(path) = normalized_path(&name) else {
        let found = format!("an entry `{}` that points outside the archive", name.escape_debug());
        return Err(file.error(FileFault::Escape, found));
    };
    let len = entry.size();
    match entry.header().entry_type() {
        EntryType::Directory => {}
        EntryType::Regular | EntryType::Continuous => {
            let mut contents = Counting { reader: &mut entry, count: 0 };
            visit(&path, &mut contents)?;
            file.skip(&mut contents, format_args!(" in `{}`", path.escape_debug()))?;
            let found = contents.count;
            if found < len {
                let found = format!("only {found} of the {len} bytes of `{}`", path.escape_debug());
                return Err(file.error(FileFault::Truncated, found));
            }
        }
        EntryType::XHeader | EntryType::XGlobalHeader => check_extension(file, &mut entry)?,
        EntryType::Link
        | EntryType::Symlink
        | EntryType::Char
        | EntryType::Block
        | EntryType::Fifo => {
            let found = format!("an entry `{}` that is a link or a device", path.escape_debug());
            return Err(file.error(FileFault::Escape, found));
        }
        other => {
            let kind = char::from(other.as_byte());
            let found = format!("an entry `{}` of unknown kind {kind:?}", path.escape_debug());
            return Err(file.error(FileFault::Foreign, found));
        }
    }
    Ok(())
}

/// Returns a relative path separated by `/`, without `.` and empty components; `None` for an
/// absolute path or one that contains `..`.
fn normalized_path(path: &str) -> Option<String> {
    let parts = || path.split(['/', '\\']);
    let drive = parts().next().is_some_and(|first| first.contains(':'));
    if drive || path.starts_with(['/', '\\']) || parts().any(|part| part == "..") {
        return None;
    }
    let parts: Vec<&str> = parts().filter(|part| !matches!(*part, "" | ".")).collect();
    Some(parts.join("/"))
}

/// Rejects extended headers that change the name, size or layout of another entry. Others, such as
/// modification times, are accepted.
fn check_extension(file: &DataFile, entry: &mut dyn Read) -> Result<(), Box<FileError>> {
    let place = " in an extended header";
    let bytes = file.read_at_most(entry, MAX_EXTENSION_BYTES + 1, place)?;
    let foreign = |found| Err(file.error(FileFault::Foreign, found));
    if bytes.len() as u64 > MAX_EXTENSION_BYTES {
        return foreign(format!("an extended header of more than {MAX_EXTENSION_BYTES} bytes"));
    }
    for extension in PaxExtensions::new(&bytes) {
        let extension = extension.map_err(|error| io_error(file, &error))?;
        let key = String::from_utf8_lossy(extension.key_bytes());
        if matches!(&*key, "path" | "linkpath" | "size") || key.starts_with("GNU.sparse.") {
            return foreign(format!(
                "an extended header that changes `{}` of another entry",
                key.escape_debug()
            ));
        }
    }
    Ok(())
}

/// Converts a read error. The tar reader reports its own errors as `Other`.
fn io_error(file: &DataFile, error: &io::Error) -> Box<FileError> {
    match error.kind() {
        io::ErrorKind::Other => {
            let text = error.to_string();
            file.error(FileFault::Foreign, format!("a damaged archive ({})", text.escape_debug()))
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
