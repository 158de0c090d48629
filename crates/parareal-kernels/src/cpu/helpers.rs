//! Helpers: the other threads of the calling pool, kept awake from one operation to the next.
//!
//! The operations of a small batch take less than 100 µs, and to wake a sleeping thread takes up to 50 µs. A thread
//! that is awake also stays on a core of its own, whereas one that wakes up often starts on the core of the thread
//! that woke it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rayon::Yield;

/// Time without work after which a helper goes to sleep. Longer than the parts of a training step that only one
/// thread computes, and shorter than those in which a worker waits for another one.
const PATIENCE: Duration = Duration::from_micros(200);

thread_local! {
    /// The number of helpers that this thread keeps awake.
    static AWAKE: RefCell<Arc<AtomicUsize>> = RefCell::default();
}

/// Wakes the other threads of the calling pool if they are asleep, and keeps them awake until they have had nothing
/// to do for [`PATIENCE`].
pub(crate) fn keep_awake() {
    let Some(caller) = rayon::current_thread_index() else { return };
    AWAKE.with_borrow(|awake| {
        if awake.load(Ordering::Relaxed) == 0 {
            awake.store(rayon::current_num_threads() - 1, Ordering::Relaxed);
            let awake = Arc::clone(awake);
            rayon::spawn_broadcast(move |context| {
                if context.index() != caller {
                    wait_for_work();
                    awake.fetch_sub(1, Ordering::Relaxed);
                }
            });
        }
    });
}

/// Executes the work of the pool until there has been none for [`PATIENCE`].
fn wait_for_work() {
    let mut since = Instant::now();
    while since.elapsed() < PATIENCE {
        match rayon::yield_now() {
            Some(Yield::Executed) => since = Instant::now(),
            _ => thread::yield_now(),
        }
    }
}
