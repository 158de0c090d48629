//! Normalization of pixels to mean zero and standard deviation one.

use crate::error::DataError;
use crate::images::decoders::in_parallel;
use crate::images::image_set::ImageSet;

/// Number of images that are in memory at the same time.
const CHUNK: usize = 64;

/// Mean and standard deviation of each channel, of pixels scaled from 0..=255 to [0, 1].
///
/// A stored pixel `p` of channel `c` becomes `(p / 255 - mean[c]) / deviation[c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel (of the whole population, not of a sample).
    pub deviation: Vec<f32>,
}

impl Normalization {
    /// Measures mean and standard deviation of the images of `set`, on several threads if they are in files.
    ///
    /// # Errors
    ///
    /// [`DataError::NoImages`] for an empty set, [`DataError::Image`] for a file that cannot be read or is damaged.
    pub fn measured(set: &ImageSet) -> Result<Self, DataError> {
        if set.is_empty() {
            return Err(DataError::NoImages);
        }
        let plane = set.height() * set.width();
        // Integer sums are exact, and so do not depend on the order of summation.
        let mut sums = vec![(0_u128, 0_u128); set.channels()];
        let mut add = |image: &[u8]| {
            for (pixels, sums) in image.chunks_exact(plane).zip(&mut sums) {
                for &pixel in pixels {
                    let pixel = u128::from(pixel);
                    sums.0 += pixel;
                    sums.1 += pixel * pixel;
                }
            }
        };
        for begin in (0..set.len()).step_by(CHUNK) {
            let count = CHUNK.min(set.len() - begin);
            if set.files().is_some() {
                let images = in_parallel(count, |image| set.image(begin + image))?;
                images.iter().for_each(|image| add(image));
            } else {
                (begin..begin + count)
                    .try_for_each(|index| set.image(index).map(|image| add(&image)))?;
            }
        }
        let count = set.len() as f64 * plane as f64;
        let mut normalization = Self { mean: Vec::new(), deviation: Vec::new() };
        for (sum, sum_of_squares) in sums {
            let mean = sum as f64 / count / 255.0;
            let mean_of_squares = sum_of_squares as f64 / count / (255.0 * 255.0);
            normalization.mean.push(mean as f32);
            normalization.deviation.push((mean_of_squares - mean * mean).max(0.0).sqrt() as f32);
        }
        Ok(normalization)
    }

    /// Returns the normalized value of each of the 256 stored values, for each channel.
    ///
    /// # Errors
    ///
    /// [`DataError::Normalization`] if the number of channels differs, a mean or deviation is not
    /// finite, or a deviation is not positive.
    pub(crate) fn table(&self, channels: usize) -> Result<Vec<[f32; 256]>, DataError> {
        let fits = self.mean.len() == channels
            && self.deviation.len() == channels
            && self.mean.iter().all(|mean| mean.is_finite())
            && self.deviation.iter().all(|deviation| deviation.is_finite() && *deviation > 0.0);
        if !fits {
            let (mean, deviation) = (self.mean.clone(), self.deviation.clone());
            return Err(DataError::Normalization { channels, mean, deviation });
        }
        let channel = |(mean, deviation): (&f32, &f32)| {
            std::array::from_fn(|pixel| (pixel as f32 / 255.0 - mean) / deviation)
        };
        Ok(self.mean.iter().zip(&self.deviation).map(channel).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_taken_per_channel() {
        let pixels = vec![0, 255, 51, 51, 0, 255, 51, 51];
        let set = ImageSet::new(2, 1, 2, 1, pixels, vec![0, 0]).unwrap();
        let measured = Normalization::measured(&set).unwrap();
        assert_eq!(measured.mean, [0.5, 0.2]);
        assert_eq!(measured.deviation[0], 0.5);
        assert!(measured.deviation[1] < 1e-6);
        assert!(matches!(Normalization::measured(&set.truncated(0)), Err(DataError::NoImages)));
    }

    #[test]
    fn the_table_holds_normalized_values() {
        let table = Normalization { mean: vec![0.5], deviation: vec![0.25] }.table(1).unwrap();
        assert_eq!((table[0][0], table[0][255]), (-2.0, 2.0));
    }

    #[test]
    fn unusable_numbers_are_refused() {
        for (mean, deviation) in [
            (vec![0.5; 2], vec![0.5]),
            (vec![0.5], vec![0.5; 2]),
            (vec![f32::NAN], vec![0.5]),
            (vec![0.5], vec![0.0]),
            (vec![0.5], vec![f32::INFINITY]),
        ] {
            let error = Normalization { mean, deviation }.table(1).unwrap_err();
            assert!(matches!(error, DataError::Normalization { channels: 1, .. }), "{error}");
        }
    }
}
