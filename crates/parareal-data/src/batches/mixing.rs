//! Mixing of the images of a batch: mixup and cutmix.

use crate::batches::erasing::Rectangle;
use crate::error::DataError;
use crate::rng::{KeyedRng, Purpose};

/// Mixing of each image of a batch with the image before it (the first one with the last), with the distributions of
/// torchvision's `MixUp` and `CutMix`.
///
/// One share λ is drawn for a batch from the distribution Beta(α, α). Mixup (Zhang et al., 2018) multiplies an image by λ
/// and adds 1 - λ times the other. Cutmix (Yun et al., 2019) replaces a rectangle of 1 - λ of the pixels by the same
/// rectangle of the other image. The center of the rectangle is anywhere in the image, and the part outside of the image
/// is cut off; λ is then the exact share of the pixels that are left. The label of an image has the share λ, the label of
/// the other one the rest.
///
/// With both methods, each batch uses one of them, with equal probability.
///
/// ```
/// use parareal_data::Mixing;
///
/// assert!(Mixing::new(0.2, 1.0).unwrap().is_some());
/// assert!(Mixing::new(0.0, 0.0).unwrap().is_none());
/// assert!(Mixing::new(-1.0, 0.0).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixing {
    method: Method,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    MixUp { alpha: f64 },
    CutMix { alpha: f64 },
    Either { mixup: f64, cutmix: f64 },
}

/// Mixing of the images of one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mix {
    /// Each image has a share of `share`, the other image has the rest.
    Blend { share: f64 },
    /// Each image has a rectangle of the other image.
    Paste { rectangle: Rectangle, share: f64 },
}

impl Mixing {
    /// Creates the mixing with these values of α for mixup and cutmix. A value of 0 turns a method off. Returns `None` if
    /// both are off.
    ///
    /// # Errors
    /// [`DataError::MixingAlpha`] if a value is negative or not finite.
    pub fn new(mixup: f64, cutmix: f64) -> Result<Option<Self>, DataError> {
        for (method, alpha) in [("mixup", mixup), ("cutmix", cutmix)] {
            if !(alpha.is_finite() && alpha >= 0.0) {
                return Err(DataError::MixingAlpha { method, alpha });
            }
        }
        let method = match (mixup > 0.0, cutmix > 0.0) {
            (false, false) => return Ok(None),
            (true, false) => Method::MixUp { alpha: mixup },
            (false, true) => Method::CutMix { alpha: cutmix },
            (true, true) => Method::Either { mixup, cutmix },
        };
        Ok(Some(Self { method }))
    }

    /// Returns the mixing of batch `batch` of an epoch, counted from 0, with images of this size. It depends on the
    /// arguments alone.
    pub(crate) fn of_batch(
        self,
        [seed, epoch, batch]: [u64; 3],
        [height, width]: [usize; 2],
    ) -> Mix {
        let mut rng = KeyedRng::new(Purpose::Mixing, seed, epoch, batch);
        let method = match self.method {
            Method::Either { mixup, .. } if rng.below(2) == 0 => Method::MixUp { alpha: mixup },
            Method::Either { cutmix, .. } => Method::CutMix { alpha: cutmix },
            method => method,
        };
        match method {
            Method::MixUp { alpha } => Mix::Blend { share: symmetric_beta(alpha, &mut rng) },
            Method::CutMix { alpha } | Method::Either { cutmix: alpha, .. } => {
                let share = symmetric_beta(alpha, &mut rng);
                let half = 0.5 * (1.0 - share).sqrt();
                // The first pixel of the rectangle, and its number of pixels.
                let mut range = |len: usize| {
                    let center = rng.below(len as u64) as usize;
                    let half = (half * len as f64) as usize;
                    let first = center.saturating_sub(half);
                    (first, (center + half).min(len) - first)
                };
                let ((left, columns), (top, rows)) = (range(width), range(height));
                let rectangle = Rectangle { top, left, height: rows, width: columns };
                let pasted = (rows * columns) as f64 / (height * width) as f64;
                Mix::Paste { rectangle, share: 1.0 - pasted }
            }
        }
    }
}

impl Mix {
    /// Returns the share of each image. The other image has the rest.
    pub(crate) fn share(self) -> f64 {
        match self {
            Self::Blend { share } | Self::Paste { share, .. } => share,
        }
    }

