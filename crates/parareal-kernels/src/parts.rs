//! A batch, split between the threads of the calling worker's pool.

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Consecutive images.
pub(crate) type Part = Range<usize>;

/// Calls `run` for as many parts of the batch as the pool has threads; the results come in order.
///
/// The split depends on nothing but the batch and the number of threads, so sums over parts are
/// the same every time.
pub(crate) fn each_part<R: Send>(batch: usize, run: impl Fn(Part) -> R + Sync) -> Vec<R> {
    let parts = rayon::current_num_threads().clamp(1, batch.max(1));
    let part = |index: usize| index * batch / parts..(index + 1) * batch / parts;
    match parts {
        1 => vec![run(part(0))],
        _ => (0..parts).into_par_iter().map(|index| run(part(index))).collect(),
    }
}
