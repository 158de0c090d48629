//! Batches that another thread prepares while earlier steps run.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use parareal::exec::ExecError;

use crate::TrainError;

/// Number of items that are prepared in advance. The second one bridges an item whose preparation takes longer
/// than usual.
const AHEAD: usize = 2;

/// Iterator over items that another thread prepares, in order.
pub struct Prefetched<T> {
    items: Receiver<T>,
    /// Time spent waiting for the last item.
    pub waited: Duration,
}

impl<T> Iterator for Prefetched<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let begun = Instant::now();
        let item = self.items.recv().ok();
        self.waited = begun.elapsed();
        item
    }
}

/// Prepares items on a separate thread until `consume` returns. `consume` need not take all items.
///
/// # Errors
/// If the system cannot start the thread.
pub fn prefetch<T: Send, R>(
    items: impl Iterator<Item = T> + Send,
    consume: impl FnOnce(Prefetched<T>) -> R,
) -> Result<R, TrainError> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        let prepare = move || {
            // Sending fails once the receiver is dropped.
            let _ = items.map(|item| sender.send(item)).find(Result::is_err);
        };
        let thread = thread::Builder::new().name("parareal-data".into());
        let spawned = thread.spawn_scoped(scope, prepare);
        spawned.map_err(|error| ExecError::Spawn(error.to_string()))?;
        Ok(consume(Prefetched { items: receiver, waited: Duration::ZERO }))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_items_arrive_in_order() {
        let seen = prefetch(0..100, |items| items.collect::<Vec<_>>()).unwrap();
        assert!(seen.into_iter().eq(0..100));
    }

    #[test]
    fn a_consumer_that_stops_early_stops_the_producer() {
        let made = AtomicUsize::new(0);
        let endless = std::iter::repeat_with(|| made.fetch_add(1, Ordering::Relaxed));
        let third = prefetch(endless, |mut items| items.nth(2)).unwrap();
        assert_eq!(third, Some(2));
        assert!(made.into_inner() <= 3 + AHEAD + 1);
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_is_not_lost() {
        let _ = prefetch((0..3).map(|item| assert!(item < 2)), |items| items.count());
    }
}
