//! Slices that several threads write at once, each in its own range.

use std::marker::PhantomData;

/// A slice that threads share in order to write disjoint ranges.
#[derive(Clone, Copy)]
pub(crate) struct SharedSlice<'a, E> {
    start: *mut E,
    len: usize,
    lives: PhantomData<&'a mut [E]>,
}

// SAFETY: every access goes through `SharedSlice::at`, whose caller promises that no two threads
// access the same values.
unsafe impl<E: Send> Send for SharedSlice<'_, E> {}
// SAFETY: as above.
unsafe impl<E: Send> Sync for SharedSlice<'_, E> {}

impl<'a, E> SharedSlice<'a, E> {
    pub(crate) fn new(values: &'a mut [E]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), lives: PhantomData }
    }

    /// Returns a pointer to the `count` values that start at `index`.
    ///
    /// # Safety
    /// The values are within the slice, and no other thread accesses them while the pointer is in
    /// use.
    #[inline(always)]
    pub(crate) unsafe fn at(self, index: usize, count: usize) -> *mut E {
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
pub(crate) unsafe fn vec_written_by<E>(
    len: usize,
    fill: impl FnOnce(SharedSlice<'_, E>),
) -> Vec<E> {
    let mut values = Vec::with_capacity(len);
    let start: *mut E = values.as_mut_ptr();
    fill(SharedSlice { start, len, lives: PhantomData });
    // SAFETY: the capacity is at least `len`, and the caller promises that all values are written.
    unsafe { values.set_len(len) };
    values
}
