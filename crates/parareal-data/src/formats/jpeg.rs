//! Completeness check for JPEG files.
//!
//! Decoders fill missing parts of a file with gray and report success. [`check`] parses all scans
//! as specified in ITU-T T.81 (sections F and G), decodes the Huffman codes but no pixels, and
//! verifies that every block of every scan is present. Files that the decoder does not support pass
//! the check, and the decoder rejects them.

mod bits;
mod scan;

use bits::{Bits, Table};
use scan::{Component, Frame, Selector};

use crate::formats::size_limit::SizeLimit;

/// Maximum number of components of a frame.
const MAX_COMPONENTS: usize = 4;
/// Maximum number of scans. It limits the work, since a scan of a few bytes may cover all blocks.
const MAX_SCANS: usize = 1000;

/// Checks that a JPEG file is complete; a missing end-of-image marker alone is accepted.
///
/// Images beyond the limit are rejected before memory is allocated for their blocks.
pub(crate) fn check(bytes: &[u8], limit: SizeLimit) -> Result<(), String> {
    let mut walk = Walk::new(bytes, limit);
    while let Some(marker) = walk.bits.next_marker() {
        match walk.segment(marker)? {
            Next::Marker => {}
            Next::End => return walk.finish(true),
            Next::Unsupported => return Ok(()),
        }
    }
    walk.finish(false)
}

/// A pass over the segments of a file.
struct Walk<'a> {
    bits: Bits<'a>,
    limit: SizeLimit,
    frame: Option<Frame>,
    dc: [Option<Table>; MAX_COMPONENTS],
    ac: [Option<Table>; MAX_COMPONENTS],
    restart_interval: usize,
    scans: usize,
    /// True if the file ends with the last block of the last scan.
    ends_with_scan: bool,
}

/// The next action after a segment.
enum Next {
    Marker,
    End,
    /// A kind of file that the decoder does not support.
    Unsupported,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8], limit: SizeLimit) -> Self {
        Self {
            bits: Bits::new(bytes),
            limit,
            frame: None,
            dc: Default::default(),
            ac: Default::default(),
            restart_interval: 0,
            scans: 0,
            ends_with_scan: false,
        }
    }

    fn segment(&mut self, marker: u8) -> Result<Next, String> {
        match marker {
            // Start of image, restart, and a reserved marker.
            0x01 | 0xd0..=0xd8 => {}
            0xd9 => return Ok(Next::End),
            0xc0..=0xc2 => match self.start_of_frame(marker)? {
                Some(frame) => self.frame = Some(frame),
                None => return Ok(Next::Unsupported),
            },
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Ok(Next::Unsupported),
            0xc4 => self.tables()?,
            0xda => {
                self.scan()?;
                self.ends_with_scan = self.bits.is_at_end();
            }
            0xdd => {
                let segment = self.bits.segment()?;
                let &[high, low, ..] = segment else { return Err(damaged("restart interval")) };
                self.restart_interval = usize::from(u16::from_be_bytes([high, low]));
            }
            _ => drop(self.bits.segment()?),
        }
        Ok(Next::Marker)
    }

    fn start_of_frame(&mut self, marker: u8) -> Result<Option<Frame>, String> {
        let segment = self.bits.segment()?;
        let &[precision, h1, h0, w1, w0, count, ref components @ ..] = segment else {
            return Err(damaged("frame header"));
        };
        let [height, width] =
            [[h1, h0], [w1, w0]].map(|side| usize::from(u16::from_be_bytes(side)));
        let count = usize::from(count);
        // If the height is 0, a DNL segment after the first scan states it.
        if precision != 8 || height == 0 || width == 0 || self.frame.is_some() {
            return Ok(None);
        }
        // Each pixel takes at least one byte.
        self.limit.check(width, height, (width * height) as u64)?;
        if !(1..=MAX_COMPONENTS).contains(&count) || components.len() < 3 * count {
            return Err(damaged("frame header"));
        }
        let components: Vec<[u8; 3]> = components.as_chunks::<3>().0[..count].to_vec();
        Frame::new(marker == 0xc2, height, width, &components)
            .map(Some)
            .ok_or_else(|| damaged("frame header"))
    }

    fn tables(&mut self) -> Result<(), String> {
        let mut segment = self.bits.segment()?;
        while let Some((&class_and_slot, rest)) = segment.split_first() {
            let (table, rest) = Table::read(rest).ok_or_else(|| damaged("Huffman table"))?;
            let tables = match class_and_slot >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(damaged("Huffman table")),
            };
            let slot = tables.get_mut(usize::from(class_and_slot & 15));
            *slot.ok_or_else(|| damaged("Huffman table"))? = Some(table);
            segment = rest;
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<(), String> {
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(format!("it has more scans than the limit of {MAX_SCANS}"));
        }
        let wrong = || damaged("scan header");
        let segment = self.bits.segment()?;
        let (&count, rest) = segment.split_first().ok_or_else(wrong)?;
        let (selectors, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(wrong)?;
        let &[first, last, precision, ..] = rest else { return Err(wrong()) };
        let frame = self.frame.as_mut().ok_or_else(wrong)?;
        let selectors: Option<Vec<Selector>> = selectors
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&[id, tables]| {
                let [dc, ac] = [tables >> 4, tables & 15].map(usize::from);
                Some(Selector { component: frame.find(id)?, dc, ac })
            })
            .collect();
        let selectors = selectors.filter(|all| !all.is_empty()).ok_or_else(wrong)?;
        let band = match frame.is_progressive() {
            true => first..=last,
            false => 0..=63,
        };
        let scan = scan::Scan { selectors, band, high: precision >> 4, low: precision & 15 };
        if *scan.band.end() > 63 || scan.band.is_empty() {
            return Err(wrong());
        }
        scan.walk(frame, &mut self.bits, [&self.dc, &self.ac], self.restart_interval)
    }

    /// Checks for missing scans at the end of the file, or at its end-of-image marker.
    fn finish(&self, has_end: bool) -> Result<(), String> {
        let components = self.frame.as_ref().map_or(&[][..], Frame::components);
        if components.is_empty() || !components.iter().all(Component::is_complete) {
            return Err("the file is truncated: it ends before the last scan".into());
        }
        // An interrupted download may be padded with zeros, which are valid codes.
        match has_end || self.ends_with_scan {
            true => Ok(()),
            false => Err("the file is truncated: it has no end-of-image marker".into()),
        }
    }
}

fn damaged(part: &str) -> String {
    format!("the file is damaged or truncated in a {part}")
}
