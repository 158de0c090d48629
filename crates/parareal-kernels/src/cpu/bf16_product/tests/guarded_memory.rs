//! Memory that ends at a page that cannot be accessed.

/// Memory of which the page after the last value cannot be accessed.
pub(super) struct Guarded<T> {
    pages: *mut libc::c_void,
    bytes: usize,
    len: usize,
    pub(super) values: *mut T,
}

impl<T: Copy> Guarded<T> {
    const PAGE: usize = 4096;

    pub(super) fn new(values: &[T]) -> Self {
        let own = size_of_val(values).next_multiple_of(Self::PAGE);
        let bytes = own + Self::PAGE;
        // SAFETY: new memory is mapped, and its last page is protected. The values fit in before that page.
        unsafe {
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let pages = libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0);
            assert_ne!(pages, libc::MAP_FAILED);
            let guard = pages.byte_add(own);
            assert_eq!(libc::mprotect(guard, Self::PAGE, libc::PROT_NONE), 0);
            let start = guard.cast::<T>().sub(values.len());
            start.copy_from_nonoverlapping(values.as_ptr(), values.len());
            Self { pages, bytes, len: values.len(), values: start }
        }
    }

    pub(super) fn slice(&self) -> &[T] {
        // SAFETY: these values were written by `new`.
        unsafe { std::slice::from_raw_parts(self.values, self.len) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the memory was mapped by `new`.
        unsafe { libc::munmap(self.pages, self.bytes) };
    }
}