    /// Mixes each image with the image before it, and the first one with the last. `images` contains at least one image of
    /// `len` values each, in channels of `height` by `width` values.
    pub(crate) fn apply(self, images: &mut [f32], len: usize, [height, width]: [usize; 2]) {
        let count = images.len() / len;
        let last = images[(count - 1) * len..].to_vec();
        for index in (1..count).rev() {
            let (before, after) = images.split_at_mut(index * len);
            self.mix(&mut after[..len], &before[(index - 1) * len..], height * width, width);
        }
        self.mix(&mut images[..len], &last, height * width, width);
    }

    /// Mixes an image with another one. `plane` is the number of values of a channel.
    fn mix(self, image: &mut [f32], other: &[f32], plane: usize, width: usize) {
        match self {
            Self::Blend { share } => {
                let (own, rest) = (share as f32, (1.0 - share) as f32);
                for (value, other) in image.iter_mut().zip(other) {
                    *value = *value * own + other * rest;
                }
            }
            Self::Paste { rectangle, .. } => {
                let channels = image.chunks_exact_mut(plane).zip(other.chunks_exact(plane));
                for (channel, other) in channels {
                    rectangle.copy(other, channel, width);
                }
            }
        }
    }
}

/// Returns a number in [0, 1] with the distribution Beta(α, α).
///
/// With U uniform in (0, 1) and C the first coordinate of a random direction, let R be `(U^(-1/α) - 1) C²`. Then
/// `±sqrt(2α R)` has Student's t distribution with 2α degrees of freedom (Bailey, 1994), so that `(1 ± sqrt(R / (1 + R))) / 2`
/// has the distribution Beta(α, α) (Devroye, 1996). This uses square roots and products, which are rounded the same on
/// every machine.
fn symmetric_beta(alpha: f64, rng: &mut KeyedRng) -> f64 {
    let uniform = (f64::from(rng.bits()) + 0.5) / 4_294_967_296.0;
    let power = power(uniform, 1.0 / alpha);
    let cosine = f64::from(rng.direction()[0]);
    // R times the power.
    let spread = (1.0 - power) * cosine * cosine;
    if spread == 0.0 {
        return 0.5;
    }
    0.5 + (0.5 * (spread / (power + spread)).sqrt()).copysign(cosine)
}

