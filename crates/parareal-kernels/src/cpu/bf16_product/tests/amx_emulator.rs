//! An emulator of the AMX instructions of the products, for machines without them.
//!
//! Such a machine raises an exception for each of these instructions. The handler of the signal decodes the instruction, does
//! what it does (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2), and continues after it. So the inline
//! assembly itself is tested: registers, addresses, strides and loops.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::Once;

use half::bf16;

/// Bytes of a row of a tile.
const ROW: usize = 64;

/// The tile registers of a thread.
struct Tiles {
    /// Rows, and bytes of a row, of each tile.
    shapes: [(usize, usize); 8],
    rows: [[[u8; ROW]; 16]; 8],
}

thread_local! {
    static TILES: RefCell<Tiles> =
        const { RefCell::new(Tiles { shapes: [(0, 0); 8], rows: [[[0; ROW]; 16]; 8] }) };
}

/// Emulates the instructions in all threads of this process from now on.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = emulate;
        // SAFETY: the action is zeroed, which is valid, and then names a handler of the kind that its flags announce.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGILL, &raw const action, null_mut()), 0);
        }
    });
}

/// Emulates the instruction that raised the signal. With any other instruction, the process ends as without this handler.
extern "C" fn emulate(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system passes the registers of the interrupted thread.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize] as *const u8;
    // SAFETY: the instruction is mapped.
    let instruction = unsafe { Instruction::decode(at, registers) };
    let done = instruction.and_then(|instruction| {
        // SAFETY: the address is that of the instruction. If it cannot be accessed, the process ends, as it would without
        // the emulator.
        TILES.with_borrow_mut(|tiles| unsafe { tiles.execute(&instruction) })?;
        Some(instruction.len)
    });
    match done {
        Some(len) => registers[libc::REG_RIP as usize] += len as i64,
        // SAFETY: the default action is restored, and ends the process when the instruction is executed again.
        None => unsafe {
            libc::signal(libc::SIGILL, libc::SIG_DFL);
        },
    }
}

/// A decoded instruction `VEX.128.pp.0F38.W0 opcode`.
struct Instruction {
    /// Number of bytes.
    len: usize,
    /// Prefix: 0 for none, 2 for F3, 3 for F2.
    prefix: u8,
    opcode: u8,
    /// The tiles in the fields `reg`, `rm` and `vvvv`.
    reg: usize,
    rm: usize,
    vvvv: usize,
    /// Address and stride in memory; `None` if the operand is a register.
    memory: Option<(usize, usize)>,
}

impl Instruction {
    /// Decodes an instruction; `None` if it is of another form.
    ///
    /// # Safety
    /// The instruction can be read.
    unsafe fn decode(at: *const u8, registers: &[libc::greg_t]) -> Option<Self> {
        // SAFETY: the first byte belongs to the instruction. It begins a VEX prefix, after which there are at least four bytes
        // more, and those that are read later belong to the operand.
        let byte = |index: usize| unsafe { *at.add(index) };
        if byte(0) != 0xc4 {
            return None;
        }
        let (first, second, opcode, modrm) = (byte(1), byte(2), byte(3), byte(4));
        // 0F38, W0, 128 bits.
        if first & 0x1f != 2 || second & 0x84 != 0 {
            return None;
        }
        // The upper bits of index and base are inverted.
        let [index_high, base_high] =
            [first & 0x40, first & 0x20].map(|bit| if bit == 0 { 8 } else { 0 });
        let mut instruction = Self {
            len: 5,
            prefix: second & 3,
            opcode,
            reg: usize::from(modrm >> 3 & 7),
            rm: usize::from(modrm & 7),
            vvvv: usize::from(!(second >> 3) & 0xf),
            memory: None,
        };
        let mode = modrm >> 6;
        if mode == 3 {
            return Some(instruction);
        }
        let value = |register: u8| registers[number(register)] as usize;
        let (mut base, mut stride) = (modrm & 7, 0);
        // Loads and stores of tiles need a byte with base and index.
        if base != 4 && opcode != 0x49 {
            return None;
        }
        if base == 4 {
            let sib = byte(5);
            instruction.len += 1;
            base = sib & 7;
            let index = (sib >> 3 & 7) + index_high;
            // Index 4 stands for none.
            if index != 4 {
                stride = value(index) << (sib >> 6);
            }
        }
        // Addresses without a base, and relative to the instruction.
        if mode == 0 && base == 5 {
            return None;
        }
        let displacement = match mode {
            0 => 0,
            1 => isize::from(byte(instruction.len) as i8),
            _ => {
                let bytes = [0, 1, 2, 3].map(|index| byte(instruction.len + index));
                i32::from_le_bytes(bytes) as isize
            }
        };
        instruction.len += [0, 1, 4][usize::from(mode)];
        let address = value(base + base_high).wrapping_add_signed(displacement);
        instruction.memory = Some((address, stride));
        Some(instruction)
    }
}

