//! Mean and variance of each channel over a batch.

use pulp::{Simd, WithSimd};

use crate::SimdLevel;
use crate::elementwise::{Distances, distances};
use crate::forward::block_pixels;
use crate::parts::{Part, each_part};

/// Mean and biased variance of each channel, over all pixels.
///
/// Blocks that fit into the first cache are looked at twice, for about the mean and then for the
/// distances from there, and merged in double precision (Chan, Golub, LeVeque 1983): a mean that
/// is large against the deviation costs no digits.
///
/// # Panics
/// Where there are no channels, or the values are not whole pixels of them.
pub(crate) fn statistics(
    level: SimdLevel,
    input: &[f32],
    images: usize,
    channels: usize,
) -> [Vec<f64>; 2] {
    assert!(input.len().is_multiple_of(channels * images.max(1)));
    let size = input.len() / images.max(1);
    let parts = each_part(images, |part| level.run(Accumulate { input, size, channels, part }));
    let mut total = Moments::new(channels);
    for part in &parts {
        let values = part.mean.iter().zip(&part.squares);
        total.merge(part.count, values.map(|(&mean, &squares)| [mean, squares]));
    }
    let Moments { count, mean, mut squares } = total;
    // Rounding can leave a constant channel next to zero on the wrong side.
    let variance = |squares: f64| if squares < 0.0 { 0.0 } else { squares / count.max(1.0) };
    squares.iter_mut().for_each(|squares| *squares = variance(*squares));
    [mean, squares]
}

/// Mean and squared distances from it of `count` pixels.
struct Moments {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn new(channels: usize) -> Self {
        Self { count: 0.0, mean: vec![0.0; channels], squares: vec![0.0; channels] }
    }

    /// Joins `count` other pixels, of which mean and squares are given channel by channel.
    fn merge(&mut self, count: f64, others: impl Iterator<Item = [f64; 2]>) {
        if count == 0.0 {
            return;
        }
        let whole = self.count + count;
        let (share, weight) = (count / whole, self.count * count / whole);
        let own = self.mean.iter_mut().zip(&mut self.squares);
        for ((own_mean, own_squares), [mean, squares]) in own.zip(others) {
            let distance = mean - *own_mean;
            *own_mean += distance * share;
            *own_squares += squares + distance * distance * weight;
        }
        self.count = whole;
    }
}

struct Accumulate<'a> {
    input: &'a [f32],
    /// Numbers of an image.
    size: usize,
    channels: usize,
    part: Part,
}

impl WithSimd for Accumulate<'_> {
    type Output = Moments;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Moments {
        let channels = self.channels;
        let mut total = Moments::new(channels);
        let mut found = Distances::new(channels);
        let values = &self.input[self.part.start * self.size..self.part.end * self.size];
        for block in values.chunks(2 * block_pixels(channels) * channels) {
            let pixels = block.len() / channels;
            // SAFETY: a block of whole pixels.
            unsafe { distances(simd, block.as_ptr(), pixels, &mut found) };
            let count = pixels as f64;
            let sums = found.sum.iter().zip(&found.squares);
            let moments = found.center.iter().zip(sums).map(|(&center, (&sum, &squares))| {
                let [center, sum, squares] = [center, sum, squares].map(f64::from);
                [center + sum / count, squares - sum * sum / count]
            });
            total.merge(count, moments);
        }
        total
    }
}
