//! Random numbers that depend on a key alone.
//!
//! The same seed must give the same run for years, but the sampling algorithms of a library may
//! change between versions. Bounded integers and fractions are therefore computed here from the raw
//! output of the generator.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Purpose of a generator, a part of its key. Generators with different purposes produce unrelated
/// numbers even if the rest of their keys is equal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The order of the images of an epoch.
    Order = 1,
    /// The augmentation of an image.
    Augmentation = 2,
    /// The drawing of a training image.
    TrainingShape = 3,
    /// The drawing of a test image.
    TestShape = 4,
    /// The choice of the images to hold out for testing.
    HeldOut = 5,
    /// The choice of the training images to split off for validation.
    RandomSplit = 6,
    /// The erasing of a rectangle of an image.
    Erasing = 7,
    /// The operation of TrivialAugment on an image.
    TrivialAugment = 8,
    /// The crop of an image that is then resized.
    ResizedCrop = 9,
    /// The mixing of the images of a batch.
    Mixing = 10,
}

/// Bits of the exponent of [`KeyedRng::log_between`].
const BITS: u32 = 16;

/// A generator of random numbers that are the same for the same key on every machine.
pub(crate) struct KeyedRng(ChaCha8Rng);

impl KeyedRng {
    /// Creates the generator for a key: a purpose, a seed and two numbers whose meaning depends on
    /// the purpose.
    pub(crate) fn new(purpose: Purpose, seed: u64, first: u64, second: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([purpose as u64, seed, first, second]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Returns 32 random bits.
    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Returns a uniformly distributed integer in [0, `bound`), or 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Lemire's method: the upper half of `word * bound` is the result. A result comes from
        // `2^64 / bound` words, rounded down or up. Rejecting products whose lower half is below
        // `2^64 mod bound` leaves the same number of words for each result.
        let surplus = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(bound);
            if product as u64 >= surplus {
                return (product >> 64) as u64;
            }
        }
    }

    /// Returns the numbers from 0 to `len - 1` in random order. All orders are equally likely.
    pub(crate) fn permutation(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for last in (1..len).rev() {
            // The number is at most `last`, so it fits a usize.
            order.swap(last, self.below(last as u64 + 1) as usize);
        }
        order
    }

    /// Returns a fraction in [0, 1), one of 2^24 equally spaced values.
    pub(crate) fn fraction(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / 16_777_216.0
    }

    /// Returns a number in [low, high).
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.fraction()
    }

    /// Returns a number in [low, high) whose logarithm is uniformly distributed.
    pub(crate) fn log_between(&mut self, low: f64, high: f64) -> f64 {
        low * power(high / low, self.bits() >> (32 - BITS))
    }

    /// Returns a uniformly distributed direction in the plane: a vector of length one.
    ///
    /// It uses rejection sampling in a disc, which needs only a square root. Unlike sines and
    /// cosines, square roots are rounded the same on every machine.
    pub(crate) fn direction(&mut self) -> [f32; 2] {
        loop {
            let (x, y) = (self.between(-1.0, 1.0), self.between(-1.0, 1.0));
            let square = x * x + y * y;
            if square > 0.01 && square <= 1.0 {
                let length = square.sqrt();
                return [x / length, y / length];
            }
        }
    }
}

/// Returns `base^(exponent / 2^BITS)` from square roots and products, which are rounded the same on every machine.
fn power(base: f64, exponent: u32) -> f64 {
    let (mut root, mut product) = (base, 1.0);
    for bit in (0..BITS).rev() {
        root = root.sqrt();
        if exponent >> bit & 1 == 1 {
            product *= root;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_the_standard_library() {
        for exponent in [0, 1, 77, 1 << 15, (1 << 16) - 1] {
            let expected = 11f64.powf(f64::from(exponent) / 65536.0);
            assert!((power(11.0, exponent) / expected - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let first = |purpose, seed, a, b| KeyedRng::new(purpose, seed, a, b).bits();
        let base = first(Purpose::Order, 1, 2, 3);
        assert_eq!(base, first(Purpose::Order, 1, 2, 3));
        assert_ne!(base, first(Purpose::Augmentation, 1, 2, 3));
        assert_ne!(base, first(Purpose::Order, 9, 2, 3));
        assert_ne!(base, first(Purpose::Order, 1, 9, 3));
        assert_ne!(base, first(Purpose::Order, 1, 2, 9));
    }

    #[test]
    fn bounded_numbers_stay_below_the_bound_and_reach_all_values() {
        let mut rng = KeyedRng::new(Purpose::Order, 0, 0, 0);
        let mut counts = [0; 7];
        for _ in 0..7_000 {
            counts[rng.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
        let large = (1 << 63) + 1;
        assert!((0..100).all(|_| rng.below(large) < large));
    }

    #[test]
    fn fractions_and_directions_are_in_range() {
        let mut rng = KeyedRng::new(Purpose::TestShape, 0, 0, 0);
        for _ in 0..1_000 {
            assert!((0.0..1.0).contains(&rng.fraction()));
            let [x, y] = rng.direction();
            assert!((x * x + y * y - 1.0).abs() < 1e-5);
        }
    }
}
