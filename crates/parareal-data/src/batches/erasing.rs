//! Random erasing of a rectangle of training images.

use crate::error::DataError;
use crate::rng::{KeyedRng, Purpose};

/// Smallest and largest area of the rectangle, relative to the image.
const AREA: [f64; 2] = [0.02, 0.33];
/// Smallest and largest ratio of height to width.
const RATIO: [f64; 2] = [0.3, 3.3];
/// Number of rectangles that are tried. The image stays as it is if none fits into it.
const ATTEMPTS: usize = 10;

/// Random erasing (Zhong et al., "Random Erasing Data Augmentation", 2020), with the distribution of torchvision's
/// `RandomErasing`: with a probability, a rectangle of 2 to 33 % of the image with a ratio of height to width between 0.3
/// and 3.3 gets the mean color of the normalization.
///
/// ```
/// use parareal_data::RandomErasing;
///
/// assert!(RandomErasing::new(0.25).is_ok());
/// assert!(RandomErasing::new(1.5).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomErasing {
    probability: f64,
}

/// A rectangle of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rectangle {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl RandomErasing {
    /// Erases a rectangle of an image with this probability.
    ///
    /// # Errors
    /// [`DataError::Probability`] if the probability is not in [0, 1].
    pub fn new(probability: f64) -> Result<Self, DataError> {
        match (0.0..=1.0).contains(&probability) {
            true => Ok(Self { probability }),
            false => Err(DataError::Probability { probability }),
        }
    }

    /// Returns the rectangle of image `index` in an epoch, in images of this size. It depends on the arguments alone.
    pub(crate) fn rectangle(
        self,
        [seed, epoch, index]: [u64; 3],
        [height, width]: [usize; 2],
    ) -> Option<Rectangle> {
        let mut rng = KeyedRng::new(Purpose::Erasing, seed, epoch, index);
        if f64::from(rng.fraction()) >= self.probability {
            return None;
        }
        let pixels = (height * width) as f64;
        for _ in 0..ATTEMPTS {
            let area = pixels * (AREA[0] + (AREA[1] - AREA[0]) * f64::from(rng.fraction()));
            let ratio = rng.log_between(RATIO[0], RATIO[1]);
            let side = |square: f64| square.sqrt().round_ties_even() as usize;
            let [rows, columns] = [side(area * ratio), side(area / ratio)];
            if rows < height && columns < width {
                let mut place = |free: usize| rng.below(free as u64 + 1) as usize;
                let (top, left) = (place(height - rows), place(width - columns));
                return Some(Rectangle { top, left, height: rows, width: columns });
            }
        }
        None
    }
}

impl Rectangle {
    /// Erases the rectangle in a normalized channel `[height, width]`.
    pub(crate) fn erase(self, plane: &mut [f32], width: usize) {
        for row in plane.chunks_exact_mut(width).skip(self.top).take(self.height) {
            row[self.left..self.left + self.width].fill(0.0);
        }
    }

    /// Copies the rectangle from one channel `[height, width]` to another.
    pub(crate) fn copy(self, source: &[f32], plane: &mut [f32], width: usize) {
        let rows = plane.chunks_exact_mut(width).zip(source.chunks_exact(width));
        let columns = self.left..self.left + self.width;
        for (row, source) in rows.skip(self.top).take(self.height) {
            row[columns.clone()].copy_from_slice(&source[columns.clone()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rectangles(probability: f64, count: u64) -> Vec<Option<Rectangle>> {
        let erasing = RandomErasing::new(probability).unwrap();
        (0..count).map(|index| erasing.rectangle([1, 2, index], [32, 32])).collect()
    }

    #[test]
    fn the_share_of_erased_images_is_the_probability() {
        assert!(rectangles(0.0, 1_000).iter().all(Option::is_none));
        assert!(rectangles(1.0, 1_000).iter().all(Option::is_some));
        let erased = rectangles(0.25, 20_000).iter().flatten().count();
        // Five standard deviations.
        assert!(erased.abs_diff(5_000) < 307, "{erased}");
    }

    #[test]
    fn rectangles_lie_in_the_image_and_reach_its_edges() {
        let all: Vec<Rectangle> = rectangles(1.0, 5_000).into_iter().flatten().collect();
        assert!(all.iter().all(|one| one.top + one.height <= 32 && one.left + one.width <= 32));
        assert!(all.iter().any(|one| one.top == 0) && all.iter().any(|one| one.left == 0));
        assert!(all.iter().any(|one| one.top + one.height == 32));
        assert!(all.iter().any(|one| one.left + one.width == 32));
        // Nothing fits into a single row or column.
        let erasing = RandomErasing::new(1.0).unwrap();
        for size in [[1, 40], [40, 1], [1, 1]] {
            let rectangle = erasing.rectangle([1, 2, 3], size);
            assert!(rectangle.is_none_or(|one| one.height < size[0] && one.width < size[1]));
        }
    }

    /// Deciles of 400,000 images, printed by `references/random_erasing.py`.
    #[test]
    fn areas_ratios_and_places_are_distributed_as_in_torchvision() {
        const PIXELS: [f64; 9] = [52.0, 84.0, 114.0, 147.0, 180.0, 209.0, 240.0, 272.0, 304.0];
        const RATIOS: [f64; 9] = [0.3846, 0.5, 0.619, 0.7857, 1.0, 1.25, 1.6, 2.0, 2.6];
        const EDGES: [f64; 2] = [9.225, 9.211];
        let all: Vec<Rectangle> = rectangles(1.0, 100_000).into_iter().flatten().collect();
        let deciles = |value: &dyn Fn(&Rectangle) -> f64| -> Vec<f64> {
            let mut values: Vec<f64> = all.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            (1..10).map(|decile| values[decile * values.len() / 10]).collect()
        };
        let pixels = deciles(&|one| (one.height * one.width) as f64);
        let ratios = deciles(&|one| one.height as f64 / one.width as f64);
        for (found, expected) in pixels.iter().zip(PIXELS) {
            assert!((found - expected).abs() <= 3.0, "{pixels:?}");
        }
        for (found, expected) in ratios.iter().zip(RATIOS) {
            assert!((found / expected - 1.0).abs() <= 0.03, "{ratios:?}");
        }
        let mean = |edge: &dyn Fn(&Rectangle) -> usize| {
            all.iter().map(edge).sum::<usize>() as f64 / all.len() as f64
        };
        for (found, expected) in [mean(&|one| one.top), mean(&|one| one.left)].iter().zip(EDGES) {
            assert!((found - expected).abs() <= 0.15, "{found}, not {expected}");
        }
    }

    #[test]
    fn a_rectangle_is_erased() {
        let mut plane = vec![1.0; 12];
        Rectangle { top: 1, left: 2, height: 2, width: 1 }.erase(&mut plane, 4);
        let erased: Vec<usize> = (0..12).filter(|&pixel| plane[pixel] == 0.0).collect();
        assert_eq!(erased, [6, 10]);
    }
}
