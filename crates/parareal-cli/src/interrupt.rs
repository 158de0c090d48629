//! Ctrl-C: once to stop at a good place, twice to stop at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::output::note;

/// Whether to stop; `place` says where that will be.
pub(crate) fn watch(place: &'static str) -> impl Fn() -> bool + Sync {
    let asked = handle(move || note(&format!("stopping {place}; once more to stop at once")));
    move || asked.load(Ordering::Relaxed)
}

/// Whether this rank is asked to stop. All ranks are, and stop together; so none of them says it.
///
/// `mpirun` leaves its ranks a second after Ctrl-C unless it is told otherwise, while SIGUSR1 is
/// handed on to them without an end in sight. Slurm sends it as well where it is told to.
pub(crate) fn watch_as_rank() -> impl Fn() -> bool + Sync {
    let asked = handle(|| ());
    #[cfg(all(unix, feature = "mpi"))]
    {
        let usr1 = signal_hook::consts::SIGUSR1;
        if let Err(error) = signal_hook::flag::register(usr1, Arc::clone(&asked)) {
            note(&format!("SIGUSR1 will stop at once: {error}"));
        }
    }
    move || asked.load(Ordering::Relaxed)
}

fn handle(tell: impl Fn() + Send + 'static) -> Arc<AtomicBool> {
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let handler = move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        tell();
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        note(&format!("Ctrl-C will stop at once: {error}"));
    }
    asked
}
