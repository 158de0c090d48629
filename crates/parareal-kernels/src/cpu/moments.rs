//! Mean and variance of each channel over a batch.

use parareal_autodiff::replica_sum;
use pulp::{Simd, WithSimd};

use crate::cpu::chunks::{Chunk, block_pixels, map_chunks};
use crate::cpu::element::Element;
use crate::cpu::elementwise::{Deviations, deviations};
use crate::simd::SimdLevel;

/// Returns the mean and biased variance of each channel over all pixels.
///
/// The pixels are processed in blocks that fit into the first-level cache. For each block, the deviations from the mean of its
/// first eighth are summed. If that mean is off by `d`, the distance between the first eighth and the rest contributes at least
/// `d² / 7` to the variance of the block. So the sum of squares is at most eight times as large as necessary, and usually hardly
/// larger. Blocks are merged in double precision (Chan, Golub, LeVeque 1983). So the error of the variance is a few roundings of
/// single precision relative to the variance, even if the mean is large compared to the standard deviation.
///
/// The sums of a block depend on its pixels alone. With chunks of whole blocks, results for different numbers of threads therefore
/// differ only by the double-precision rounding of the merges.
///
/// # Panics
/// If there are no channels, or the length of `input` is not a multiple of `images · channels`.
pub(crate) fn mean_and_variance<E: Element>(
    level: SimdLevel,
    input: &[E],
    images: usize,
    channels: usize,
) -> [Vec<f64>; 2] {
    assert!(input.len().is_multiple_of(channels * images.max(1)));
    let size = input.len() / images.max(1);
    let moments = map_chunks(images, size / channels, |chunk| {
        level.run(MeasureMoments { input, size, channels, chunk })
    });
    Moments::finish(&moments, channels)
}

/// Returns the mean and biased variance of each channel over `count` pixels of this replica and those of all others, with
/// their total number.
pub(crate) fn over_replicas(
    [mean, variance]: [Vec<f64>; 2],
    count: usize,
) -> ([Vec<f64>; 2], usize) {
    let Some(replicas) = replica_sum() else { return ([mean, variance], count) };
    let (channels, own) = (mean.len(), count as f64);
    let mut terms: Vec<f64> = mean.iter().map(|mean| own * mean).collect();
    terms.push(own);
    replicas.sum(&mut terms);
    let total = terms[channels];
    let all_mean: Vec<f64> = terms[..channels].iter().map(|sum| sum / total).collect();
    // The variance is computed around the mean of all, so that nothing is lost if the mean is large.
    let mut squares: Vec<f64> = variance
        .iter()
        .zip(mean.iter().zip(&all_mean))
        .map(|(variance, (mean, all))| own * (variance + (mean - all).powi(2)))
        .collect();
    replicas.sum(&mut squares);
    squares.iter_mut().for_each(|squares| *squares /= total);
    ([all_mean, squares], total as usize)
}

/// Mean and sum of squared deviations from the mean, over `count` pixels.
#[derive(Debug)]
pub(crate) struct Moments {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
    /// The block that was added last, in memory that is used again.
    block: Deviations,
}

impl Moments {
    pub(crate) fn new(channels: usize) -> Self {
        let zeros = || vec![0.0; channels];
        let block = Deviations::new(channels);
        Self { count: 0.0, mean: zeros(), squares: zeros(), block }
    }

    /// Returns the mean and biased variance over the pixels of all chunks.
    pub(crate) fn finish(chunks: &[Self], channels: usize) -> [Vec<f64>; 2] {
        let mut total = Self::new(channels);
        for chunk in chunks {
            let values = chunk.mean.iter().zip(&chunk.squares);
            total.merge(chunk.count, values.map(|(&mean, &squares)| [mean, squares]));
        }
        let Self { count, mean, mut squares, .. } = total;
        // Rounding can make the sum of a constant channel slightly negative.
        let variance = |squares: f64| if squares < 0.0 { 0.0 } else { squares / count.max(1.0) };
        squares.iter_mut().for_each(|squares| *squares = variance(*squares));
        [mean, squares]
    }

