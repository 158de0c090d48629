//! Threads that decode image files.

use std::sync::OnceLock;
use std::thread;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Maximum number of threads.
const MAX_THREADS: usize = 16;

/// Computes `work(0)`, .., `work(count - 1)` on the threads that decode images, one for each core and at most sixteen.
/// Returns the results in order, or the error of the first index that has one.
///
/// The threads are not those of the workers of a training step, which must not wait for a file.
pub(crate) fn in_parallel<T: Send, E: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let builder = ThreadPoolBuilder::new().num_threads(cores.min(MAX_THREADS));
        builder.thread_name(|index| format!("parareal-decode-{index}")).build().ok()
    });
    match pool {
        Some(pool) => {
            let results: Vec<Result<T, E>> =
                pool.install(|| (0..count).into_par_iter().with_max_len(1).map(&work).collect());
            results.into_iter().collect()
        }
        // The system cannot start the threads.
        None => (0..count).map(work).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_the_first_error_counts() {
        let found = in_parallel::<_, ()>(1_000, Ok);
        assert!(found.unwrap().into_iter().eq(0..1_000));
        let found =
            in_parallel(1_000, |index| if index % 400 == 399 { Err(index) } else { Ok(()) });
        assert_eq!(found, Err(399));
    }
}
