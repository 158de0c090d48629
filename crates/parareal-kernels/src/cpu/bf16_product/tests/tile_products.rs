//! Tile products against loops over numbers.

use half::bf16;

use super::guarded_memory::Guarded;
use super::{all, small};
use crate::cpu::bf16_product::Bf16Products;
use crate::cpu::bf16_product::tile::{
    Destination, MAX_PANELS, Operands, PANEL, Shape, TILE, Tiles,
};

fn bits(values: &[f32]) -> Vec<u16> {
    values.iter().map(|&value| bf16::from_f32(value).to_bits()).collect()
}

/// The sanitizers do not see what inline assembly accesses, so all operands end at a page that cannot be accessed.
#[test]
fn products_are_exact_and_stay_within_their_operands() {
    for products in all() {
        for rows in [1, 5, 8, 11, 16] {
            for (depth, steps, runs) in [(2, 1, 1), (16, 1, 2), (24, 2, 3), (32, 3, 1)] {
                for panels in 1..=MAX_PANELS {
                    for (adds, apart) in
                        [(false, false), (true, false), (false, true), (true, true)]
                    {
                        if !apart || products.reads_pairs_apart() {
                            let layout = Layout { runs, steps, panels, apart };
                            check_product(products, Shape { rows, depth }, layout, adds);
                        }
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Layout {
    runs: usize,
    steps: usize,
    panels: usize,
    /// The pairs of a row are apart from each other, and those of a column side by side.
    apart: bool,
}

fn check_product(products: Bf16Products, shape: Shape, layout: Layout, adds: bool) {
    let Shape { rows, depth } = shape;
    let Layout { runs, steps, panels, apart } = layout;
    let (pitch, pair, run) = match apart {
        true => (2, 2 * rows, steps * depth * rows + 6),
        // Rows and runs of the left operand overlap, as those of an image do.
        false => (depth, 2, steps * depth + 3),
    };
    let last = (steps * depth / 2 - 1) * pair + 1;
    let left = small((runs - 1) * run + (rows - 1) * pitch + last + 1, 1);
    let step = panels * PANEL;
    let right = small(2 * (runs * steps * step), 2);
    let columns = panels * TILE;
    let row = columns + 5;
    let before = small((rows - 1) * row + columns, 3);
    let mut expected = before.clone();
    for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
        let mut sum = if adds { before[y * row + x] } else { 0.0 };
        for index in 0..runs * steps {
            for k in 0..depth {
                let place = index % steps * depth / 2 + k / 2;
                let a = left[index / steps * run + place * pair + y * pitch + k % 2];
                let other = index * step + x / TILE * PANEL + k / 2 * TILE + x % TILE;
                sum += a * right[2 * other + k % 2];
            }
        }
        expected[y * row + x] = sum;
    }
    // The last panel ends with the last pair of its step.
    let pairs: Vec<u32> =
        bits(&right).chunks(2).map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16).collect();
    let used = pairs.len() - PANEL + depth / 2 * TILE;
    let (a, b) = (Guarded::new(&bits(&left)), Guarded::new(&pairs[..used]));
    let to = Guarded::new(&before);
    // SAFETY: the machine has the instructions, and the operands have these sizes.
    unsafe {
        let tiles = Tiles::new(products, shape);
        let a = a.values;
        let operands = Operands { runs, steps, a, pitch, pair, run, b: b.values, step, panels };
        tiles.multiply(operands, Destination { to: to.values, pitch: row, adds });
    }
    assert_eq!(to.slice(), expected, "{products:?} {shape:?} {layout:?} {adds}");
}
