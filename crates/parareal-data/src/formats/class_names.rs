//! Files of class names: text with one name per line.

use std::io::Read;

use parareal_text::without_byte_order_mark;

use crate::formats::error::{FileError, FileFault};
use crate::formats::file::DataFile;

/// Maximum length of a file of class names, in bytes.
pub(crate) const MAX_BYTES: u64 = 64 << 10;

/// Maximum length of a name, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// Describes the expected file.
pub(crate) fn description(classes: usize) -> String {
    format!("{classes} lines, each with the name of a class")
}

/// Reads one name per line; empty lines are ignored.
pub(crate) fn read(
    file: &DataFile,
    reader: &mut dyn Read,
    classes: usize,
) -> Result<Vec<String>, Box<FileError>> {
    let bytes = file.read_at_most(reader, MAX_BYTES + 1, "")?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(file.error(FileFault::TooLarge, format!("more than {MAX_BYTES} bytes")));
    }
    let text = str::from_utf8(without_byte_order_mark(&bytes))
        .map_err(|_| file.error(FileFault::Foreign, "bytes that are not UTF-8 text"))?;
    let names: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let Some(name) =
        names.iter().find(|name| name.len() > MAX_NAME_BYTES || name.contains(char::is_control))
    {
        let start: String = name.chars().take(20).collect();
        let found = format!("a line that is not a name ({start:?}..)");
        return Err(file.error(FileFault::Foreign, found));
    }
    if names.len() != classes {
        return Err(file.error(FileFault::Count, format!("{} names", names.len())));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(mut text: &[u8]) -> Result<Vec<String>, FileFault> {
        let file =
            DataFile { path: "names.txt".into(), expected: description(2), origin: "somewhere" };
        read(&file, &mut text, 2).map_err(|error| {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
            error.fault
        })
    }

    #[test]
    fn names_are_lines() {
        assert_eq!(read_text(b"cat\r\nsea horse\r\n\r\n").unwrap(), ["cat", "sea horse"]);
        assert_eq!(read_text("\u{feff}cat\nhorse\n".as_bytes()).unwrap(), ["cat", "horse"]);
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(read_text(b"cat\n"), Err(FileFault::Count));
        assert_eq!(read_text(b""), Err(FileFault::Count));
        assert_eq!(read_text(b"cat\nd\x1b[31mog\n"), Err(FileFault::Foreign));
        assert_eq!(read_text(b"cat\n\xff\n"), Err(FileFault::Foreign));
        assert_eq!(read_text(&[b'a'; 101]), Err(FileFault::Foreign));
        assert_eq!(read_text(&[b'\n'; 70_000]), Err(FileFault::TooLarge));
    }
}
