//! Markers, bits and Huffman codes of a JPEG file.

/// A position in the bytes of a file, with a buffer of bits that were read ahead.
#[derive(Default)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The next bits, starting at the most significant one. All bits after the first `count` are 0.
    buffer: u64,
    count: u32,
}

/// The data of a scan ended before its last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Moves past the next marker and returns its code; `None` at the end of the file.
    pub(super) fn next_marker(&mut self) -> Option<u8> {
        (self.buffer, self.count) = (0, 0);
        loop {
            let start = self.bytes.get(self.position..)?;
            self.position += start.iter().position(|&byte| byte == 0xff)? + 1;
            // Any number of fill bytes (0xff) may precede the code. A code of 0 means that the last
            // 0xff was data.
            while self.bytes.get(self.position) == Some(&0xff) {
                self.position += 1;
            }
            let code = *self.bytes.get(self.position)?;
            self.position += 1;
            if code != 0 {
                return Some(code);
            }
        }
    }

    /// Returns the contents of the segment that begins here, and moves past it.
    pub(super) fn segment(&mut self) -> Result<&'a [u8], String> {
        let cut = || "the file is truncated in a header".to_string();
        let rest = self.bytes.get(self.position..).ok_or_else(cut)?;
        let (length, _) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let segment = rest.get(2..length.max(2)).ok_or_else(cut)?;
        self.position += length.max(2);
        Ok(segment)
    }

    /// Reads ahead up to the next marker, or until the buffer is full.
    fn fill(&mut self) {
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.position) else { return };
            if byte == 0xff {
                if self.bytes.get(self.position + 1) != Some(&0) {
                    return;
                }
                self.position += 1;
            }
            self.position += 1;
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// Reads `count` bits, at most 16.
    pub(super) fn read(&mut self, count: u32) -> Result<u32, Exhausted> {
        if count == 0 {
            return Ok(0);
        }
        if self.count < count {
            self.fill();
        }
        let value = (self.buffer >> (64 - count)) as u32;
        self.skip(count)?;
        Ok(value)
    }

    /// Returns true if nothing is left except fill bytes of a marker.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.fill();
        self.count < 8 && self.bytes.iter().skip(self.position).all(|&byte| byte == 0xff)
    }

    fn skip(&mut self, count: u32) -> Result<(), Exhausted> {
        self.count = self.count.checked_sub(count).ok_or(Exhausted)?;
        self.buffer <<= count;
        Ok(())
    }

    /// Reads the next code, and returns its symbol.
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, Exhausted> {
        if self.count < 16 {
            self.fill();
        }
        let next = (self.buffer >> 48) as u32;
        for (length, row) in (1..).zip(&table.rows) {
            let code = next >> (16 - length);
            if code < row.end {
                self.skip(length)?;
                let index = row.first_symbol + (code - row.first_code) as usize;
                return table.symbols.get(index).copied().ok_or(Exhausted);
            }
        }
        // The bits match no code, so they do not belong to this scan.
        Err(Exhausted)
    }
}

/// A canonical Huffman code (T.81, annex C).
pub(super) struct Table {
    rows: [Row; 16],
    symbols: Vec<u8>,
}

/// The codes of one length.
#[derive(Clone, Copy, Default)]
struct Row {
    first_code: u32,
    /// One past the last code of this length; 0 for a length without codes.
    end: u32,
    first_symbol: usize,
}

impl Table {
    /// Reads a table, and returns it with the bytes after it.
    pub(super) fn read(segment: &[u8]) -> Option<(Self, &[u8])> {
        let (counts, rest) = segment.split_first_chunk::<16>()?;
        let total = counts.iter().map(|&count| usize::from(count)).sum();
        let (symbols, rest) = rest.split_at_checked(total)?;
        let mut rows = [Row::default(); 16];
        let (mut code, mut first_symbol) = (0_u32, 0);
        for (row, &count) in rows.iter_mut().zip(counts) {
            let count = u32::from(count);
            if count > 0 {
                *row = Row { first_code: code, end: code + count, first_symbol };
            }
            code = (code + count) << 1;
            first_symbol += count as usize;
        }
        // Rejects tables with more codes than fit into 16 bits.
        (code <= 2 << 16).then(|| (Self { rows, symbols: symbols.to_vec() }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_and_their_end_is_detected() {
        // Codes 00, 01, 100 for the symbols 7, 8, 9.
        let mut segment = [0; 19];
        (segment[1], segment[2]) = (2, 1);
        segment[16..].copy_from_slice(&[7, 8, 9]);
        let (table, rest) = Table::read(&segment).unwrap();
        assert!(rest.is_empty());
        let mut bits = Bits::new(&[0b0110_0000, 0xff, 0x00, 0xff, 0xd9]);
        assert_eq!(bits.symbol(&table), Ok(8));
        assert_eq!(bits.symbol(&table), Ok(9));
        assert_eq!(bits.read(3), Ok(0));
        assert_eq!(bits.read(8), Ok(0xff));
        assert_eq!(bits.read(1), Err(Exhausted));
        assert_eq!(bits.next_marker(), Some(0xd9));
        assert_eq!(bits.next_marker(), None);
    }
}
