//! Numeric arrays in MATLAB files of version 5, which MATLAB saves with `-v6` (uncompressed) or
//! `-v7` (compressed).
//!
//! A file is a header of 128 bytes and one element for each variable. An element is a tag (its kind
//! and its length, 32 bits each) and its contents. The element of an array consists of other
//! elements: flags, dimensions, name, numbers. These are padded to a multiple of eight bytes. An
//! element of up to four bytes may be packed into its tag, whose first half then holds the length
//! and the kind in 16 bits each. A compressed variable is an element whose contents are the element
//! of an array, compressed with zlib.
//!
//! Numbers are passed to a callback as a stream and are not stored here. Lengths are checked
//! against the length of the enclosing element before anything is read.

use std::io::{self, BufRead, Read};

use flate2::bufread::ZlibDecoder;

use crate::formats::error::{FileError, FileFault};
use crate::formats::file::DataFile;

/// Length of a file's header in bytes.
const HEADER_LEN: usize = 128;

/// Kinds of elements other than numbers.
const ARRAY: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF_8: u32 = 16;

/// Classes of arrays of numbers: doubles, singles, then integers.
const CLASSES_OF_NUMBERS: std::ops::RangeInclusive<u8> = 6..=15;

/// Maximum number of dimensions and maximum length of a name.
const MAX_DIMENSIONS: u32 = 32;
const MAX_NAME_BYTES: u32 = 64;

/// The flag of an array of complex numbers.
const COMPLEX: u8 = 0x08;

/// The storage type of a number; the values are the kinds of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Int8 = 1,
    UInt8 = 2,
    Int16 = 3,
    UInt16 = 4,
    Int32 = 5,
    UInt32 = 6,
    Single = 7,
    Double = 9,
    Int64 = 12,
    UInt64 = 13,
}

/// Byte order of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    LittleEndian,
    BigEndian,
}

/// An array of real numbers in a file. The numbers have not been read yet.
pub(crate) struct Array<'a> {
    pub(crate) name: String,
    /// The length in each dimension; the first one changes fastest.
    pub(crate) dimensions: Vec<u32>,
    pub(crate) storage: Storage,
    pub(crate) order: ByteOrder,
    /// Length of the numbers in bytes.
    pub(crate) len: u64,
    file: &'a DataFile,
    numbers: &'a mut dyn Read,
    left: u64,
}

/// Callback for each array. It reads all numbers of the array or none.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&mut Array<'_>) -> Result<(), Box<FileError>>;

/// Calls `visit` for the arrays of real numbers in a file; other variables are skipped.
pub(crate) fn read(
    file: &DataFile,
    reader: &mut dyn BufRead,
    visit: Visit<'_>,
) -> Result<(), Box<FileError>> {
    let order = read_header(file, reader)?;
    let elements = Elements { file, order };
    loop {
        let mut bytes = [0; 8];
        match file.read_full(reader, &mut bytes, " between its variables")? {
            0 => return Ok(()),
            8 => {}
            found => {
                let found = format!("{found} bytes after its last complete variable");
                return Err(file.error(FileFault::Truncated, found));
            }
        }
        let (kind, len) = order.pair(bytes);
        let mut element = (&mut *reader).take(u64::from(len));
        match kind {
            ARRAY => {
                elements.read_array(&mut element, visit)?;
            }
            COMPRESSED => elements.read_compressed(&mut element, visit)?,
            _ => return Err(elements.foreign(format!("a variable of unknown kind {kind}"))),
        }
        file.skip(&mut element, " after a variable")?;
        if element.limit() > 0 {
            let found = format!("a variable without its last {} bytes", element.limit());
            return Err(file.error(FileFault::Truncated, found));
        }
    }
}

/// Checks the header and returns the byte order.
fn read_header(file: &DataFile, reader: &mut dyn Read) -> Result<ByteOrder, Box<FileError>> {
    let mut header = [0; HEADER_LEN];
    let found = file.read_full(reader, &mut header, " in its header")?;
    if found < HEADER_LEN {
        let found = format!("only {found} of the {HEADER_LEN} bytes of the header");
        return Err(file.error(FileFault::Truncated, found));
    }
    // The version is 0x0100 and the mark is 0x4d49. In little-endian files, both have their bytes
    // swapped.
    match header[124..] {
        [0x00, 0x01, b'I', b'M'] => Ok(ByteOrder::LittleEndian),
        [0x01, 0x00, b'M', b'I'] => Ok(ByteOrder::BigEndian),
        [0x00, 0x02, b'I', b'M'] | [0x02, 0x00, b'M', b'I'] => {
            let found = "a MATLAB file of version 7.3 (save it again with -v7)";
            Err(file.error(FileFault::Foreign, found))
        }
        _ => Err(file.error(FileFault::Foreign, "no header of a MATLAB file")),
    }
}

/// The reader of the elements of one file.
#[derive(Clone, Copy)]
struct Elements<'a> {
    file: &'a DataFile,
    order: ByteOrder,
}