/// Returns a power of a number in (0, 1) with a positive exponent, from products and square roots.
fn power(base: f64, exponent: f64) -> f64 {
    let mut product = 1.0;
    // The bits of the whole part of the exponent. A part that no u64 can hold gives 0 all the same.
    let (mut whole, mut square) = (exponent as u64, base);
    while whole > 0 && product > 0.0 {
        if whole & 1 == 1 {
            product *= square;
        }
        square *= square;
        whole >>= 1;
    }
    // The bits of the fraction. Those after the 64th do not change a double.
    let (mut fraction, mut root) = (exponent.fract(), base);
    for _ in 0..64 {
        root = root.sqrt();
        fraction *= 2.0;
        if fraction >= 1.0 {
            product *= root;
            fraction -= 1.0;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [usize; 2] = [32, 32];

    fn mixes(mixup: f64, cutmix: f64, count: u64) -> Vec<Mix> {
        let mixing = Mixing::new(mixup, cutmix).unwrap().unwrap();
        (0..count).map(|batch| mixing.of_batch([1, 2, batch], SIZE)).collect()
    }

    /// Returns λ before the rectangle is cut.
    fn shares(alpha: f64, count: u64) -> Vec<f64> {
        mixes(alpha, 0.0, count).into_iter().map(Mix::share).collect()
    }

    #[test]
    fn powers_are_those_of_the_standard_library() {
        for base in [1e-9, 0.3, 0.999_999] {
            for exponent in [1e-9, 0.01, 0.37, 1.0, 2.5, 5.0, 20.125] {
                let expected = f64::powf(base, exponent);
                let found = power(base, exponent);
                assert!((found / expected - 1.0).abs() < 1e-13, "{base} {exponent}: {found}");
            }
        }
        assert_eq!((power(0.5, 1e300), power(0.5, f64::INFINITY)), (0.0, 0.0));
        assert_eq!(power(0.5, 1e-300), 1.0);
    }

    #[test]
    fn shares_have_the_moments_of_the_beta_distribution() {
        for alpha in [0.05, 0.2, 0.5, 1.0, 2.0, 8.0, 50.0] {
            let shares = shares(alpha, 40_000);
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
            let moment = |power: i32| {
                shares.iter().map(|share| (share - 0.5).powi(power)).sum::<f64>() / 40_000.0
            };
            let variance = 0.25 / (2.0 * alpha + 1.0);
            let fourth = 0.75 * variance / (2.0 * alpha + 3.0);
            let sixth = 1.25 * fourth / (2.0 * alpha + 5.0);
            // Five standard deviations of the estimates.
            let error =
                |second: f64, first: f64| 5.0 * ((second - first * first) / 40_000.0).sqrt();
            assert!(moment(1).abs() < error(variance, 0.0), "{alpha}: {}", moment(1));
            assert!((moment(2) - variance).abs() < error(fourth, variance), "{alpha}");
            assert!((moment(3)).abs() < error(sixth, 0.0), "{alpha}");
            assert!((moment(4) / fourth - 1.0).abs() < 0.1, "{alpha}: {}", moment(4) / fourth);
        }
    }

    #[test]
    fn shares_have_the_distribution_functions_that_are_known() {
        let arcsine = |x: f64| 2.0 / std::f64::consts::PI * x.sqrt().asin();
        let cubic = |x: f64| 3.0 * x * x - 2.0 * x * x * x;
        let functions: [(f64, &dyn Fn(f64) -> f64); 3] =
            [(0.5, &arcsine), (1.0, &|x| x), (2.0, &cubic)];
        for (alpha, function) in functions {
            let mut shares = shares(alpha, 40_000);
            shares.sort_by(f64::total_cmp);
            let distance = |(rank, &share): (usize, &f64)| {
                (function(share) - (rank as f64 + 0.5) / 40_000.0).abs()
            };
            let largest = shares.iter().enumerate().map(distance).fold(0.0, f64::max);
            // Kolmogorov's bound for a probability of 1e-6: 2.7 / sqrt(n).
            assert!(largest < 2.7 / 200.0, "{alpha}: {largest}");
        }
        // Extreme values of α are at the ends or in the middle.
        assert!(shares(1e-9, 100).iter().all(|&share| share == 0.0 || share == 1.0));
        assert!(shares(f64::MIN_POSITIVE, 100).iter().all(|&share| share == 0.0 || share == 1.0));
        assert!(shares(1e12, 100).iter().all(|share| (share - 0.5).abs() < 1e-5));
    }

    #[test]
    fn shares_of_cutmix_are_exact_and_rectangles_lie_in_the_image() {
        for size in [SIZE, [20, 48], [1, 7], [1, 1]] {
            let mixing = Mixing::new(0.0, 1.0).unwrap().unwrap();
            let [mut whole, mut none] = [0, 0];
            for batch in 0..5_000 {
                let mix = mixing.of_batch([1, 2, batch], size);
                let Mix::Paste { rectangle: one, share } = mix else { panic!("{mix:?}") };
                assert!(one.top + one.height <= size[0] && one.left + one.width <= size[1]);
                let pixels = size[0] * size[1];
                // An image of zeros with a rectangle of ones.
                let mut image = vec![0.0; pixels];
                mix.mix(&mut image, &vec![1.0; pixels], pixels, size[1]);
                let pasted = image.iter().filter(|&&value| value == 1.0).count();
                assert_eq!(share, 1.0 - pasted as f64 / pixels as f64);
                whole += usize::from(pasted == pixels);
                none += usize::from(pasted == 0);
            }
            assert!(none > 0 && whole < 5_000, "{size:?}: {whole} and {none}");
        }
    }

    /// Deciles and means of 400,000 rectangles, printed by `references/cutmix.py`.
    #[test]
    fn rectangles_are_distributed_as_in_torchvision() {
        const PIXELS: [f64; 9] = [64.0, 132.0, 192.0, 240.0, 289.0, 340.0, 400.0, 468.0, 572.0];
        const HEIGHTS: [f64; 9] = [8.0, 11.0, 13.0, 15.0, 17.0, 18.0, 20.0, 22.0, 25.0];
        const MEAN_OF_PIXELS: f64 = 306.62;
        const EMPTY: f64 = 0.0039;
        const EDGES: [f64; 2] = [7.304, 7.3];
        let all: Vec<Rectangle> = mixes(0.0, 1.0, 100_000)
            .into_iter()
            .map(|mix| match mix {
                Mix::Paste { rectangle, .. } => rectangle,
                Mix::Blend { .. } => panic!("cutmix alone is on"),
            })
            .collect();
        let deciles = |value: &dyn Fn(&Rectangle) -> usize| -> Vec<f64> {
            let mut values: Vec<usize> = all.iter().map(value).collect();
            values.sort_unstable();
            (1..10).map(|decile| values[decile * values.len() / 10] as f64).collect()
        };
        let pixels = deciles(&|one| one.height * one.width);
        for (found, expected) in pixels.iter().zip(PIXELS) {
            assert!((found - expected).abs() <= 6.0, "{pixels:?}");
        }
        let [heights, widths] = [deciles(&|one| one.height), deciles(&|one| one.width)];
        for sides in [heights, widths] {
            for (found, expected) in sides.iter().zip(HEIGHTS) {
                assert!((found - expected).abs() <= 1.0, "{sides:?}");
            }
        }
        let some: Vec<&Rectangle> = all.iter().filter(|one| one.height * one.width > 0).collect();
        let empty = (all.len() - some.len()) as f64 / all.len() as f64;
        assert!((empty - EMPTY).abs() < 0.001, "{empty}");
        let mean = |edge: &dyn Fn(&Rectangle) -> usize| {
            some.iter().map(|one| edge(one)).sum::<usize>() as f64 / some.len() as f64
        };
        let pixels = mean(&|one| one.height * one.width) * (1.0 - empty);
        assert!((pixels - MEAN_OF_PIXELS).abs() < 4.0, "{pixels}");
        for (found, expected) in [mean(&|one| one.top), mean(&|one| one.left)].iter().zip(EDGES) {
            assert!((found - expected).abs() <= 0.15, "{found}, not {expected}");
        }
    }

    #[test]
    fn each_batch_uses_one_of_two_methods() {
        let both = mixes(0.2, 1.0, 10_000);
        let blended = both.iter().filter(|mix| matches!(mix, Mix::Blend { .. })).count();
        // Five standard deviations.
        assert!(blended.abs_diff(5_000) < 250, "{blended}");
        assert!(mixes(0.2, 0.0, 100).iter().all(|mix| matches!(mix, Mix::Blend { .. })));
        assert!(mixes(0.0, 0.2, 100).iter().all(|mix| matches!(mix, Mix::Paste { .. })));
    }

    #[test]
    fn mixing_depends_on_seed_epoch_and_batch() {
        let mixing = Mixing::new(0.4, 0.0).unwrap().unwrap();
        let share = |key| mixing.of_batch(key, SIZE).share();
        let base = share([1, 2, 3]);
        assert_eq!(base, share([1, 2, 3]));
        for other in [[2, 2, 3], [1, 3, 3], [1, 2, 4]] {
            assert_ne!(base, share(other));
        }
    }

    #[test]
    fn images_are_mixed_with_the_image_before() {
        // Three images of two channels with 1x2 pixels.
        let images: Vec<f32> = (0..12).map(|value| value as f32).collect();
        let mut blended = images.clone();
        Mix::Blend { share: 0.75 }.apply(&mut blended, 4, [1, 2]);
        assert_eq!(blended, [2.0, 3.0, 4.0, 5.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
        let mut pasted = images;
        let rectangle = Rectangle { top: 0, left: 1, height: 1, width: 1 };
        Mix::Paste { rectangle, share: 0.5 }.apply(&mut pasted, 4, [1, 2]);
        assert_eq!(pasted, [0.0, 9.0, 2.0, 11.0, 4.0, 1.0, 6.0, 3.0, 8.0, 5.0, 10.0, 7.0]);
    }

    #[test]
    fn values_of_alpha_that_are_negative_or_not_finite_are_refused() {
        for alpha in [-0.1, f64::NAN, f64::INFINITY] {
            let message = Mixing::new(0.2, alpha).unwrap_err().to_string();
            assert!(message.contains("cutmix") && message.lines().count() == 1, "{message}");
            assert!(Mixing::new(alpha, 0.2).unwrap_err().to_string().contains("mixup"));
        }
    }
}
