//! Tile products.

use half::bf16;

use super::Bf16Products;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx;
#[cfg(target_arch = "x86_64")]
use super::dot;

/// Rows of a tile, columns of a tile, and pairs of numbers in depth.
pub(crate) const TILE: usize = 16;

/// Numbers of a right operand for one step and [`TILE`] columns: `[TILE pairs][TILE columns]`. A pair is a `u32`, whose
/// lower half comes first.
pub(super) const PANEL: usize = TILE * TILE;

/// Largest number of panels of a product: their sums, and tiles for both operands, have to fit into eight registers.
pub(super) const MAX_PANELS: usize = 4;

/// Smallest depth of a step. Steps that are shorter would leave most of a tile empty.
const MIN_DEPTH: usize = 8;

/// Returns the depth of the steps into which `count` numbers are divided: the largest even divisor that a tile has room
/// for. `None` if it is too small.
pub(super) fn step_depth(count: usize) -> Option<usize> {
    let fits = |depth: &usize| count.is_multiple_of(*depth);
    let depth = (MIN_DEPTH..=2 * TILE).rev().step_by(2).find(fits);
    depth.filter(|_| count > 0)
}

/// The shape of tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Number of rows, at most [`TILE`].
    pub(super) rows: usize,
    /// Numbers in depth, even, at most twice [`TILE`].
    pub(super) depth: usize,
}

/// The operands of a product of `runs` runs of `steps` steps each. Strides are in numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    pub(super) runs: usize,
    pub(super) steps: usize,
    /// The left operand, bits of bfloat16 numbers.
    pub(super) a: *const u16,
    /// Stride between rows.
    pub(super) pitch: usize,
    /// Stride between pairs in depth, also from the last pair of a step to the first one of the next. It is two numbers
    /// unless the instructions [read pairs apart](Bf16Products::reads_pairs_apart).
    pub(super) pair: usize,
    /// Stride between runs.
    pub(super) run: usize,
    /// The right operand. The [panels](PANEL) of a step are contiguous.
    pub(super) b: *const u32,
    /// Stride between steps, also from the last step of a run to the first one of the next.
    pub(super) step: usize,
    /// Number of panels that are multiplied, at most [`MAX_PANELS`].
    pub(super) panels: usize,
}

/// The destination of a product: rows of [`TILE`] columns for each panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destination {
    pub(super) to: *mut f32,
    /// Stride between rows.
    pub(super) pitch: usize,
    /// True if the product is added, false if it replaces what is there.
    pub(super) adds: bool,
}

/// Tiles of one shape. The instructions may keep the shape in registers of the thread.
#[derive(Debug)]
pub(super) enum Tiles {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx(amx::ConfiguredTiles),
    #[cfg(target_arch = "x86_64")]
    Dot(Shape),
    #[cfg(test)]
    Portable(Shape),
}

impl Tiles {
    /// Prepares products of tiles of one shape.
    ///
    /// # Safety
    /// The machine has the instructions, and the process may use them. The shape has 1 to [`TILE`] rows, and an even depth
    /// from 2 to twice [`TILE`]. The thread has no other tiles until this value is dropped.
    pub(super) unsafe fn new(products: Bf16Products, shape: Shape) -> Self {
        let Shape { rows, depth } = shape;
        debug_assert!((1..=TILE).contains(&rows) && depth.is_multiple_of(2));
        debug_assert!((2..=2 * TILE).contains(&depth));
        match products {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            // SAFETY: as the caller promises.
            Bf16Products::Amx => Self::Amx(unsafe { amx::ConfiguredTiles::new(shape) }),
            #[cfg(target_arch = "x86_64")]
            Bf16Products::Dot => Self::Dot(shape),
            #[cfg(test)]
            Bf16Products::Portable => Self::Portable(shape),
            #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
            _ => unreachable!("no machine of this kind has these instructions"),
        }
    }

    /// Multiplies tiles.
    ///
    /// # Safety
    /// There are at least one run, one step and one panel, and at most [`MAX_PANELS`] panels. Pairs are apart only if the
    /// instructions [read them so](Bf16Products::reads_pairs_apart). For all steps of all runs, `a` can be read for the rows of
    /// the shape, `depth / 2` pairs each, and `b` for the panels, `depth / 2` pairs each. The rows of `to` can be written, and
    /// read if the product is added, for the columns of all panels.
    #[inline(always)]
    pub(super) unsafe fn multiply(&self, operands: Operands, destination: Destination) {
        debug_assert!((1..=MAX_PANELS).contains(&operands.panels));
        debug_assert!(operands.runs * operands.steps > 0 && operands.pair >= 2);
        // SAFETY: as the caller promises; a value of this type exists only if the machine has the instructions.
        unsafe {
            match *self {
                #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                Self::Amx(ref tiles) => tiles.multiply(operands, destination),
                #[cfg(target_arch = "x86_64")]
                Self::Dot(shape) => dot::multiply(shape, operands, destination),
                #[cfg(test)]
                Self::Portable(shape) => portable(shape, operands, destination),
            }
        }
    }
}

/// Reusable working memory.
#[derive(Debug, Default)]
pub(crate) struct TileScratch {
    /// Pixels of the left operand.
    pub(super) rows: Vec<bf16>,
    /// Pairs of the left operand, before and after they are transposed.
    pub(super) pairs: Vec<u32>,
    pub(super) planes: Vec<u32>,
    /// Pairs of the right operand.
    pub(super) panels: Vec<u32>,
}

/// Multiplies tiles, number by number.
///
/// # Safety
/// As for [`Tiles::multiply`].
#[cfg(test)]
unsafe fn portable(shape: Shape, operands: Operands, destination: Destination) {
    let Operands { runs, steps, a, pitch, pair, run, b, step, panels } = operands;
    let wide = |bits: u32| f32::from_bits(bits << 16);
    for row in 0..shape.rows {
        for column in 0..panels * TILE {
            let (panel, place) = (column / TILE, column % TILE);
            // SAFETY: as the caller promises.
            unsafe {
                let to = destination.to.add(row * destination.pitch + column);
                let mut sum = if destination.adds { *to } else { 0.0 };
                for index in 0..runs * steps {
                    let pairs = shape.depth / 2;
                    let left = row * pitch + index / steps * run + index % steps * pairs * pair;
                    for k in 0..pairs {
                        let right = *b.add(index * step + panel * PANEL + k * TILE + place);
                        let [first, second] =
                            [0, 1].map(|half| wide(u32::from(*a.add(left + k * pair + half))));
                        sum += first * wide(right & 0xffff) + second * wide(right >> 16);
                    }
                }
                *to = sum;
            }
        }
    }
}