    /// Adds whole pixels, block by block.
    ///
    /// # Safety
    /// `pixels` pixels with as many channels as these moments can be read from `x`.
    #[inline(always)]
    pub(crate) unsafe fn accumulate<S: Simd, E: Element>(
        &mut self,
        simd: S,
        x: *const E,
        pixels: usize,
    ) {
        let channels = self.mean.len();
        let mut block = std::mem::take(&mut self.block);
        let size = block_pixels(channels);
        for first in (0..pixels).step_by(size) {
            let pixels = size.min(pixels - first);
            // SAFETY: these pixels are among those that the caller promises.
            unsafe {
                let x = x.add(first * channels);
                let sample = pixels.div_ceil(8);
                block.center.fill(0.0);
                deviations(simd, x, sample, &mut block);
                block.move_center(sample as f32);
                deviations(simd, x, pixels, &mut block);
            }
            let count = pixels as f64;
            let sums = block.sum.iter().zip(&block.squares);
            let moments = block.center.iter().zip(sums).map(|(&center, (&sum, &squares))| {
                let [center, sum, squares] = [center, sum, squares].map(f64::from);
                [center + sum / count, squares - sum * sum / count]
            });
            self.merge(count, moments);
        }
        self.block = block;
    }

    /// Merges the moments of `count` other pixels, given as the mean and the sum of squared
    /// deviations of each channel.
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

struct MeasureMoments<'a, E> {
    input: &'a [E],
    /// Number of values in an image.
    size: usize,
    channels: usize,
    chunk: Chunk,
}

impl<E: Element> WithSimd for MeasureMoments<'_, E> {
    type Output = Moments;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Moments {
        let mut total = Moments::new(self.channels);
        let values = &self.input[self.chunk.values(self.size)];
        // SAFETY: these values are whole pixels.
        unsafe { total.accumulate(simd, values.as_ptr(), values.len() / self.channels) };
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct InParts<'a>(&'a [f32], usize, usize);

    impl WithSimd for InParts<'_> {
        type Output = Moments;

        /// Adds pixels in parts of different sizes, the first of a single pixel.
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Moments {
            let Self(values, channels, most) = self;
            let mut moments = Moments::new(channels);
            let (mut first, pixels) = (0, values.len() / channels);
            while first < pixels {
                let part = (1 + 37 * first % most).min(pixels - first);
                // SAFETY: these pixels are within the values.
                unsafe { moments.accumulate(simd, values[first * channels..].as_ptr(), part) };
                first += part;
            }
            moments
        }
    }

    /// Mean and variance of a channel, in double precision.
    fn exact(values: &[f32], channel: usize, channels: usize) -> [f64; 2] {
        let own = || values.iter().skip(channel).step_by(channels).map(|&value| f64::from(value));
        let count = own().count() as f64;
        let mean = own().sum::<f64>() / count;
        [mean, own().map(|value| (value - mean).powi(2)).sum::<f64>() / count]
    }

    #[test]
    fn threads_change_moments_only_by_the_rounding_of_merges() {
        for channels in [5, 16, 48] {
            let pixels = 6 * block_pixels(channels);
            let value = |index: usize| (index * 7919 % 1009) as f32 / 1009.0 - 0.3;
            let values: Vec<f32> = (0..pixels * channels).map(value).collect();
            for level in SimdLevel::available() {
                let [one, more @ ..] = [1, 2, 3].map(|threads| {
                    let pool =
                        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| mean_and_variance(level, &values, 6, channels).concat())
                });
                for (one, more) in more.iter().flat_map(|more| one.iter().zip(more)) {
                    assert!((one - more).abs() < 1e-14, "{one} {more}, {channels}, {level:?}");
                }
            }
        }
    }

    /// The mean is large, drifts from block to block, and differs between channels. The first pixel is far from all others.
    #[test]
    fn large_and_drifting_means_cost_no_accuracy() {
        let pixels = 1111;
        for channels in [5, 16, 48] {
            let value = |index: usize| {
                let (pixel, channel) = (index / channels, index % channels);
                let noise = ((index * 7919 % 1009) as f32 / 1009.0 - 0.5) * 3.0;
                let outlier = if pixel == 0 { 100.0 } else { 0.0 };
                (channel as f32 - 2.0) * 1e4 + pixel as f32 * 0.01 + noise + outlier
            };
            let values: Vec<f32> = (0..pixels * channels).map(value).collect();
            for level in SimdLevel::available() {
                for most in [1, 60, 2000] {
                    let moments = level.run(InParts(&values, channels, most));
                    let [means, variances] = Moments::finish(&[moments], channels);
                    for channel in 0..channels {
                        let [mean, variance] = exact(&values, channel, channels);
                        let told = format!("{channel} of {channels}, {most}, {level:?}");
                        let error = (means[channel] - mean).abs() / variance.sqrt();
                        assert!(error < 1e-5, "mean off by {error:e} deviations, {told}");
                        let error = (variances[channel] / variance - 1.0).abs();
                        assert!(error < 1e-5, "variance off by {error:e}, {told}");
                    }
                }
            }
        }
    }
}
