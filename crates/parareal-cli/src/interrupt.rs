//! Ctrl-C: once to stop behind the step, twice to stop at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::output::note;

/// Whether to stop.
pub(crate) fn watch() -> impl Fn() -> bool {
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let handler = move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        note("stopping behind this step; once more to stop at once");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        note(&format!("Ctrl-C will not save the weights: {error}"));
    }
    move || asked.load(Ordering::Relaxed)
}
