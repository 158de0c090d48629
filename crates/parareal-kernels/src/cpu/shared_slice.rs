//! Slices that several threads write at once, each in its own range.

use std::marker::PhantomData;

/// A slice that threads share in order to write disjoint ranges.
#[derive(Clone, Copy)]
pub(crate) struct SharedSlice<'a> {
    start: *mut f32,
    len: usize,
    lives: PhantomData<&'a mut [f32]>,
}

// SAFETY: every access goes through `SharedSlice::at`, whose caller promises that no two threads
// access the same values.
unsafe impl Send for SharedSlice<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedSlice<'_> {}

impl<'a> SharedSlice<'a> {
    pub(crate) fn new(values: &'a mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), lives: PhantomData }
    }

    /// Returns a pointer to the `count` values that start at `index`.
    ///
    /// # Safety
    /// The values are within the slice, and no other thread accesses them while the pointer is in
    /// use.
    #[inline(always)]
    pub(crate) unsafe fn at(self, index: usize, count: usize) -> *mut f32 {
        debug_assert!(index + count <= self.len, "{index} + {count} of {}", self.len);
        // SAFETY: the values are within the slice, as the caller promises.
        unsafe { self.start.add(index) }
    }
}

/// Creates a vector whose values are written by `fill`. This saves a pass that sets the memory to
/// zero.
///
/// # Safety
/// `fill` writes every value and reads none that it has not written.
pub(crate) unsafe fn vec_written_by(len: usize, fill: impl FnOnce(SharedSlice<'_>)) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    let start: *mut f32 = values.as_mut_ptr();
    fill(SharedSlice { start, len, lives: PhantomData });
    // SAFETY: the capacity is at least `len`, and the caller promises that all values are written.
    unsafe { values.set_len(len) };
    values
}