/// Returns the place of a general register among those of a signal.
fn number(register: u8) -> usize {
    use libc::{
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP,
        REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RSI, REG_RSP,
    };
    let order = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
        REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    order[usize::from(register)] as usize
}

impl Tiles {
    /// Executes an instruction; `None` if it is none of those that the products consist of, or its operands are not valid.
    ///
    /// # Safety
    /// The memory of the operand can be accessed.
    unsafe fn execute(&mut self, instruction: &Instruction) -> Option<()> {
        let &Instruction { prefix, opcode, reg, rm, vvvv, memory, .. } = instruction;
        match (opcode, prefix, memory) {
            // LDTILECFG
            (0x49, 0, Some((address, _))) => {
                // SAFETY: as the caller promises.
                let configuration = unsafe { (address as *const [u8; 64]).read() };
                let reserved = [1..16, 32..48, 56..64].map(|bytes| &configuration[bytes]).concat();
                if configuration[0] != 1 || reserved.iter().any(|&byte| byte != 0) {
                    return None;
                }
                for (tile, shape) in self.shapes.iter_mut().enumerate() {
                    let bytes = [0, 1].map(|index| configuration[16 + 2 * tile + index]);
                    *shape =
                        (usize::from(configuration[48 + tile]), u16::from_le_bytes(bytes).into());
                    let is_half_empty = (shape.0 == 0) != (shape.1 == 0);
                    if shape.0 > 16 || shape.1 > ROW || is_half_empty {
                        return None;
                    }
                }
                self.rows = [[[0; ROW]; 16]; 8];
            }
            // TILERELEASE
            (0x49, 0, None) if reg == 0 && rm == 0 => {
                self.shapes = [(0, 0); 8];
            }
            // TILEZERO
            (0x49, 3, None) if self.is_configured(reg) => self.rows[reg] = [[0; ROW]; 16],
            // TILELOADD
            (0x4b, 3, Some((address, stride))) if self.is_configured(reg) => {
                let (rows, bytes) = self.shapes[reg];
                self.rows[reg] = [[0; ROW]; 16];
                for (row, to) in self.rows[reg].iter_mut().enumerate().take(rows) {
                    let from = (address + row * stride) as *const u8;
                    // SAFETY: as the caller promises; a row has at most 64 bytes.
                    unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from, bytes) };
                }
            }
            // TILESTORED
            (0x4b, 2, Some((address, stride))) if self.is_configured(reg) => {
                let (rows, bytes) = self.shapes[reg];
                for (row, from) in self.rows[reg].iter().enumerate().take(rows) {
                    let to = (address + row * stride) as *mut u8;
                    // SAFETY: as the caller promises; a row has at most 64 bytes.
                    unsafe { to.copy_from_nonoverlapping(from.as_ptr(), bytes) };
                }
            }
            // TDPBF16PS
            (0x5c, 2, None) => self.multiply(reg, rm, vvvv)?,
            _ => return None,
        }
        Some(())
    }

    fn is_configured(&self, tile: usize) -> bool {
        self.shapes[tile].0 > 0
    }

    /// Adds the product of tiles `a` and `b` to tile `to`; `None` if their shapes do not match.
    fn multiply(&mut self, to: usize, a: usize, b: usize) -> Option<()> {
        let [(rows, bytes), (a_rows, a_bytes), (b_rows, b_bytes)] =
            [to, a, b].map(|tile| self.shapes[tile]);
        if rows == 0 || a_rows != rows || a_bytes != 4 * b_rows || b_bytes != bytes {
            return None;
        }
        let half = |row: &[u8; ROW], index: usize| {
            bf16::from_le_bytes([row[2 * index], row[2 * index + 1]]).to_f32()
        };
        for row in 0..rows {
            for column in 0..bytes / 4 {
                let place = 4 * column..4 * column + 4;
                let bytes = self.rows[to][row][place.clone()].try_into().ok()?;
                let mut sum = f32::from_le_bytes(bytes);
                for (pair, b) in self.rows[b].iter().enumerate().take(b_rows) {
                    for index in 0..2 {
                        sum += half(&self.rows[a][row], 2 * pair + index)
                            * half(b, 2 * column + index);
                    }
                }
                self.rows[to][row][place].copy_from_slice(&sum.to_le_bytes());
            }
        }
        Some(())
    }
}
