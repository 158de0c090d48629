//! TrivialAugment: one random operation for each training image.

mod operations;

use operations::Pixels;

use crate::rng::{KeyedRng, Purpose};

/// Number of magnitudes of an operation.
const MAGNITUDES: u32 = 31;

/// An operation of TrivialAugment (Müller and Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data
/// Augmentation", 2021, the wide space).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

impl Operation {
    const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];
}

/// A random operation with its strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrivialAugment {
    operation: Operation,
    /// From 0 to 30.
    magnitude: u32,
    /// True if the operation acts in the other direction, for those that have one.
    reversed: bool,
}

impl TrivialAugment {
    /// Returns the operation for an image in an epoch. It depends on the arguments alone.
    pub(crate) fn random([seed, epoch, index]: [u64; 3]) -> Self {
        let mut rng = KeyedRng::new(Purpose::TrivialAugment, seed, epoch, index);
        Self {
            operation: Operation::ALL[rng.below(Operation::ALL.len() as u64) as usize],
            magnitude: rng.below(u64::from(MAGNITUDES)) as u32,
            reversed: rng.below(2) == 1,
        }
    }

    /// Returns the strength in a range of which the magnitudes are equally spaced points, rounded as in torchvision, where
    /// the points are counted from the nearer end in single precision.
    fn between(self, start: f32, end: f32) -> f64 {
        let last = MAGNITUDES - 1;
        let step = (end - start) / last as f32;
        f64::from(match self.magnitude < MAGNITUDES / 2 {
            true => start + step * self.magnitude as f32,
            false => end - step * (last - self.magnitude) as f32,
        })
    }

    /// Applies the operation to the stored pixels of an image, `[channels, height, width]`. Operations on colors need
    /// three channels, and leave other images unchanged.
    pub(crate) fn apply(self, values: &mut [u8], [height, width]: [usize; 2]) {
        let signed = |largest: f32| {
            let strength = self.between(0.0, largest);
            if self.reversed { -strength } else { strength }
        };
        let mut image = Pixels { values, height, width };
        match self.operation {
            Operation::Identity => {}
            Operation::ShearX => image.shear_x(signed(0.99)),
            Operation::ShearY => image.shear_y(signed(0.99)),
            Operation::TranslateX => image.translate_x(signed(32.0)),
            Operation::TranslateY => image.translate_y(signed(32.0)),
            Operation::Rotate => image.rotate(signed(135.0)),
            Operation::Brightness => image.brightness(1.0 + signed(0.99)),
            Operation::Color => image.color(1.0 + signed(0.99)),
            Operation::Contrast => image.contrast(1.0 + signed(0.99)),
            Operation::Sharpness => image.sharpness(1.0 + signed(0.99)),
            Operation::Posterize => {
                image.posterize(8 - self.between(0.0, 6.0).round_ties_even() as u32)
            }
            Operation::Solarize => image.solarize(self.between(255.0, 0.0)),
            Operation::AutoContrast => image.auto_contrast(),
            Operation::Equalize => image.equalize(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Results of torchvision, written by `references/trivial_augment.py`: for an image of three channels and one of one
    /// channel its pixels, then the results of all operations with the magnitudes 7, 20 and 30, both ways.
    /// Read when the test runs, because packages are checked without the folder `tests`.
    const EXPECTED: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/trivial_augment.bin");
    const IMAGES: [[usize; 3]; 2] = [[3, 24, 30], [1, 18, 16]];

    #[test]
    fn operations_are_those_of_torchvision() {
        let expected = std::fs::read(EXPECTED).unwrap();
        let mut rest = &expected[..];
        for [channels, height, width] in IMAGES {
            let size = channels * height * width;
            let (image, results) = rest.split_at(size);
            let (results, others) = results.split_at(size * Operation::ALL.len() * 6);
            let mut results = results.chunks_exact(size);
            rest = others;
            for operation in Operation::ALL {
                for magnitude in [7, 20, 30] {
                    for reversed in [false, true] {
                        let chosen = TrivialAugment { operation, magnitude, reversed };
                        let mut found = image.to_vec();
                        chosen.apply(&mut found, [height, width]);
                        let expected = results.next().unwrap();
                        let wrong = found.iter().zip(expected).filter(|(a, b)| a != b).count();
                        // A source half-way between two pixels may be rounded to the other one.
                        assert!(
                            wrong <= 1,
                            "{chosen:?} of {channels} channels: {wrong} of {size} pixels differ"
                        );
                    }
                }
            }
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn all_operations_magnitudes_and_directions_are_equally_likely() {
        let count = 28_000;
        let all: Vec<_> = (0..count).map(|index| TrivialAugment::random([1, 2, index])).collect();
        let near = |found: usize, share: f64| {
            let mean = count as f64 * share;
            (found as f64 - mean).abs() < 5.0 * (mean * (1.0 - share)).sqrt()
        };
        for operation in Operation::ALL {
            let found = all.iter().filter(|one| one.operation == operation).count();
            assert!(near(found, 1.0 / 14.0), "{operation:?}: {found}");
        }
        for magnitude in 0..MAGNITUDES {
            let found = all.iter().filter(|one| one.magnitude == magnitude).count();
            assert!(near(found, 1.0 / 31.0), "{magnitude}: {found}");
        }
        assert!(near(all.iter().filter(|one| one.reversed).count(), 0.5));
        assert_eq!(all[..9], (0..9).map(|i| TrivialAugment::random([1, 2, i])).collect::<Vec<_>>());
        assert_ne!(all[..9], (0..9).map(|i| TrivialAugment::random([1, 3, i])).collect::<Vec<_>>());
    }

    #[test]
    fn images_of_any_size_and_color_are_accepted() {
        for [height, width] in [[1, 1], [2, 5], [3, 3]] {
            for channels in [1, 2, 3, 4] {
                for operation in Operation::ALL {
                    for (magnitude, reversed) in [(30, false), (30, true), (0, false)] {
                        let mut image = vec![7; channels * height * width];
                        TrivialAugment { operation, magnitude, reversed }
                            .apply(&mut image, [height, width]);
                    }
                }
            }
        }
    }
}
