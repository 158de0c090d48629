//! Mean and variance of each channel over a batch.

use pulp::{Simd, WithSimd};

use crate::SimdLevel;
use crate::elementwise::moments;
use crate::forward::block_pixels;
use crate::parts::{Part, each_part};

/// Mean and biased variance of each channel, over all pixels.
///
/// Blocks that fit into the first cache are looked at twice, for the mean and then for the
/// distances from it, and merged in double precision (Chan, Golub, LeVeque 1983): a mean that is
/// large against the deviation costs no digits.
///
/// # Panics
/// Where there are no channels, or the values are not whole pixels of them.
pub(crate) fn statistics(
    level: SimdLevel,
    input: &[f32],
    images: usize,
    channels: usize,
) -> [Vec<f32>; 2] {
    assert!(input.len().is_multiple_of(channels * images.max(1)));
    let size = input.len() / images.max(1);
    let parts = each_part(images, |part| level.run(Accumulate { input, size, channels, part }));
    let mut total = Moments::new(channels);
    parts.iter().for_each(|part| total.merge(part.count, &part.mean, &part.squares));
    let count = total.count.max(1.0);
    [
        total.mean.iter().map(|&mean| mean as f32).collect(),
        total.squares.iter().map(|&squares| (squares / count) as f32).collect(),
    ]
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

    fn merge<T: Copy + Into<f64>>(&mut self, count: f64, mean: &[T], squares: &[T]) {
        if count == 0.0 {
            return;
        }
        let whole = self.count + count;
        let (share, weight) = (count / whole, self.count * count / whole);
        let own = self.mean.iter_mut().zip(&mut self.squares);
        for ((own_mean, own_squares), (&mean, &squares)) in own.zip(mean.iter().zip(squares)) {
            let distance = mean.into() - *own_mean;
            *own_mean += distance * share;
            *own_squares += squares.into() + distance * distance * weight;
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
        let (mut mean, mut squares) = (vec![0.0f32; channels], vec![0.0f32; channels]);
        let values = &self.input[self.part.start * self.size..self.part.end * self.size];
        for block in values.chunks(2 * block_pixels(channels) * channels) {
            let pixels = block.len() / channels;
            // SAFETY: a block of whole pixels.
            unsafe { moments(simd, block.as_ptr(), pixels, &mut mean, &mut squares) };
            total.merge(pixels as f64, &mean, &squares);
        }
        total
    }
}
