//! Signals that ask a command to stop.
//!
//! A signal that was ignored when the program started stays ignored: `nohup` ignores SIGHUP, and the shell of
//! a script ignores SIGINT for background processes. The ignored signals are read from `/proc/self/status`,
//! because the system call requires unsafe code. If that file does not exist, as on macOS, every signal is
//! handled.

use std::fs;
use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::{consts, flag};

use crate::output::note;

/// Signals from a user, a shell or a service manager. A second signal stops the program immediately.
#[cfg(unix)]
const INTERRUPTS: &[i32] = &[consts::SIGINT, consts::SIGTERM, consts::SIGHUP];
#[cfg(not(unix))]
const INTERRUPTS: &[i32] = &[consts::SIGINT, consts::SIGTERM];

/// Signals with which a batch system announces the end of a job. They never stop the program immediately,
/// because some are repeated; for example, SIGXCPU is sent every second.
#[cfg(unix)]
const WARNINGS: &[i32] = &[consts::SIGUSR1, consts::SIGUSR2, consts::SIGXCPU];
#[cfg(not(unix))]
const WARNINGS: &[i32] = &[];

/// Time after the first interrupt during which further interrupts are ignored. `timeout`, terminals and
/// launchers may signal both a process and its process group.
const SAME: Duration = Duration::from_millis(500);

/// Polling interval for interrupts.
const PERIOD: Duration = Duration::from_millis(20);

/// The signals that this process has received.
pub(crate) struct Signals {
    asked: Arc<AtomicBool>,
    place: Arc<OnceLock<&'static str>>,
}

impl Signals {
    /// Starts to handle signals. From now on, only a second interrupt ends the process.
    pub(crate) fn handle() -> Self {
        let (asked, place) = (Arc::new(AtomicBool::new(false)), Arc::new(OnceLock::new()));
        let interrupted = Arc::new(AtomicBool::new(false));
        let ignored = ignored_at_start();
        let heeded = |signals: &'static [i32]| signals.iter().filter(|&&signal| !ignored(signal));
        let registered = heeded(INTERRUPTS)
            .map(|&signal| (signal, &interrupted))
            .chain(heeded(INTERRUPTS).chain(heeded(WARNINGS)).map(|&signal| (signal, &asked)))
            .try_for_each(|(signal, set)| flag::register(signal, Arc::clone(set)).map(drop));
        let this = Self { asked, place };
        if let Err(error) = registered.and_then(|()| this.listen(interrupted)) {
            note(&format!(
                "note: cannot handle signals, so they may stop the program immediately: {error}"
            ));
        }
        this
    }

    /// Prints a note at the first signal, which says at which `place` the command will stop. Without this call, as on the
    /// ranks of an MPI program, nothing is printed.
    pub(crate) fn announce(&self, place: &'static str) {
        let _ = self.place.set(place);
    }

    /// Returns true once a signal has requested a stop.
    pub(crate) fn have_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Starts a thread that prints a note at the first signal, and ends the process at a second interrupt.
    fn listen(&self, interrupted: Arc<AtomicBool>) -> io::Result<()> {
        let (asked, place) = (Arc::clone(&self.asked), Arc::clone(&self.place));
        let (mut is_announced, mut first) = (false, None::<Instant>);
        let answer = move || loop {
            thread::sleep(PERIOD);
            if asked.load(Ordering::Relaxed)
                && !is_announced
                && let Some(place) = place.get()
            {
                note(&format!("stopping {place}; press Ctrl-C again to stop immediately"));
                is_announced = true;
            }
            if interrupted.swap(false, Ordering::Relaxed) {
                match first {
                    None => first = Some(Instant::now()),
                    Some(first) if first.elapsed() < SAME => {}
                    Some(_) => process::exit(130),
                }
            }
        };
        thread::Builder::new().name("signals".into()).spawn(answer).map(drop)
    }
}

/// Starts to handle signals. Returns a function that returns true once one has requested a stop, at this place.
pub(crate) fn watch(place: &'static str) -> impl Fn() -> bool + Sync {
    let signals = Signals::handle();
    signals.announce(place);
    move || signals.have_asked()
}

/// Returns a function that returns true for a signal that was ignored when the program started.
fn ignored_at_start() -> impl Fn(i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    move |signal| mask >> (signal - 1) & 1 == 1
}
