//! An allocator that keeps unused memory.
//!
//! A training step allocates and frees the same large blocks over and over. Most allocators return
//! such blocks to the system, which clears every page the next time: up to a fifth of a step. A
//! binary that trains uses this one instead:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: parareal_kernels::allocator::MiMalloc = parareal_kernels::allocator::MiMalloc;
//!
//! parareal_kernels::allocator::retain();
//! ```

pub use mimalloc::MiMalloc;

/// `mi_option_purge_delay`: milliseconds until unused memory goes back to the system, -1 for never.
const PURGE_DELAY: i32 = 15;

/// Lets [`MiMalloc`] keep unused memory for as long as the process lives.
///
/// The environment variable `MIMALLOC_PURGE_DELAY`, if it is set, takes precedence.
///
/// Call it first in `main`.
pub fn retain() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: the option is one aligned word, written whole, and mimalloc lets it be set at any
        // time: a thread that reads it meanwhile finds the old value or the new one.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    }
}
