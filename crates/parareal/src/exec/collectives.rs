use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Another worker has stopped, so this worker cannot continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disconnected;

/// Collective operations on a few scalars over all workers of a replica: the loss, norms, the decision
/// to abandon a step.
///
/// All workers make the same calls in the same order.
pub(super) trait Collectives: Send {
    /// Sums each entry over all workers, in worker order, so that the result does not depend on the order of
    /// arrival.
    ///
    /// # Errors
    /// [`Disconnected`] if a worker has stopped.
    fn sum(&mut self, values: &mut [f64]) -> Result<(), Disconnected>;

    /// Computes the maximum of each entry over all workers; NaN if any is NaN.
    ///
    /// # Errors
    /// [`Disconnected`] if a worker has stopped.
    fn max(&mut self, values: &mut [f64]) -> Result<(), Disconnected>;
}

/// [`Collectives`] between threads, with a shared table of each worker's contributions to the calls in
/// progress.
pub(super) struct ThreadCollectives {
    worker: usize,
    calls: u64,
    shared: Arc<Shared>,
}

struct Shared {
    table: Mutex<Table>,
    changed: Condvar,
}

struct Table {
    /// For each worker, its contributions to the calls that other workers may still be waiting for.
    given: Vec<Vec<(u64, Vec<f64>)>>,
    /// For each worker, the number of calls that it has finished.
    finished: Vec<u64>,
    gone: bool,
}

/// Creates the collectives of `workers` threads.
pub(super) fn thread_collectives(workers: usize) -> Vec<ThreadCollectives> {
    let table = Table { given: vec![Vec::new(); workers], finished: vec![0; workers], gone: false };
    let shared = Arc::new(Shared { table: Mutex::new(table), changed: Condvar::new() });
    (0..workers)
        .map(|worker| ThreadCollectives { worker, calls: 0, shared: Arc::clone(&shared) })
        .collect()
}

impl ThreadCollectives {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is consistent at every step, even if a thread panicked while holding the lock.
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Contributes to this call, waits for the contributions of all workers, and folds them.
    fn exchange(
        &mut self,
        values: &mut [f64],
        fold: impl Fn(f64, f64) -> f64,
    ) -> Result<(), Disconnected> {
        let call = self.calls;
        self.calls += 1;
        let mut table = self.lock();
        table.given[self.worker].push((call, values.to_vec()));
        self.shared.changed.notify_all();
        for source in 0..table.given.len() {
            let theirs = loop {
                let given = table.given[source].iter().find(|(number, _)| *number == call);
                if let Some((_, theirs)) = given {
                    break theirs.clone();
                }
                if table.gone {
                    return Err(Disconnected);
                }
                table = self.shared.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
            };
            for (value, other) in values.iter_mut().zip(theirs) {
                *value = if source == 0 { other } else { fold(*value, other) };
            }
        }
        table.finished[self.worker] = self.calls;
        let all_finished = table.finished.iter().copied().min().unwrap_or(0);
        for given in &mut table.given {
            given.retain(|(number, _)| *number >= all_finished);
        }
        Ok(())
    }
}

impl Collectives for ThreadCollectives {
    fn sum(&mut self, values: &mut [f64]) -> Result<(), Disconnected> {
        self.exchange(values, |a, b| a + b)
    }

    fn max(&mut self, values: &mut [f64]) -> Result<(), Disconnected> {
        let max = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
        self.exchange(values, max)
    }
}

impl Drop for ThreadCollectives {
    /// Wakes the workers that wait for this one.
    fn drop(&mut self) {
        self.lock().gone = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_threads<R: Send>(run: impl Fn(usize, ThreadCollectives) -> R + Sync) -> Vec<R> {
        std::thread::scope(|scope| {
            let run = &run;
            let threads: Vec<_> = thread_collectives(3)
                .into_iter()
                .enumerate()
                .map(|(worker, collectives)| scope.spawn(move || run(worker, collectives)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn all_workers_see_the_same_results() {
        let seen = on_threads(|worker, mut collectives| {
            let mut seen = Vec::new();
            for round in 0..100 {
                let own = [(worker * 100 + round) as f64, -(worker as f64)];
                let (mut sum, mut max) = (own, own);
                collectives.sum(&mut sum).unwrap();
                collectives.max(&mut max).unwrap();
                seen.push((sum, max));
            }
            seen
        });
        assert_eq!(seen[0][7], ([321.0, -3.0], [207.0, 0.0]));
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0], seen[2]);
    }

    #[test]
    fn not_a_number_is_not_lost_in_a_maximum() {
        let seen = on_threads(|worker, mut collectives| {
            let mut values = [if worker == 1 { f64::NAN } else { 1.0 }];
            collectives.max(&mut values).unwrap();
            values[0]
        });
        assert!(seen.iter().all(|value| value.is_nan()));
    }

    #[test]
    fn a_worker_that_is_gone_blocks_nobody() {
        let seen = on_threads(|worker, mut collectives| match worker {
            1 => Ok(()),
            _ => collectives.sum(&mut [1.0]),
        });
        assert_eq!(seen, [Err(Disconnected), Ok(()), Err(Disconnected)]);
    }
}
