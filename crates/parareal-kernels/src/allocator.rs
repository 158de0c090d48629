//! An allocator that keeps unused memory.
//!
//! Every training step allocates and frees the same large blocks. Most allocators return such
//! blocks to the operating system, which clears their pages when they are allocated again. This
//! takes up to a fifth of the time of a step. A binary that trains can use this allocator instead:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: parareal_kernels::allocator::MiMalloc = parareal_kernels::allocator::MiMalloc;
//!
//! parareal_kernels::allocator::retain();
//! ```

pub use mimalloc::MiMalloc;

/// `mi_option_purge_delay`: milliseconds until unused memory is returned to the system; -1 for
/// never.
const PURGE_DELAY: i32 = 15;

/// Makes [`MiMalloc`] keep unused memory until the process ends.
///
/// The environment variable `MIMALLOC_PURGE_DELAY`, if it is set, takes precedence.
///
/// Call this function first in `main`.
pub fn retain() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: mimalloc allows setting an option at any time. The option is one aligned word
        // that is written at once, so a thread that reads it at the same time gets the old or the
        // new value.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    }
}
