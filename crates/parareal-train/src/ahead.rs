//! Batches that are prepared while the steps before them run.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use parareal::exec::ExecError;

use crate::TrainError;

/// Items that are ready before they are asked for. One is being used, one is next, and one more
/// may take longer than usual.
const AHEAD: usize = 2;

/// What another thread prepares, in order.
pub(crate) struct Ahead<T> {
    items: Receiver<T>,
    /// How long the last item was waited for.
    pub(crate) waited: Duration,
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let begun = Instant::now();
        let item = self.items.recv().ok();
        self.waited = begun.elapsed();
        item
    }
}

/// Lets a thread of its own go through `items` for as long as `consume` takes them, which may be
/// less than to their end.
///
/// # Errors
/// Where the system gives no thread.
pub(crate) fn ahead<T: Send, R>(
    items: impl Iterator<Item = T> + Send,
    consume: impl FnOnce(Ahead<T>) -> R,
) -> Result<R, TrainError> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        let prepare = move || {
            // Nobody takes any more where this fails.
            let _ = items.map(|item| sender.send(item)).find(Result::is_err);
        };
        let thread = thread::Builder::new().name("parareal-images".into());
        let spawned = thread.spawn_scoped(scope, prepare);
        spawned.map_err(|error| ExecError::Spawn(error.to_string()))?;
        Ok(consume(Ahead { items: receiver, waited: Duration::ZERO }))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_items_come_in_order() {
        let seen = ahead(0..100, |items| items.collect::<Vec<_>>()).unwrap();
        assert!(seen.into_iter().eq(0..100));
    }

    #[test]
    fn who_takes_no_more_waits_for_nothing() {
        let made = AtomicUsize::new(0);
        let endless = std::iter::repeat_with(|| made.fetch_add(1, Ordering::Relaxed));
        let third = ahead(endless, |mut items| items.nth(2)).unwrap();
        assert_eq!(third, Some(2));
        assert!(made.into_inner() <= 3 + AHEAD + 1);
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_is_not_lost() {
        let _ = ahead((0..3).map(|item| assert!(item < 2)), |items| items.count());
    }
}
