//! The built-in image set: coloured shapes on a cluttered ground.
//!
//! Each image is 32x32 pixels in colour and shows one of ten shapes ([`CLASS_NAMES`]), turned at
//! random, 16 to 26 pixels across, somewhere near the middle. The colours of shape and ground are
//! random and say nothing of the class, and either may be the brighter one: only the outline tells
//! the shapes apart, which a linear classifier cannot see and a small convolutional network can.
//! The ground shades from one side to the other and carries specks and lines of fainter colours;
//! every pixel carries noise.
//!
//! An image depends on its seed, split and index alone, and is the same on every machine. The
//! training and the test images come from unrelated random streams.

use crate::augment::Augmentation;
use crate::canvas::{Canvas, Colour, mixed};
use crate::dataset::{Dataset, DatasetName, LoadOptions};
use crate::error::DataError;
use crate::image_set::ImageSet;
use crate::normalization::Normalization;
use crate::outline;
use crate::preprocessing::Preprocessing;
use crate::source::Loaded;
use crate::stream::{Purpose, Stream};

pub use crate::outline::CLASS_NAMES;

/// Training images that [`Dataset::load`] draws by default.
pub const TRAINING_IMAGES: usize = 6_000;

/// Test images that [`Dataset::load`] draws by default.
pub const TEST_IMAGES: usize = 1_000;

/// The most images of a split that [`Dataset::load`] draws (about 600 MB).
pub const MOST_IMAGES: usize = 200_000;

/// The seed of the images that [`Dataset::load`] draws.
pub const SEED: u64 = 0x5eed_0f5a_1e5e_7001;

/// Rows and columns of an image.
pub const SIDE: usize = 32;

/// Bytes of an image: three planes (red, green, blue) of 32x32 pixels.
pub const IMAGE_LEN: usize = 3 * SIDE * SIDE;

/// Mean of each channel of the default training images.
const MEAN: [f32; 3] = [0.498_231_95, 0.498_985_35, 0.499_217_36];

/// Standard deviation of each channel of the default training images.
const DEVIATION: [f32; 3] = [0.287_840_25, 0.293_389_6, 0.286_166_55];

/// The part of the set that an image belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Images to train on.
    Training,
    /// Images to judge the training by.
    Test,
}

/// Draws the default set, or as much of it as `options` say.
pub(crate) fn load(options: &LoadOptions) -> Result<Loaded, DataError> {
    let train = options.limit_train.unwrap_or(TRAINING_IMAGES);
    let test = options.limit_test.unwrap_or(TEST_IMAGES);
    for (split, found) in [("training", train), ("test", test)] {
        if found > MOST_IMAGES {
            let (dataset, most) = (DatasetName::Shapes, MOST_IMAGES);
            return Err(DataError::TooManyImages { dataset, split, most, found });
        }
    }
    let dataset = Dataset {
        name: DatasetName::Shapes,
        train: first_images(Split::Training, train)?,
        test: (test > 0).then(|| first_images(Split::Test, test)).transpose()?,
        preprocessing: Preprocessing { channels: 3, height: SIDE, width: SIDE, padding: 0 },
        normalization: Normalization { mean: MEAN.to_vec(), deviation: DEVIATION.to_vec() },
        augmentation: Augmentation::None,
        class_names: CLASS_NAMES.map(str::to_owned).to_vec(),
        notes: Vec::new(),
    };
    Ok(Loaded { dataset, files: Vec::new(), source: None })
}

/// The first `count` images of a split.
fn first_images(split: Split, count: usize) -> Result<ImageSet, DataError> {
    let mut pixels = vec![0; count * IMAGE_LEN];
    let labels = pixels
        .chunks_exact_mut(IMAGE_LEN)
        .enumerate()
        .map(|(index, image)| draw_into(SEED, split, index, image))
        .collect();
    ImageSet::new(3, SIDE, SIDE, CLASS_NAMES.len(), pixels, labels)
}

/// Draws image `index` of a split: its pixels `[3, 32, 32]` and its label.
///
/// The classes take turns: the label is `index % 10`, so that any ten consecutive images show each
/// shape once.
pub fn draw(seed: u64, split: Split, index: usize) -> ([u8; IMAGE_LEN], u8) {
    let mut image = [0; IMAGE_LEN];
    let label = draw_into(seed, split, index, &mut image);
    (image, label)
}

fn draw_into(seed: u64, split: Split, index: usize, image: &mut [u8]) -> u8 {
    let purpose = match split {
        Split::Training => Purpose::TrainingShape,
        Split::Test => Purpose::TestShape,
    };
    let stream = &mut Stream::new(purpose, seed, index as u64, 0);
    let class = index % CLASS_NAMES.len();
    let (ground, colour) = contrasting_colours(stream);
    let mut canvas = shaded_ground(stream, ground);
    for _ in 0..stream.below(3) {
        paint_line(stream, &mut canvas, ground);
    }
    for _ in 0..2 + stream.below(4) {
        paint_speck(stream, &mut canvas, ground);
    }
    paint_shape(stream, &mut canvas, class, colour);
    let strength = stream.between(0.02, 0.06);
    canvas.write(|| strength * bell(stream), image);
    class as u8
}

