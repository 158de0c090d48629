//! Signals that ask a command to stop.
//!
//! A signal that was ignored when the program started stays ignored: `nohup` ignores SIGHUP, and a
//! script's shell ignores SIGINT for what it runs in the background. What is ignored is read from
//! `/proc`, because asking the system for it takes unsafe code; where there is no `/proc/self/status`,
//! as on macOS, every signal counts.

use std::fs;
use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::{consts, flag};

use crate::output::note;

/// Signals that a person, a shell or a service manager sends. A second one stops at once.
#[cfg(unix)]
const INTERRUPTS: &[i32] = &[consts::SIGINT, consts::SIGTERM, consts::SIGHUP];
#[cfg(not(unix))]
const INTERRUPTS: &[i32] = &[consts::SIGINT, consts::SIGTERM];

/// Signals by which a batch system announces that a job's time is nearly over. They never stop at
/// once, because some come repeatedly: SIGXCPU every second.
#[cfg(unix)]
const WARNINGS: &[i32] = &[consts::SIGUSR1, consts::SIGUSR2, consts::SIGXCPU];
#[cfg(not(unix))]
const WARNINGS: &[i32] = &[];

/// Interrupts that follow the first one within this time count as the same one: `timeout`, terminals
/// and launchers may signal both a process and its process group.
const SAME: Duration = Duration::from_millis(500);

/// Time between two looks at the interrupts that have arrived.
const PERIOD: Duration = Duration::from_millis(20);

/// Returns a function that says whether the command is asked to stop.
///
/// The first signal is answered on standard error, with the `place` at which the command will stop,
/// unless there is none: of several ranks, all are asked and one speaks.
pub(crate) fn watch(place: Option<&'static str>) -> impl Fn() -> bool + Sync {
    let asked = Arc::new(AtomicBool::new(false));
    let interrupted = Arc::new(AtomicBool::new(false));
    let ignored = ignored_at_start();
    let heeded = |signals: &'static [i32]| signals.iter().filter(|&&signal| !ignored(signal));
    let registered = heeded(INTERRUPTS)
        .map(|&signal| (signal, &interrupted))
        .chain(heeded(INTERRUPTS).chain(heeded(WARNINGS)).map(|&signal| (signal, &asked)))
        .try_for_each(|(signal, set)| flag::register(signal, Arc::clone(set)).map(drop));
    let watched = registered.and_then(|()| listen(Arc::clone(&asked), interrupted, place));
    if let Err(error) = watched {
        note(&format!("note: signals may stop the program at once: {error}"));
    }
    move || asked.load(Ordering::Relaxed)
}

/// Answers the first signal, and ends the process at a second interrupt.
fn listen(
    asked: Arc<AtomicBool>,
    interrupted: Arc<AtomicBool>,
    place: Option<&'static str>,
) -> io::Result<()> {
    let (mut place, mut first) = (place, None::<Instant>);
    let answer = move || loop {
        thread::sleep(PERIOD);
        if asked.load(Ordering::Relaxed)
            && let Some(place) = place.take()
        {
            note(&format!("stopping {place}; a second Ctrl-C stops at once"));
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

/// Returns a function that says whether a signal was ignored when the program started.
fn ignored_at_start() -> impl Fn(i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    move |signal| mask >> (signal - 1) & 1 == 1
}
