//! A batch in parts for the threads of the calling worker's pool.

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Consecutive images.
pub(crate) type Part = Range<usize>;

/// The number of parts of a large enough batch. More threads than parts have nothing to do; more parts
/// cost the sum of their gradients.
const PARTS: usize = 16;

/// Calls `run` for each part of the batch, on the threads of the pool; the results come in order.
///
/// The split depends on nothing but the batch, so sums over parts are the same on any number of
/// threads.
pub(crate) fn each_part<R: Send>(batch: usize, run: impl Fn(Part) -> R + Sync) -> Vec<R> {
    let parts = batch.clamp(1, PARTS);
    let part = |index: usize| index * batch / parts..(index + 1) * batch / parts;
    match rayon::current_num_threads() {
        1 => (0..parts).map(|index| run(part(index))).collect(),
        _ => (0..parts).into_par_iter().map(|index| run(part(index))).collect(),
    }
}
