//! The scans of a JPEG file.

use std::ops::RangeInclusive;

use super::bits::{Bits, Exhausted, Table};

/// The frame of an image: its size in blocks, and the progress of the scans.
pub(super) struct Frame {
    progressive: bool,
    components: Vec<Component>,
    /// Minimum coded units of interleaved scans, across and down.
    units: [usize; 2],
}

/// A component of the image, such as its luminance.
pub(super) struct Component {
    id: u8,
    /// Blocks of a minimum coded unit, across and down.
    sampling: [usize; 2],
    /// Blocks that hold pixels, across and down. A scan of this component alone has only these.
    blocks: [usize; 2],
    /// Number of blocks in a row of `nonzero`, including those without pixels.
    stride: usize,
    /// For each block of a progressive image, a mask with a bit set for each coefficient that is
    /// not 0.
    nonzero: Vec<u64>,
    /// For each coefficient, the number of bits still to be read; `None` before its first scan.
    to_come: [Option<u8>; 64],
}

impl Frame {
    /// Creates a frame from the identifier, sampling factors and quantization table of each
    /// component. Returns `None` if a sampling factor is not from 1 to 4.
    pub(super) fn new(
        progressive: bool,
        height: usize,
        width: usize,
        components: &[[u8; 3]],
    ) -> Option<Self> {
        let sampling = components.iter().map(|&[_, factors, _]| {
            let factors = [factors >> 4, factors & 15].map(usize::from);
            factors.iter().all(|factor| (1..=4).contains(factor)).then_some(factors)
        });
        let sampling: Vec<[usize; 2]> = sampling.collect::<Option<_>>()?;
        let max = [0, 1].map(|axis| sampling.iter().map(|s| s[axis]).max().unwrap_or(1));
        let size = [width, height];
        let units = [0, 1].map(|axis| size[axis].div_ceil(8 * max[axis]));
        let components = components.iter().zip(sampling).map(|(&[id, ..], sampling)| {
            let blocks =
                [0, 1].map(|axis| (size[axis] * sampling[axis]).div_ceil(max[axis]).div_ceil(8));
            let [stride, rows] = [0, 1].map(|axis| units[axis] * sampling[axis]);
            let nonzero = vec![0; if progressive { stride * rows } else { 0 }];
            Component { id, sampling, blocks, stride, nonzero, to_come: [None; 64] }
        });
        Some(Self { progressive, components: components.collect(), units })
    }

    pub(super) fn is_progressive(&self) -> bool {
        self.progressive
    }

    pub(super) fn components(&self) -> &[Component] {
        &self.components
    }

    pub(super) fn find(&self, id: u8) -> Option<usize> {
        self.components.iter().position(|component| component.id == id)
    }
}

impl Component {
    /// Returns true if all bits of all coefficients are present.
    pub(super) fn is_complete(&self) -> bool {
        self.to_come.iter().all(|bits| *bits == Some(0))
    }
}

/// A component of a scan, with the indices of its component and tables.
pub(super) struct Selector {
    pub(super) component: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// A scan as described by its header.
pub(super) struct Scan {
    pub(super) selectors: Vec<Selector>,
    /// The range of coefficients in the scan.
    pub(super) band: RangeInclusive<u8>,
    /// The number of low bits that the previous scan left; 0 in the first scan of these
    /// coefficients.
    pub(super) high: u8,
    /// The number of low bits that are left for later scans.
    pub(super) low: u8,
}

impl Scan {
    /// Decodes all blocks.
    pub(super) fn walk(
        &self,
        frame: &mut Frame,
        bits: &mut Bits<'_>,
        tables: [&[Option<Table>]; 2],
        restart_interval: usize,
    ) -> Result<(), String> {
        let alone = match &self.selectors[..] {
            [selector] => Some(selector),
            _ => None,
        };
        let [across, down] =
            alone.map_or(frame.units, |selector| frame.components[selector.component].blocks);
        let mut run = 0;
        for unit in 0..across * down {
            if restart_interval > 0 && unit > 0 && unit.is_multiple_of(restart_interval) {
                if !matches!(bits.next_marker(), Some(0xd0..=0xd7)) {
                    return Err(cut(unit, across * down));
                }
                run = 0;
            }
            let (row, column) = (unit / across, unit % across);
            for selector in &self.selectors {
                let component = &mut frame.components[selector.component];
                let [wide, high] = if alone.is_some() { [1, 1] } else { component.sampling };
                let [dc, ac] = [(0, selector.dc), (1, selector.ac)]
                    .map(|(class, slot)| tables[class].get(slot).and_then(Option::as_ref));
                for block in 0..wide * high {
                    let (y, x) = (row * high + block / wide, column * wide + block % wide);
                    let walked = match frame.progressive {
                        false => sequential(bits, dc, ac),
                        true => {
                            let nonzero = &mut component.nonzero[y * component.stride + x];
                            self.progressive(bits, dc, ac, nonzero, &mut run)
                        }
                    };
                    walked.map_err(|Exhausted| cut(unit, across * down))?;
                }
            }
        }
        for selector in &self.selectors {
            let to_come = &mut frame.components[selector.component].to_come;
            let low = if frame.progressive { self.low } else { 0 };
            to_come[usize::from(*self.band.start())..=usize::from(*self.band.end())]
                .fill(Some(low));
        }
        Ok(())
    }

