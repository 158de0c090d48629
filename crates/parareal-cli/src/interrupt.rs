//! Ctrl-C: once to stop at a good place, twice to stop at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::output::note;

/// Whether to stop; `place` says where that will be, which the user is told where `tells` is set.
pub(crate) fn watch(place: &'static str, tells: bool) -> impl Fn() -> bool + Sync {
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let handler = move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        if tells {
            note(&format!("stopping {place}; once more to stop at once"));
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        note(&format!("Ctrl-C will stop at once: {error}"));
    }
    move || asked.load(Ordering::Relaxed)
}
