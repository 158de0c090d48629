//! The built-in image set: colored shapes on a cluttered background.
//!
//! Each image has 32x32 pixels in color and shows one of ten shapes ([`CLASS_NAMES`]), randomly
//! rotated, 16 to 26 pixels across, near the middle. The colors of shape and background are random
//! and independent of the class, and either may be the brighter one. Only the outline distinguishes
//! the shapes: a linear classifier cannot use it, but a small convolutional network can. The
//! background has a gradient of brightness and specks and lines in similar colors, and every pixel
//! has noise.
//!
//! An image depends on its seed, split and index alone, and is the same on every machine. Training
//! and test images are drawn from unrelated random numbers.

mod canvas;
mod outline;

use crate::batches::augmentation::Augmentation;
use crate::error::DataError;
use crate::images::image_set::ImageSet;
use crate::images::preprocessing::Preprocessing;
use crate::name::DatasetName;
use crate::options::LoadOptions;
use crate::rng::{KeyedRng, Purpose};
use crate::sets::definition::{Classes, Definition, Loaded, Origin, Statistics};
use crate::sets::stored_images::{StoredImages, TestImages};
use canvas::{Canvas, Color, mixed};

pub use outline::CLASS_NAMES;

/// Number of training images that [`Dataset::load`](crate::Dataset::load) draws by default.
pub const TRAINING_IMAGES: usize = 6_000;

/// Number of test images that [`Dataset::load`](crate::Dataset::load) draws by default.
pub const TEST_IMAGES: usize = 1_000;

/// Maximum number of images of a split that [`Dataset::load`](crate::Dataset::load) draws (about 600 MB).
pub const MAX_IMAGES: usize = 200_000;

/// The seed of the images that [`Dataset::load`](crate::Dataset::load) draws.
pub const SEED: u64 = 0x5eed_0f5a_1e5e_7001;

/// Rows and columns of an image.
pub const SIDE: usize = 32;

/// Bytes of an image: three planes (red, green, blue) of 32x32 pixels.
pub const IMAGE_LEN: usize = 3 * SIDE * SIDE;

/// Definition of the shapes.
pub(crate) static SHAPES: Definition = Definition {
    name: DatasetName::Shapes,
    origin: Origin::Drawn,
    classes: Classes::Named(&CLASS_NAMES),
    preprocessing: Preprocessing { channels: 3, height: SIDE, width: SIDE, padding: 0 },
    // Measured on the default training images.
    statistics: Statistics::Constant {
        mean: &[0.498_231_95, 0.498_985_35, 0.499_217_36],
        deviation: &[0.287_840_25, 0.293_389_6, 0.286_166_55],
    },
    augmentation: Augmentation::None,
    load: |options, _| load(options),
};

/// Split of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Images to train on.
    Training,
    /// Images to evaluate on.
    Test,
}

/// Draws the default number of images, or the numbers given by the limits in `options`.
fn load(options: &LoadOptions) -> Result<Loaded, DataError> {
    let train = options.limit_train.unwrap_or(TRAINING_IMAGES);
    let test = options.limit_test.unwrap_or(TEST_IMAGES);
    for (split, found) in [("training", train), ("test", test)] {
        if found > MAX_IMAGES {
            let (dataset, max) = (DatasetName::Shapes, MAX_IMAGES);
            return Err(DataError::TooManyImages { dataset, split, max, found });
        }
    }
    let stored = StoredImages {
        definition: &SHAPES,
        files: Vec::new(),
        train: first_images(Split::Training, train)?,
        test: match options.wants_test() {
            true => TestImages::Read(first_images(Split::Test, test)?),
            false => TestImages::Unread,
        },
        class_names: None,
    };
    stored.into_loaded(options)
}

/// Draws the first `count` images of a split.
fn first_images(split: Split, count: usize) -> Result<ImageSet, DataError> {
    let mut pixels = vec![0; count * IMAGE_LEN];
    let labels = pixels
        .chunks_exact_mut(IMAGE_LEN)
        .enumerate()
        .map(|(index, image)| draw_into(SEED, split, index, image))
        .collect();
    ImageSet::new(3, SIDE, SIDE, CLASS_NAMES.len(), pixels, labels)
}

/// Draws image `index` of a split, and returns its pixels `[3, 32, 32]` and its label.
///
/// The label is `index % 10`, so that any ten consecutive images show each shape once.
pub fn draw(seed: u64, split: Split, index: usize) -> ([u8; IMAGE_LEN], u16) {
    let mut image = [0; IMAGE_LEN];
    let label = draw_into(seed, split, index, &mut image);
    (image, label)
}

fn draw_into(seed: u64, split: Split, index: usize, image: &mut [u8]) -> u16 {
    let purpose = match split {
        Split::Training => Purpose::TrainingShape,
        Split::Test => Purpose::TestShape,
    };
    let rng = &mut KeyedRng::new(purpose, seed, index as u64, 0);
    let class = index % CLASS_NAMES.len();
    let (ground, color) = contrasting_colors(rng);
    let mut canvas = shaded_ground(rng, ground);
    for _ in 0..rng.below(3) {
        paint_line(rng, &mut canvas, ground);
    }
    for _ in 0..2 + rng.below(4) {
        paint_speck(rng, &mut canvas, ground);
    }
    paint_shape(rng, &mut canvas, class, color);
    let strength = rng.between(0.02, 0.06);
    canvas.write(|| strength * bell(rng), image);
    class as u16
}