    /// Decodes a block of a progressive scan (T.81, section G.1).
    fn progressive(
        &self,
        bits: &mut Bits<'_>,
        dc: Option<&Table>,
        ac: Option<&Table>,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), Exhausted> {
        match (*self.band.start(), self.high) {
            (0, 0) => {
                let size = bits.symbol(dc.ok_or(Exhausted)?)?;
                bits.read(u32::from(size).min(16)).map(drop)
            }
            (0, _) => bits.read(1).map(drop),
            (_, 0) => self.first(bits, ac.ok_or(Exhausted)?, nonzero, run),
            _ => self.refine(bits, ac.ok_or(Exhausted)?, nonzero, run),
        }
    }

    /// Decodes the first bits of a block's coefficients. `run` counts the following blocks that
    /// have no coefficients in this scan.
    fn first(
        &self,
        bits: &mut Bits<'_>,
        ac: &Table,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), Exhausted> {
        if *run > 0 {
            *run -= 1;
            return Ok(());
        }
        let mut next = *self.band.start();
        while next <= *self.band.end() {
            let (zeros, size) = parted(bits.symbol(ac)?);
            match size {
                0 if zeros < 15 => {
                    *run = (1 << zeros) - 1 + bits.read(u32::from(zeros))?;
                    break;
                }
                0 => next += 16,
                _ => {
                    next += zeros;
                    *nonzero |= coefficient(next)?;
                    bits.read(u32::from(size))?;
                    next += 1;
                }
            }
        }
        Ok(())
    }

    /// Decodes one more bit of each coefficient of a block.
    fn refine(
        &self,
        bits: &mut Bits<'_>,
        ac: &Table,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), Exhausted> {
        let (mut next, last) = (*self.band.start(), *self.band.end());
        while *run == 0 && next <= last {
            let (mut zeros, size) = parted(bits.symbol(ac)?);
            if size == 0 && zeros < 15 {
                *run = (1 << zeros) + bits.read(u32::from(zeros))?;
                break;
            }
            bits.read(u32::from(size != 0))?;
            // Each nonzero coefficient has one more bit. The zeros of the code count only
            // coefficients that are still 0.
            while next <= last {
                if *nonzero & coefficient(next)? != 0 {
                    bits.read(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                next += 1;
            }
            if size != 0 {
                *nonzero |= coefficient(next)?;
            }
            next += 1;
        }
        if *run > 0 {
            for known in next..=last {
                bits.read(u32::from(*nonzero & coefficient(known)? != 0))?;
            }
            *run -= 1;
        }
        Ok(())
    }
}

/// Decodes a block of a sequential scan (T.81, section F.2.2).
fn sequential(
    bits: &mut Bits<'_>,
    dc: Option<&Table>,
    ac: Option<&Table>,
) -> Result<(), Exhausted> {
    let (dc, ac) = dc.zip(ac).ok_or(Exhausted)?;
    let size = bits.symbol(dc)?;
    bits.read(u32::from(size).min(16))?;
    let mut next = 1;
    while next < 64 {
        let (zeros, size) = parted(bits.symbol(ac)?);
        match size {
            0 if zeros < 15 => break,
            0 => next += 16,
            _ => {
                bits.read(u32::from(size))?;
                next += zeros + 1;
            }
        }
    }
    Ok(())
}

/// Splits a symbol into the number of zeros before a coefficient and the number of bits of the
/// coefficient.
fn parted(symbol: u8) -> (u8, u8) {
    (symbol >> 4, symbol & 15)
}

/// Returns the bit of a coefficient in a mask. Only damaged data refer to coefficients beyond the
/// last one.
fn coefficient(index: u8) -> Result<u64, Exhausted> {
    1_u64.checked_shl(u32::from(index)).ok_or(Exhausted)
}

fn cut(unit: usize, units: usize) -> String {
    let percent = 100 * unit / units;
    format!("the file is damaged or truncated: a scan ends after {percent} % of its blocks")
}