/// Paints a shape of random size, place and turn; it may touch the border, not leave the picture
/// by more than a tip.
fn paint_shape(stream: &mut Stream, canvas: &mut Canvas, class: usize, colour: Colour) {
    let radius = stream.between(8.5, 12.0);
    let slack = 15.0 - radius;
    let middle = SIDE as f32 / 2.0;
    let mut place = || middle + stream.between(-slack, slack);
    let [x0, y0] = [place(), place()];
    let [cosine, sine] = stream.direction();
    canvas.paint([x0, y0], outline::REACH * radius, colour, |x, y| {
        let (x, y) = ((x - x0) / radius, (y - y0) / radius);
        outline::covers(class, cosine * x + sine * y, cosine * y - sine * x)
    });
}

/// A ground whose brightness changes evenly from one side to the other.
fn shaded_ground(stream: &mut Stream, ground: Colour) -> Canvas {
    let [across, down] = stream.direction();
    let slope = stream.between(0.0, 0.15) / SIDE as f32;
    let middle = SIDE as f32 / 2.0;
    Canvas::new(SIDE, |x, y| {
        let shade = slope * ((x - middle) * across + (y - middle) * down);
        ground.map(|value| value + shade)
    })
}

/// Paints a thin straight line, shorter than the shapes.
fn paint_line(stream: &mut Stream, canvas: &mut Canvas, ground: Colour) {
    let colour = faint_colour(stream, ground);
    let [x0, y0] = anywhere(stream);
    let [across, down] = stream.direction();
    let half_length = stream.between(3.0, 7.0);
    let half_width = stream.between(0.35, 0.6);
    canvas.paint([x0, y0], half_length + 1.0, colour, |x, y| {
        let (x, y) = (x - x0, y - y0);
        (x * across + y * down).abs() <= half_length && (y * across - x * down).abs() <= half_width
    });
}

/// Paints a small round speck.
fn paint_speck(stream: &mut Stream, canvas: &mut Canvas, ground: Colour) {
    let colour = faint_colour(stream, ground);
    let [x0, y0] = anywhere(stream);
    let radius = stream.between(0.6, 1.4);
    canvas.paint([x0, y0], radius, colour, |x, y| {
        (x - x0) * (x - x0) + (y - y0) * (y - y0) <= radius * radius
    });
}

fn anywhere(stream: &mut Stream) -> [f32; 2] {
    [stream.between(0.0, SIDE as f32), stream.between(0.0, SIDE as f32)]
}

fn any_colour(stream: &mut Stream) -> Colour {
    [stream.fraction(), stream.fraction(), stream.fraction()]
}

/// A colour for clutter, half way or more towards the ground.
fn faint_colour(stream: &mut Stream, ground: Colour) -> Colour {
    let share = stream.between(0.2, 0.5);
    mixed(ground, any_colour(stream), share)
}

/// Colours for ground and shape that differ clearly in brightness, either way round.
fn contrasting_colours(stream: &mut Stream) -> (Colour, Colour) {
    let ground = any_colour(stream);
    for _ in 0..100 {
        let colour = any_colour(stream);
        if (brightness(colour) - brightness(ground)).abs() >= 0.25 {
            return (ground, colour);
        }
    }
    // A hundred misses in a row hardly ever happen; black or white always contrasts.
    (ground, if brightness(ground) < 0.5 { [1.0; 3] } else { [0.0; 3] })
}

/// How bright a colour looks: green counts most, blue least.
fn brightness([red, green, blue]: Colour) -> f32 {
    0.3 * red + 0.6 * green + 0.1 * blue
}

/// A number of mean 0 and deviation 1, roughly normal: the sum of four evenly spread bytes.
///
/// A true normal number would need a logarithm, which machines round differently.
fn bell(stream: &mut Stream) -> f32 {
    let sum: u32 = stream.bits().to_le_bytes().into_iter().map(u32::from).sum();
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
        let stream = &mut Stream::new(Purpose::TestShape, 0, 0, 0);
        for _ in 0..1_000 {
            let (ground, colour) = contrasting_colours(stream);
            assert!((brightness(ground) - brightness(colour)).abs() >= 0.25);
        }
    }

    #[test]
    fn noise_has_the_stated_mean_and_deviation() {
        let stream = &mut Stream::new(Purpose::TestShape, 0, 0, 0);
        let numbers: Vec<f32> = (0..100_000).map(|_| bell(stream)).collect();
        let mean = numbers.iter().sum::<f32>() / 1e5;
        let variance = numbers.iter().map(|number| number * number).sum::<f32>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
