//! Tile products with AMX-BF16, by inline assembly: stable Rust has no intrinsics for these instructions.
//!
//! The tile registers belong to the thread. The compiler never uses them, and the system saves them with the others when it
//! runs another thread, so they keep their shape from [`ConfiguredTiles::new`] until it is dropped.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::tile::{Destination, Operands, PANEL, Shape, TILE};

/// `arch_prctl` operation that asks for the permission to use a feature with a large state
/// (Documentation/arch/x86/xstate.rst of the Linux kernel).
const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
/// The feature of the tile registers.
const XFEATURE_XTILEDATA: libc::c_ulong = 18;

/// Bytes of a row of a tile of sums, and of a row of pairs of the right operand.
const ROW_BYTES: usize = 4 * TILE;

/// Returns true if the machine has AMX-BF16, and the system allows this process to use it. Asks for the permission at the
/// first call.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let features = __cpuid_count(7, 0).edx;
        let has = |bit: u32| features >> bit & 1 == 1;
        // AMX-TILE and AMX-BF16. The other kernels need AVX-512.
        if !(has(24) && has(22)) || pulp::x86::V4::try_new().is_none() {
            return false;
        }
        // SAFETY: the call only changes what this process may use. It fails where the system knows no such permission or
        // the alternate signal stack of a thread has no room for the registers.
        let refused =
            unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) };
        refused == 0
    })
}

/// The operand of `ldtilecfg`: palette 1, with bytes of a row and number of rows of each tile.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Tile registers of a shape: 0 to 3 for sums, 4 for the left operand, and 5 and 6 for the right one.
#[derive(Debug)]
pub(super) struct ConfiguredTiles {
    shape: Shape,
    /// The registers are those of the thread.
    thread: PhantomData<*const ()>,
}

impl ConfiguredTiles {
    /// Configures the tile registers of the thread.
    ///
    /// # Safety
    /// [`is_available`] is true. No other value of this type exists in the thread.
    pub(super) unsafe fn new(shape: Shape) -> Self {
        let Shape { rows, depth } = shape;
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        let sums = [(rows, ROW_BYTES); 4];
        let operands = [(rows, 2 * depth), (depth / 2, ROW_BYTES), (depth / 2, ROW_BYTES)];
        for (tile, (rows, bytes)) in sums.into_iter().chain(operands).enumerate() {
            // At most 16 rows of 64 bytes.
            configuration.rows[tile] = rows as u8;
            configuration.row_bytes[tile] = bytes as u16;
        }
        // SAFETY: the instruction exists and reads the 64 bytes of the configuration, which is valid.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly));
        }
        Self { shape, thread: PhantomData }
    }

    /// Multiplies tiles.
    ///
    /// # Safety
    /// As for [`Tiles::multiply`](super::tile::Tiles::multiply).
    #[inline(always)]
    pub(super) unsafe fn multiply(&self, operands: Operands, destination: Destination) {
        let depth = self.shape.depth;
        // SAFETY: as the caller promises.
        unsafe {
            match (operands.panels, destination.adds) {
                (1, false) => one(depth, operands, destination),
                (2, false) => two(depth, operands, destination),
                (3, false) => three(depth, operands, destination),
                (4, false) => four(depth, operands, destination),
                (1, true) => add_one(depth, operands, destination),
                (2, true) => add_two(depth, operands, destination),
                (3, true) => add_three(depth, operands, destination),
                (4, true) => add_four(depth, operands, destination),
                _ => unreachable!("a product has at most four panels"),
            }
        }
    }
}

impl Drop for ConfiguredTiles {
    fn drop(&mut self) {
        // SAFETY: the instruction exists, since the tiles are configured. It returns them to their initial state, which is
        // cheaper to save when the thread is interrupted.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Defines a product of a number of panels. For each panel: the tiles of its sums and of its numbers, the byte in a row of the
/// destination, and the byte in the right operand.
macro_rules! product {
    ($name:ident, $add_name:ident: $(($sum:literal, $right:literal, $at:literal, $panel:literal)),*) => {
        product!(@ $name, $(concat!("tilezero tmm", $sum)),*; $(($sum, $right, $at, $panel)),*);
        product!(
            @ $add_name,
            $(concat!("tileloadd tmm", $sum, ", [{to} + {to_pitch}*1 + ", $at, "]")),*;
            $(($sum, $right, $at, $panel)),*
        );
    };
    (
        @ $name:ident, $($begin:expr),*;
        $(($sum:literal, $right:literal, $at:literal, $panel:literal)),*
    ) => {
        /// Multiplies tiles of a depth.
        ///
        /// # Safety
        /// As for [`ConfiguredTiles::multiply`], with as many panels as the name says.
        unsafe fn $name(depth: usize, operands: Operands, destination: Destination) {
            const { assert!(PANEL * size_of::<u32>() == 1024 && ROW_BYTES == 64) };
            let Operands { runs, steps, a, pitch, pair, run, b, step, .. } = operands;
            debug_assert!(runs * steps > 0 && pair == 2);
            let a_step = depth * size_of::<u16>();
            // SAFETY: the tiles are configured. All addresses are those of rows of the operands and of the destination,
            // which can be read or written, as the caller promises.
            unsafe {
                asm!(
                    $($begin,)*
                    "2:",
                    "mov {left}, {steps}",
                    "3:",
                    "tileloadd tmm4, [{a} + {a_pitch}*1]",
                    $(
                        concat!("tileloadd tmm", $right, ", [{b} + {row}*1 + ", $panel, "]"),
                        concat!("tdpbf16ps tmm", $sum, ", tmm4, tmm", $right),
                    )*
                    "add {a}, {a_step}",
                    "add {b}, {b_step}",
                    "dec {left}",
                    "jnz 3b",
                    "add {a}, {a_run}",
                    "dec {runs}",
                    "jnz 2b",
                    $(concat!("tilestored [{to} + {to_pitch}*1 + ", $at, "], tmm", $sum),)*
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    runs = inout(reg) runs => _,
                    left = out(reg) _,
                    steps = in(reg) steps,
                    a_pitch = in(reg) pitch * size_of::<u16>(),
                    a_step = in(reg) a_step,
                    // From the end of a run to the next one; it may be negative.
                    a_run = in(reg) (run * size_of::<u16>()).wrapping_sub(steps * a_step),
                    row = in(reg) ROW_BYTES,
                    b_step = in(reg) step * size_of::<u32>(),
                    to = in(reg) destination.to,
                    to_pitch = in(reg) destination.pitch * size_of::<f32>(),
                    out("tmm0") _,
                    out("tmm1") _,
                    out("tmm2") _,
                    out("tmm3") _,
                    out("tmm4") _,
                    out("tmm5") _,
                    out("tmm6") _,
                    options(nostack),
                );
            }
        }
    };
}

product!(one, add_one: (0, 5, 0, 0));
product!(two, add_two: (0, 5, 0, 0), (1, 6, 64, 1024));
product!(three, add_three: (0, 5, 0, 0), (1, 6, 64, 1024), (2, 5, 128, 2048));
product!(four, add_four: (0, 5, 0, 0), (1, 6, 64, 1024), (2, 5, 128, 2048), (3, 6, 192, 3072));
