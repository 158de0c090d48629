//! Tests of the archive reader with valid, damaged and malicious archives.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::Header;
use tempfile::TempDir;

use super::*;

/// Returns an entry as stored in an archive.
fn entry(kind: EntryType, name: &str, contents: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(contents.len() as u64);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), contents].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, contents: &[u8]) -> Vec<u8> {
    entry(EntryType::Regular, name, contents)
}

/// Returns an archive of entries, which ends with two empty blocks.
fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

type Files = Vec<(String, Vec<u8>)>;

/// Returns the files of an archive, with a limit of 10,000 bytes.
fn files_in(bytes: &[u8]) -> Result<Files, Box<FileError>> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.tar");
    fs::write(&path, bytes).unwrap();
    let file = DataFile { path, expected: "an archive".into(), origin: "nowhere" };
    let mut files = Vec::new();
    let mut visit = |path: &str, reader: &mut dyn Read| {
        files.push((path.to_owned(), file.read_at_most(reader, u64::MAX, "")?));
        Ok(())
    };
    read(&file, &mut file.open(10_000)?, &mut visit)?;
    Ok(files)
}

/// Returns the fault of an archive, which must be the same plain and compressed. The messages must
/// be single lines.
fn fault(bytes: &[u8]) -> FileFault {
    let faults = [bytes.to_vec(), gzip(bytes)].map(|bytes| {
        let error = files_in(&bytes).unwrap_err();
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
        error.fault
    });
    assert_eq!(faults[0], faults[1]);
    faults[0]
}

/// Returns an archive of three files, with 3, 600 and 0 bytes.
fn whole() -> (Vec<u8>, Files) {
    let files = [("a/one", vec![1; 3]), ("a/two", vec![2; 600]), ("none", Vec::new())];
    let entries: Vec<Vec<u8>> = files.iter().map(|(name, contents)| file(name, contents)).collect();
    (archive(&entries), files.map(|(name, contents)| (name.to_owned(), contents)).to_vec())
}

#[test]
fn regular_files_are_visited_in_order() {
    let (bytes, files) = whole();
    assert_eq!(files_in(&bytes).unwrap(), files);
    assert_eq!(files_in(&gzip(&bytes)).unwrap(), files);
    let remark = b"22 mtime=1700000000.5\n".to_vec();
    let bytes = archive(&[
        entry(EntryType::XGlobalHeader, "pax_global_header", b"20 comment=a remark\n"),
        entry(EntryType::Directory, "./a/", b""),
        entry(EntryType::XHeader, "./PaxHeaders/a", &remark),
        file("./a//./one", &[1; 3]),
    ]);
    assert_eq!(files_in(&bytes).unwrap(), files[..1]);
    assert_eq!(files_in(&archive(&[])).unwrap(), []);
}

#[test]
fn entries_that_leave_their_folder_are_refused() {
    for name in ["../a", "a/../../b", "..", "/a", "a\\..\\b", "\\a", "C:\\a", "C:/a"] {
        assert_eq!(fault(&archive(&[file(name, b"x")])), FileFault::Escape, "{name}");
        let directory = entry(EntryType::Directory, name, b"");
        assert_eq!(fault(&archive(&[file("a", b"x"), directory])), FileFault::Escape, "{name}");
    }
    for kind in
        [EntryType::Link, EntryType::Symlink, EntryType::Char, EntryType::Block, EntryType::Fifo]
    {
        assert_eq!(fault(&archive(&[entry(kind, "a", b"")])), FileFault::Escape, "{kind:?}");
    }
}

#[test]
fn entries_that_change_others_are_refused() {
    for record in ["13 path=../a\n", "14 linkpath=a\n", "11 size=99\n", "22 GNU.sparse.major=1\n"] {
        let bytes = archive(&[entry(EntryType::XHeader, "x", record.as_bytes()), file("a", b"")]);
        assert_eq!(fault(&bytes), FileFault::Foreign, "{record}");
        let text = files_in(&bytes).unwrap_err().to_string();
        assert!(text.contains("of another entry"), "{text}");
    }
    for (kind, contents) in [
        (EntryType::XHeader, &b"no record"[..]),
        (EntryType::GNULongName, b"../a\0"),
        (EntryType::GNULongLink, b"../a\0"),
        (EntryType::GNUSparse, b""),
        (EntryType::new(b'V'), b""),
        (EntryType::new(b'\n'), b""),
    ] {
        assert_eq!(fault(&archive(&[entry(kind, "a", contents)])), FileFault::Foreign, "{kind:?}");
    }
}

#[test]
fn every_truncation_is_detected() {
    let (bytes, _) = whole();
    // A plain archive may end between entries, so its reader has to detect missing files.
    for len in 1..512 + 3 {
        let error = files_in(&bytes[..len]).unwrap_err();
        assert!(matches!(error.fault, FileFault::Truncated | FileFault::Foreign), "{len}: {error}");
    }
    for len in 2 * 512 + 512..2 * 512 + 512 + 600 {
        assert_eq!(files_in(&bytes[..len]).unwrap_err().fault, FileFault::Truncated, "at {len}");
    }
    let compressed = gzip(&bytes);
    for len in 2..compressed.len() {
        let error = files_in(&compressed[..len]).unwrap_err();
        assert_eq!(error.fault, FileFault::Truncated, "at {len}: {error}");
    }
}

#[test]
fn damage_is_refused_or_does_no_harm() {
    let (bytes, files) = whole();
    let compressed = gzip(&bytes);
    for bit in 0..8 * compressed.len() {
        let mut damaged = compressed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match files_in(&damaged) {
            Ok(found) => assert_eq!(found, files, "damage at byte {}", bit / 8),
            Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
        }
    }
    // In an uncompressed archive, the checksum of the header reveals damage.
    for place in 0..512 {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert_eq!(fault(&damaged), FileFault::Foreign, "damage at byte {place}");
    }
}

#[test]
fn sizes_without_bytes_are_refused() {
    for (size, expected) in [
        (1_u64 << 12, FileFault::Truncated),
        (1 << 42, FileFault::Truncated),
        (u64::MAX - 1, FileFault::Foreign),
    ] {
        let mut header = Header::new_ustar();
        header.set_path("a").unwrap();
        header.set_size(size);
        header.set_cksum();
        let bytes = [&header.as_bytes()[..], b"only this"].concat();
        assert_eq!(fault(&bytes), expected, "{size}");
    }
}

#[test]
fn a_compression_bomb_is_unpacked_up_to_the_limit() {
    let (bytes, _) = whole();
    let bomb = gzip(&[bytes, vec![0; 64 << 20]].concat());
    assert!(bomb.len() < 100_000);
    assert_eq!(files_in(&bomb).unwrap_err().fault, FileFault::TooLarge);
    let bomb = gzip(&archive(&[file("a", &vec![0; 1 << 20])]));
    assert_eq!(files_in(&bomb).unwrap_err().fault, FileFault::TooLarge);
}
