//! Contact sheets of data sets, for checking data by eye.

use std::io::Cursor;

use font8x8::legacy::BASIC_LEGACY;
use image::{ImageFormat, Rgb, RgbImage};
use parareal_data::{
    Augmentation, Batches, DataError, Dataset, ImageSet, Mixing, Normalization, RandomErasing,
    epoch_order,
};
use parareal_train::{OutputFile, TrainError};

use crate::VisionError;

/// Number of images per class.
const COLUMNS: usize = 8;
/// Largest number of classes that are shown.
const ROWS: usize = 20;
/// Scale factor of images of up to 64 pixels on a side; larger ones are not enlarged.
const SCALE: u32 = 2;
const GAP: u32 = 4;
/// Width and height of a letter in pixels.
const LETTER: u32 = 8;
const LABEL: u32 = 18 * LETTER;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([32, 32, 32]);

/// Draws the first training images of each class, with the name of the class and its number of images. If the
/// data set has an augmentation, or TrivialAugment, random erasing or mixing is given, the same images after all of them are
/// drawn below them. For mixing, the images are in batches of eight in random order.
///
/// At most the first twenty classes are shown. Their number is returned.
///
/// # Errors
/// If the sheet cannot be drawn ([`TrainError::Picture`]), or [`OutputFile::write`] fails.
pub fn contact_sheet(
    dataset: &Dataset,
    trivial_augment: bool,
    erasing: Option<RandomErasing>,
    mixing: Option<Mixing>,
    output: &OutputFile,
) -> Result<usize, VisionError> {
    let set = &dataset.train;
    let classes: Vec<usize> = (0..set.classes().min(ROWS)).collect();
    let chosen: Vec<Vec<usize>> = classes
        .iter()
        .map(|&class| {
            let of_class = (0..set.len()).filter(|&index| usize::from(set.label(index)) == class);
            of_class.take(COLUMNS).collect()
        })
        .collect();
    let shown = set.subset(&chosen.concat());
    let changes = Changes { augmentation: dataset.augmentation, trivial_augment, erasing, mixing };
    let plain = pixels(dataset, &shown, Changes::default())?;
    let augmented = match changes == Changes::default() {
        true => None,
        false => Some(pixels(dataset, &shown, changes)?),
    };

    let scale = if set.width().max(set.height()) > 64 { 1 } else { SCALE };
    let (width, height) = (set.width() as u32 * scale, set.height() as u32 * scale);
    let lines = if augmented.is_some() { 2 } else { 1 };
    let row = lines * (height + GAP) + GAP;
    let mut sheet = RgbImage::from_pixel(
        LABEL + COLUMNS as u32 * (width + GAP) + GAP,
        classes.len() as u32 * row + GAP,
        PAPER,
    );
    let mut next = 0;
    for (class, chosen) in chosen.iter().enumerate() {
        let top = class as u32 * row + GAP;
        let count = set.labels().iter().filter(|&&label| usize::from(label) == class).count();
        let name = dataset.class_names.get(class).map_or("", String::as_str);
        write(&mut sheet, GAP, top + GAP, name);
        write(&mut sheet, GAP, top + GAP + 2 * LETTER, &format!("{count} images"));
        for column in 0..chosen.len() as u32 {
            let left = LABEL + column * (width + GAP);
            draw(&mut sheet, left, top, scale, &shown, &plain[next]);
            if let Some(augmented) = &augmented {
                draw(&mut sheet, left, top + height + GAP, scale, &shown, &augmented[next]);
            }
            next += 1;
        }
    }
    let mut content = Cursor::new(Vec::new());
    sheet.write_to(&mut content, ImageFormat::Png).map_err(|error| TrainError::Picture {
        path: output.path().to_path_buf(),
        message: error.to_string(),
    })?;
    output.write(content.get_ref())?;
    Ok(classes.len())
}

/// Random changes to training images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Changes {
    augmentation: Augmentation,
    trivial_augment: bool,
    erasing: Option<RandomErasing>,
    mixing: Option<Mixing>,
}

/// Returns the images as the network receives them, with the normalization undone: values from 0 to 255.
fn pixels(dataset: &Dataset, set: &ImageSet, changes: Changes) -> Result<Vec<Vec<u8>>, DataError> {
    // Erased pixels have the mean color. The deviation of equal images is 0, so it is not used.
    let mean = dataset.normalization.mean.clone();
    let normalization = &Normalization { deviation: vec![1.0; mean.len()], mean };
    let (seed, epoch, len) = (1, 1, set.len());
    let Changes { augmentation, trivial_augment, erasing, mixing } = changes;
    let mut images = vec![Vec::new(); len];
    let mut batches = Batches::training(set, normalization, augmentation, COLUMNS, seed, epoch)?;
    if trivial_augment {
        batches = batches.trivial_augment();
    }
    if let Some(erasing) = erasing {
        batches = batches.random_erasing(erasing);
    }
    if let Some(mixing) = mixing {
        batches = batches.mixing(mixing);
    }
    let plane = set.height() * set.width();
    let order = epoch_order(len, seed, epoch);
    for (batch, indices) in batches.zip(order.chunks(COLUMNS)) {
        let batch = batch?;
        let size = batch.images.len() / batch.labels.len().max(1);
        for (image, &index) in batch.images.chunks_exact(size).zip(indices) {
            let channels = image.chunks_exact(plane).zip(&normalization.mean);
            let stored = channels.flat_map(|(values, mean)| {
                values.iter().map(move |value| (255.0 * (value + mean)).round() as u8)
            });
            images[index] = stored.collect();
        }
    }
    Ok(images)
}

fn draw(sheet: &mut RgbImage, left: u32, top: u32, scale: u32, set: &ImageSet, pixels: &[u8]) {
    let (width, plane) = (set.width() as u32, set.width() * set.height());
    for y in 0..set.height() as u32 * scale {
        for x in 0..width * scale {
            let index = ((y / scale) * width + x / scale) as usize;
            let channel = |channel: usize| {
                pixels.get(channel.min(set.channels() - 1) * plane + index).copied().unwrap_or(0)
            };
            sheet.put_pixel(left + x, top + y, Rgb([channel(0), channel(1), channel(2)]));
        }
    }
}

/// Writes a line of text; characters that the font lacks are left blank.
fn write(sheet: &mut RgbImage, left: u32, top: u32, text: &str) {
    for (position, letter) in text.chars().take((LABEL / LETTER) as usize - 1).enumerate() {
        let rows = BASIC_LEGACY.get(letter as usize).copied().unwrap_or_default();
        for (y, row) in rows.into_iter().enumerate() {
            for x in (0..LETTER).filter(|x| row >> x & 1 == 1) {
                let (x, y) = (left + position as u32 * LETTER + x, top + y as u32);
                if x < sheet.width() && y < sheet.height() {
                    sheet.put_pixel(x, y, INK);
                }
            }
        }
    }
}