/// The tag of an element, with its contents if they are packed into it.
struct Tag {
    kind: u32,
    len: u32,
    packed: Option<[u8; 4]>,
}

impl Elements<'_> {
    fn read_compressed(
        &self,
        element: &mut dyn BufRead,
        visit: Visit<'_>,
    ) -> Result<(), Box<FileError>> {
        let mut unpacked = ZlibDecoder::new(element);
        let mut bytes = [0; 8];
        self.fill(&mut unpacked, &mut bytes)?;
        let (kind, len) = self.order.pair(bytes);
        if kind != ARRAY {
            return Err(self.foreign(format!("a compressed variable of kind {kind}")));
        }
        let mut array = (&mut unpacked).take(u64::from(len));
        if self.read_array(&mut array, visit)? {
            // Reading to the end makes the decompressor verify its checksum.
            self.file.skip(&mut array, " after an array")?;
            if self.file.read_full(&mut unpacked, &mut [0], " after an array")? > 0 {
                return Err(self.foreign("more compressed bytes after an array"));
            }
        }
        Ok(())
    }

    /// Reads the contents of an array element. Returns true if the numbers were read; fewer than
    /// eight bytes of the element are then left.
    fn read_array<R: Read>(
        &self,
        element: &mut io::Take<R>,
        visit: Visit<'_>,
    ) -> Result<bool, Box<FileError>> {
        let flags = self.read_part(element, &[Storage::UInt32 as u32], 8)?;
        let &[first, second, third, fourth, ..] = flags.as_slice() else {
            return Err(self.foreign(format!("an array with {} bytes of flags", flags.len())));
        };
        let [_, _, flags, class] = self.order.word([first, second, third, fourth]).to_be_bytes();
        if !CLASSES_OF_NUMBERS.contains(&class) || flags & COMPLEX != 0 {
            return Ok(false);
        }
        let dimensions = self.read_part(element, &[Storage::Int32 as u32], 4 * MAX_DIMENSIONS)?;
        if !dimensions.len().is_multiple_of(4) {
            return Err(self.foreign(format!("{} bytes of dimensions", dimensions.len())));
        }
        let word = |bytes: &[u8]| self.order.word([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let dimensions = dimensions.chunks_exact(4).map(word).collect();
        let name = self.read_part(element, &[Storage::Int8 as u32, UTF_8], MAX_NAME_BYTES)?;

        let Tag { kind, len, packed } = self.read_tag(element)?;
        let Some(storage) = Storage::of_kind(kind) else {
            return Err(self.foreign(format!("numbers of unknown kind {kind}")));
        };
        if packed.is_none() && u64::from(len) > element.limit() {
            let left = element.limit();
            let found = format!("{len} bytes of numbers in an array with {left} bytes left");
            return Err(self.foreign(found));
        }
        let mut packed = packed.as_ref().map(|bytes| &bytes[..len as usize]);
        let numbers: &mut dyn Read = match &mut packed {
            Some(bytes) => bytes,
            None => &mut *element,
        };
        let len = u64::from(len);
        let name = String::from_utf8_lossy(&name).into_owned();
        let Self { file, order } = *self;
        let mut array = Array { name, dimensions, storage, order, len, file, numbers, left: len };
        visit(&mut array)?;
        if array.left > 0 || len == 0 {
            return Ok(false);
        }
        if element.limit() >= 8 {
            let left = element.limit();
            return Err(self.foreign(format!("{left} bytes after the numbers of an array")));
        }
        Ok(true)
    }

    /// Reads an element of one of the given kinds with at most `max` bytes, and skips its padding.
    fn read_part<R: Read>(
        &self,
        element: &mut io::Take<R>,
        kinds: &[u32],
        max: u32,
    ) -> Result<Vec<u8>, Box<FileError>> {
        let Tag { kind, len, packed } = self.read_tag(element)?;
        if !kinds.contains(&kind) || len > max {
            let found = format!(
                "{len} bytes of kind {kind} in an array instead of at most {max} of {kinds:?}"
            );
            return Err(self.foreign(found));
        }
        let mut bytes = packed.map_or_else(Vec::new, Vec::from);
        if packed.is_none() {
            bytes.resize(len.next_multiple_of(8) as usize, 0);
            self.fill(element, &mut bytes)?;
        }
        bytes.truncate(len as usize);
        Ok(bytes)
    }

    fn read_tag(&self, reader: &mut dyn Read) -> Result<Tag, Box<FileError>> {
        let mut bytes = [0; 8];
        self.fill(reader, &mut bytes)?;
        let (kind, len) = self.order.pair(bytes);
        let [.., a, b, c, d] = bytes;
        match kind >> 16 {
            0 => Ok(Tag { kind, len, packed: None }),
            len @ 1..=4 => Ok(Tag { kind: kind & 0xffff, len, packed: Some([a, b, c, d]) }),
            len => Err(self.foreign(format!("a packed element of {len} bytes"))),
        }
    }

    /// Fills `bytes`, or returns an error if the file ends too early.
    fn fill(&self, reader: &mut dyn Read, bytes: &mut [u8]) -> Result<(), Box<FileError>> {
        fill(self.file, reader, bytes)
    }

    fn foreign(&self, found: impl Into<String>) -> Box<FileError> {
        self.file.error(FileFault::Foreign, found)
    }
}

fn fill(file: &DataFile, reader: &mut dyn Read, bytes: &mut [u8]) -> Result<(), Box<FileError>> {
    if file.read_full(reader, bytes, " in a variable")? < bytes.len() {
        return Err(file.error(FileFault::Truncated, "a truncated variable"));
    }
    Ok(())
}

impl Array<'_> {
    /// Fills `bytes` with the next bytes of the numbers.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Box<FileError>> {
        self.left = match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => left,
            None => {
                let found = format!("only {} bytes of numbers", self.len);
                return Err(self.file.error(FileFault::Foreign, found));
            }
        };
        fill(self.file, self.numbers, bytes)
    }
}

