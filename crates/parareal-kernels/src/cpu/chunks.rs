//! Division of work: a batch into chunks for the threads of the calling pool, and pixels into
//! blocks that fit into the first-level cache.

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::cpu::helpers;

/// Consecutive bands of the images of a batch. All images have the same number of bands.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    bands: Range<usize>,
    per_image: usize,
}

impl Chunk {
    /// Returns the values of the chunk, where an image has `size` values, a multiple of the number of bands.
    pub(crate) fn values(&self, size: usize) -> Range<usize> {
        let band = size / self.per_image;
        self.bands.start * band..self.bands.end * band
    }

    /// Returns the images of which this chunk has rows, with these rows, where an image has `rows` rows, a
    /// multiple of the number of bands. Up to `group` consecutive images of which it has all rows are one item.
    pub(crate) fn parts(
        &self,
        rows: usize,
        group: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let Range { mut start, end } = self.values(rows);
        std::iter::from_fn(move || {
            if start == end {
                return None;
            }
            let (image, first) = (start / rows, start % rows);
            let whole = if first == 0 { ((end - start) / rows).min(group) } else { 0 };
            let item = match whole {
                0 => (image..image + 1, first..rows.min(first + end - start)),
                _ => (image..image + whole, 0..rows),
            };
            start += item.0.len() * item.1.len();
            Some(item)
        })
    }
}

/// Splits the batch into as many chunks as the calling pool has threads, but at most one for each band. An image
/// has `per_image` bands.
///
/// The split depends only on these numbers and the number of threads, so sums over chunks are the same every time.
pub(crate) fn chunks(batch: usize, per_image: usize) -> impl ExactSizeIterator<Item = Chunk> {
    let bands = batch * per_image;
    let count = rayon::current_num_threads().clamp(1, bands.max(1));
    (0..count).map(move |index| Chunk {
        bands: index * bands / count..(index + 1) * bands / count,
        per_image,
    })
}

/// Calls `run` for each of the [`chunks`] of the batch, in parallel. The results are in order.
pub(crate) fn map_chunks<R: Send>(
    batch: usize,
    per_image: usize,
    run: impl Fn(Chunk) -> R + Sync,
) -> Vec<R> {
    let all = chunks(batch, per_image);
    match all.len() {
        1 => all.map(run).collect(),
        _ => {
            helpers::keep_awake();
            all.collect::<Vec<_>>().into_par_iter().map(&run).collect()
        }
    }
}

/// Number of values in a block of pixels that is activated at once. They take about half of the
/// first-level cache.
const BLOCK_LEN: usize = 4096;

/// Number of pixels in a block of about [`BLOCK_LEN`] values, from 32 to 512.
pub(crate) fn block_pixels(channels: usize) -> usize {
    (BLOCK_LEN / channels).clamp(32, 512)
}
