//! Random crops of images of any size, which are then resized.

use crate::images::resample::Span;
use crate::rng::{KeyedRng, Purpose};

/// Smallest and largest area of the crop, relative to the image.
const AREA: [f64; 2] = [0.08, 1.0];
/// Smallest and largest ratio of width to height.
const RATIO: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];
/// Number of crops that are tried before the largest one in the center with a permitted ratio is taken.
const ATTEMPTS: usize = 10;

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crop {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Crop {
    /// Returns the crop of an image of this size, with the distribution of torchvision's `RandomResizedCrop`. It depends on
    /// the arguments alone.
    pub(crate) fn random([seed, epoch, index]: [u64; 3], [height, width]: [usize; 2]) -> Self {
        let mut rng = KeyedRng::new(Purpose::ResizedCrop, seed, epoch, index);
        let pixels = height as f64 * width as f64;
        for _ in 0..ATTEMPTS {
            let area = pixels * (AREA[0] + (AREA[1] - AREA[0]) * f64::from(rng.fraction()));
            let ratio = rng.log_between(RATIO[0], RATIO[1]);
            let side = |square: f64| square.sqrt().round_ties_even() as usize;
            let [columns, rows] = [side(area * ratio), side(area / ratio)];
            if (1..=width).contains(&columns) && (1..=height).contains(&rows) {
                let mut place = |free: usize| rng.below(free as u64 + 1) as usize;
                let (top, left) = (place(height - rows), place(width - columns));
                return Self { top, left, height: rows, width: columns };
            }
        }
        Self::central([height, width])
    }

    /// Returns the largest crop in the center with a permitted ratio.
    fn central([height, width]: [usize; 2]) -> Self {
        let ratio = width as f64 / height as f64;
        let (mut rows, mut columns) = (height, width);
        if ratio < RATIO[0] {
            rows = (width as f64 / RATIO[0]).round_ties_even() as usize;
        } else if ratio > RATIO[1] {
            columns = (height as f64 * RATIO[1]).round_ties_even() as usize;
        }
        let (top, left) = ((height - rows) / 2, (width - columns) / 2);
        Self { top, left, height: rows, width: columns }
    }

    /// Returns the resampling of the crop to `size` x `size` pixels, by rows and by columns.
    pub(crate) fn spans(self, size: [usize; 2]) -> [Span; 2] {
        let Self { top, left, height, width } = self;
        [Span::of_part(top, height, size[0]), Span::of_part(left, width, size[1])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crops(size: [usize; 2], count: u64) -> Vec<Crop> {
        (0..count).map(|index| Crop::random([1, 2, index], size)).collect()
    }

    #[test]
    fn crops_lie_in_the_image_and_reach_its_edges() {
        for [height, width] in [[1, 1], [40, 60], [3, 200], [200, 3]] {
            let all = crops([height, width], 3_000);
            assert!(all.iter().all(|one| one.height > 0 && one.width > 0));
            assert!(all.iter().all(|one| one.top + one.height <= height));
            assert!(all.iter().all(|one| one.left + one.width <= width));
        }
        let all = crops([40, 60], 3_000);
        assert!(all.iter().any(|one| one.top == 0) && all.iter().any(|one| one.left == 0));
        assert!(all.iter().any(|one| one.top + one.height == 40));
        assert!(all.iter().any(|one| one.left + one.width == 60));
        assert_eq!(crops([9, 9], 20), crops([9, 9], 20));
        assert_ne!(Crop::random([1, 2, 3], [90, 90]), Crop::random([2, 2, 3], [90, 90]));
        assert_ne!(Crop::random([1, 2, 3], [90, 90]), Crop::random([1, 3, 3], [90, 90]));
    }

    #[test]
    fn an_image_that_no_crop_fits_is_cropped_in_the_center() {
        // The results of torchvision for a wide and a tall image.
        let wide = Crop { top: 0, left: 98, height: 3, width: 4 };
        assert_eq!(Crop::central([3, 200]), wide);
        let tall = Crop { top: 98, left: 0, height: 4, width: 3 };
        assert_eq!(Crop::central([200, 3]), tall);
        assert_eq!(Crop::central([9, 10]), Crop { top: 0, left: 0, height: 9, width: 10 });
        assert!(crops([3, 200], 500).contains(&wide) && crops([200, 3], 500).contains(&tall));
    }

    /// Deciles of the area and of the ratio of width to height, means of the top and left edge, and the share of central
    /// crops, of 400,000 crops by torchvision 0.29.2: `references/resized_crop.py`.
    #[test]
    fn areas_ratios_and_places_are_distributed_as_in_torchvision() {
        for (size, areas, ratios, edges, central) in [
            (
                [96, 128],
                [1833.0, 2688.0, 3534.0, 4366.0, 5214.0, 6059.0, 6900.0, 7830.0, 9114.0],
                [0.8105, 0.8701, 0.9294, 0.9875, 1.0465, 1.1042, 1.1622, 1.2188, 1.2763],
                [13.298, 27.772],
                0.0001,
            ),
            (
                [64, 64],
                [667.0, 990.0, 1320.0, 1640.0, 1978.0, 2303.0, 2632.0, 2964.0, 3304.0],
                [0.8, 0.8519, 0.9016, 0.9512, 1.0, 1.0526, 1.1111, 1.175, 1.25],
                [10.414, 10.407],
                0.0005,
            ),
            (
                [40, 120],
                [520.0, 648.0, 780.0, 918.0, 1050.0, 1178.0, 1320.0, 1482.0, 1728.0],
                [0.8182, 0.88, 0.9444, 1.0, 1.0625, 1.125, 1.1818, 1.2381, 1.2963],
                [4.256, 43.306],
                0.0328,
            ),
        ] {
            let [height, width] = size;
            let all = crops(size, 100_000);
            let deciles = |value: &dyn Fn(&Crop) -> f64| -> Vec<f64> {
                let mut values: Vec<f64> = all.iter().map(value).collect();
                values.sort_by(f64::total_cmp);
                (1..10).map(|decile| values[decile * values.len() / 10]).collect()
            };
            let found = deciles(&|one| (one.height * one.width) as f64);
            for (found, expected) in found.iter().zip(areas) {
                let tolerance = 0.006 * (height * width) as f64;
                assert!((found - expected).abs() <= tolerance, "{found}, not {expected}");
            }
            let found = deciles(&|one| one.width as f64 / one.height as f64);
            for (found, expected) in found.iter().zip(ratios) {
                assert!((found / expected - 1.0).abs() <= 0.015, "{found}, not {expected}");
            }
            let mean = |edge: &dyn Fn(&Crop) -> usize| {
                all.iter().map(edge).sum::<usize>() as f64 / all.len() as f64
            };
            for (found, expected) in [mean(&|one| one.top), mean(&|one| one.left)].iter().zip(edges)
            {
                let tolerance = 0.004 * height.max(width) as f64;
                assert!((found - expected).abs() <= tolerance, "{found}, not {expected}");
            }
            let share = all.iter().filter(|one| **one == Crop::central(size)).count() as f64;
            assert!((share / all.len() as f64 - central).abs() < 0.01, "{share}, not {central}");
        }
    }
}