/// Paints a shape of random size, position and rotation; at most a tip of it lies outside the image.
fn paint_shape(rng: &mut KeyedRng, canvas: &mut Canvas, class: usize, color: Color) {
    let radius = rng.between(8.5, 12.0);
    let slack = 15.0 - radius;
    let middle = SIDE as f32 / 2.0;
    let mut place = || middle + rng.between(-slack, slack);
    let [x0, y0] = [place(), place()];
    let [cosine, sine] = rng.direction();
    canvas.paint([x0, y0], outline::REACH * radius, color, |x, y| {
        let (x, y) = ((x - x0) / radius, (y - y0) / radius);
        outline::covers(class, cosine * x + sine * y, cosine * y - sine * x)
    });
}

/// Draws a background with a linear gradient of brightness.
fn shaded_ground(rng: &mut KeyedRng, ground: Color) -> Canvas {
    let [across, down] = rng.direction();
    let slope = rng.between(0.0, 0.15) / SIDE as f32;
    let middle = SIDE as f32 / 2.0;
    Canvas::new(SIDE, |x, y| {
        let shade = slope * ((x - middle) * across + (y - middle) * down);
        ground.map(|value| value + shade)
    })
}

/// Paints a thin straight line, shorter than the shapes.
fn paint_line(rng: &mut KeyedRng, canvas: &mut Canvas, ground: Color) {
    let color = faint_color(rng, ground);
    let [x0, y0] = anywhere(rng);
    let [across, down] = rng.direction();
    let half_length = rng.between(3.0, 7.0);
    let half_width = rng.between(0.35, 0.6);
    canvas.paint([x0, y0], half_length + 1.0, color, |x, y| {
        let (x, y) = (x - x0, y - y0);
        (x * across + y * down).abs() <= half_length && (y * across - x * down).abs() <= half_width
    });
}

/// Paints a small round speck.
fn paint_speck(rng: &mut KeyedRng, canvas: &mut Canvas, ground: Color) {
    let color = faint_color(rng, ground);
    let [x0, y0] = anywhere(rng);
    let radius = rng.between(0.6, 1.4);
    canvas.paint([x0, y0], radius, color, |x, y| {
        (x - x0) * (x - x0) + (y - y0) * (y - y0) <= radius * radius
    });
}

fn anywhere(rng: &mut KeyedRng) -> [f32; 2] {
    [rng.between(0.0, SIDE as f32), rng.between(0.0, SIDE as f32)]
}

fn any_color(rng: &mut KeyedRng) -> Color {
    [rng.fraction(), rng.fraction(), rng.fraction()]
}

/// Returns a color for clutter: a mixture of the background color (at least half) and a random
/// color.
fn faint_color(rng: &mut KeyedRng, ground: Color) -> Color {
    let share = rng.between(0.2, 0.5);
    mixed(ground, any_color(rng), share)
}

/// Returns colors for background and shape that differ clearly in brightness.
fn contrasting_colors(rng: &mut KeyedRng) -> (Color, Color) {
    let ground = any_color(rng);
    for _ in 0..100 {
        let color = any_color(rng);
        if (brightness(color) - brightness(ground)).abs() >= 0.25 {
            return (ground, color);
        }
    }
    // A hundred rejections in a row are very unlikely; black or white always contrasts.
    (ground, if brightness(ground) < 0.5 { [1.0; 3] } else { [0.0; 3] })
}

/// Approximate luminance of a color.
fn brightness([red, green, blue]: Color) -> f32 {
    0.3 * red + 0.6 * green + 0.1 * blue
}

/// Returns an approximately normal random number with mean 0 and standard deviation 1, computed
/// from the sum of four uniform bytes.
///
/// An exactly normal number would need a logarithm, which is rounded differently on different
/// machines.
fn bell(rng: &mut KeyedRng) -> f32 {
    let sum: u32 = rng.bits().to_le_bytes().into_iter().map(u32::from).sum();
    // Mean 4 x 127.5 and variance 4 x (256^2 - 1) / 12.
    (sum as f32 - 510.0) / 147.8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_depends_on_seed_split_and_index() {
        let (image, label) = draw(1, Split::Training, 13);
        assert_eq!(label, 3);
        assert_eq!(draw(1, Split::Training, 13), (image, label));
        assert_ne!(draw(2, Split::Training, 13).0, image);
        assert_ne!(draw(1, Split::Test, 13).0, image);
        assert_ne!(draw(1, Split::Training, 23).0, image);
    }

    #[test]
    fn shape_and_ground_contrast() {
        let rng = &mut KeyedRng::new(Purpose::TestShape, 0, 0, 0);
        for _ in 0..1_000 {
            let (ground, color) = contrasting_colors(rng);
            assert!((brightness(ground) - brightness(color)).abs() >= 0.25);
        }
    }

    #[test]
    fn noise_has_the_stated_mean_and_deviation() {
        let rng = &mut KeyedRng::new(Purpose::TestShape, 0, 0, 0);
        let numbers: Vec<f32> = (0..100_000).map(|_| bell(rng)).collect();
        let mean = numbers.iter().sum::<f32>() / 1e5;
        let variance = numbers.iter().map(|number| number * number).sum::<f32>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
