//! Division of work: a batch into chunks for the threads of the calling pool, and pixels into
//! blocks that fit into the first-level cache.

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Consecutive images of a batch.
pub(crate) type Chunk = Range<usize>;

/// Splits the batch into as many chunks as the calling pool has threads, but at most one for each
/// image.
///
/// The split depends only on the batch and the number of threads, so sums over chunks are the same
/// every time.
pub(crate) fn chunks(batch: usize) -> impl ExactSizeIterator<Item = Chunk> {
    let count = rayon::current_num_threads().clamp(1, batch.max(1));
    (0..count).map(move |index| index * batch / count..(index + 1) * batch / count)
}

/// Calls `run` for each of the [`chunks`] of the batch, in parallel. The results are in order.
pub(crate) fn map_chunks<R: Send>(batch: usize, run: impl Fn(Chunk) -> R + Sync) -> Vec<R> {
    let all = chunks(batch);
    match all.len() {
        1 => all.map(run).collect(),
        _ => all.collect::<Vec<_>>().into_par_iter().map(&run).collect(),
    }
}

/// Number of values in a block of pixels that is activated at once. They take about half of the
/// first-level cache.
const BLOCK_LEN: usize = 4096;

/// Number of pixels in a block of about [`BLOCK_LEN`] values, from 32 to 512.
pub(crate) fn block_pixels(channels: usize) -> usize {
    (BLOCK_LEN / channels).clamp(32, 512)
}