impl ByteOrder {
    fn word(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::LittleEndian => u32::from_le_bytes(bytes),
            Self::BigEndian => u32::from_be_bytes(bytes),
        }
    }

    /// Returns the two 32-bit numbers of a tag.
    fn pair(self, [a, b, c, d, e, f, g, h]: [u8; 8]) -> (u32, u32) {
        (self.word([a, b, c, d]), self.word([e, f, g, h]))
    }
}

impl Storage {
    fn of_kind(kind: u32) -> Option<Self> {
        use Storage::*;
        [Int8, UInt8, Int16, UInt16, Int32, UInt32, Single, Double, Int64, UInt64]
            .into_iter()
            .find(|storage| *storage as u32 == kind)
    }

    /// Size of a number in bytes.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Int8 | Self::UInt8 => 1,
            Self::Int16 | Self::UInt16 => 2,
            Self::Int32 | Self::UInt32 | Self::Single => 4,
            Self::Double | Self::Int64 | Self::UInt64 => 8,
        }
    }

    /// Converts [`size`](Self::size) bytes to a number. Integers beyond 2^53 may be rounded.
    pub(crate) fn number(self, bytes: &[u8], order: ByteOrder) -> f64 {
        // All integers are widened to 128 bits, low bytes first. The last byte determines the sign.
        let mut low_first = [0; 16];
        let size = bytes.len().min(8);
        low_first[..size].copy_from_slice(&bytes[..size]);
        if order == ByteOrder::BigEndian {
            low_first[..size].reverse();
        }
        let unsigned = u128::from_le_bytes(low_first);
        let unused = 128 - 8 * size as u32;
        let signed = (unsigned << (unused % 128)) as i128 >> (unused % 128);
        match self {
            Self::UInt8 | Self::UInt16 | Self::UInt32 | Self::UInt64 => unsigned as f64,
            Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64 => signed as f64,
            Self::Single => f32::from_bits(unsigned as u32).into(),
            Self::Double => f64::from_bits(unsigned as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_kinds_are_read_in_both_orders() {
        let known: [(Storage, &[u8], f64); 14] = [
            (Storage::Int8, &(-3_i8).to_le_bytes(), -3.0),
            (Storage::UInt8, &[253], 253.0),
            (Storage::Int16, &(-300_i16).to_le_bytes(), -300.0),
            (Storage::UInt16, &65_000_u16.to_le_bytes(), 65_000.0),
            (Storage::Int32, &(-70_000_i32).to_le_bytes(), -70_000.0),
            (Storage::UInt32, &u32::MAX.to_le_bytes(), 4_294_967_295.0),
            (Storage::Single, &1.5_f32.to_le_bytes(), 1.5),
            (Storage::Single, &(-2.25_f32).to_le_bytes(), -2.25),
            (Storage::Double, &10.0_f64.to_le_bytes(), 10.0),
            (Storage::Double, &(-1e300_f64).to_le_bytes(), -1e300),
            (Storage::Int64, &i64::MIN.to_le_bytes(), -9_223_372_036_854_775_808.0),
            (Storage::Int64, &7_i64.to_le_bytes(), 7.0),
            (Storage::UInt64, &(1_u64 << 63).to_le_bytes(), 9_223_372_036_854_775_808.0),
            (Storage::UInt64, &10_u64.to_le_bytes(), 10.0),
        ];
        for (storage, bytes, number) in known {
            assert_eq!(bytes.len(), storage.size());
            assert_eq!(Storage::of_kind(storage as u32), Some(storage));
            assert_eq!(storage.number(bytes, ByteOrder::LittleEndian), number, "{storage:?}");
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            assert_eq!(storage.number(&reversed, ByteOrder::BigEndian), number, "{storage:?}");
        }
        assert_eq!(Storage::of_kind(8), None);
    }
}
