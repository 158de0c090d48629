//! Blocks of numbers that several threads write in places of their own.

use std::marker::PhantomData;

/// Memory that is being written: a shared handle through which threads write disjoint parts.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    start: *mut f32,
    len: usize,
    lives: PhantomData<&'a mut [f32]>,
}

// SAFETY: every access goes through `Target::at`, whose caller promises that no two threads touch
// the same numbers.
unsafe impl Send for Target<'_> {}
// SAFETY: as above.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    pub(crate) fn new(values: &'a mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), lives: PhantomData }
    }

    /// Where `count` numbers from `index` on are.
    ///
    /// # Safety
    /// They lie within the block, and no other thread touches them while the pointer is in use.
    #[inline(always)]
    pub(crate) unsafe fn at(self, index: usize, count: usize) -> *mut f32 {
        debug_assert!(index + count <= self.len, "{index} + {count} of {}", self.len);
        // SAFETY: within the block, as the caller promises.
        unsafe { self.start.add(index) }
    }
}

/// A new block, written by `fill`: saves a pass over the memory that would only set it to zero.
///
/// # Safety
/// `fill` writes every number and reads none that it has not written.
pub(crate) unsafe fn written_by(len: usize, fill: impl FnOnce(Target<'_>)) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    let start: *mut f32 = values.as_mut_ptr();
    fill(Target { start, len, lives: PhantomData });
    // SAFETY: the capacity is there, and the caller promises that all is written.
    unsafe { values.set_len(len) };
    values
}

/// Asks for numbers that will be read soon. It is a hint: nothing is read, whatever the address.
#[inline(always)]
pub(crate) fn prefetch(from: *const f32, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..count).step_by(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 machine has the instruction, and it faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, count);
}
