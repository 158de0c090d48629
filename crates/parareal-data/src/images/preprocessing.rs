//! Conversion of image files and stored images to the input size of a network.

use std::path::Path;

use image::imageops::FilterType;

use crate::error::DataError;
use crate::formats::image::read;
use crate::formats::size_limit::SizeLimit;
use crate::images::resample::{PixelLayout, Pixels, Span, resample};

/// Height and width of the largest images to which files are resized without keeping their aspect ratio.
pub(crate) const STRETCHED: usize = 32;

/// Size, channels and border of the images of a network.
///
/// Loaders of a [`Dataset`](crate::Dataset) and readers of further images for the same network use
/// the same preprocessing. [`Normalization`](crate::Normalization) is applied after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocessing {
    /// Channels: 1 for gray levels, 3 for red, green and blue.
    pub channels: usize,
    /// Rows of the image, including the border.
    pub height: usize,
    /// Columns of the image, including the border.
    pub width: usize,
    /// Width of the black border, in pixels; it is part of `height` and `width`.
    pub padding: usize,
}

impl Preprocessing {
    /// Reads a PNG or JPEG file as `[channels, height, width]`, 8 bits each.
    ///
    /// The Exif orientation is applied. If `height` and `width` are equal and larger than 32, the image is then resized so that
    /// its shorter side has 256/224 of `height`, and its center is used, as usual for ImageNet.
    ///
    /// Otherwise, an image of exactly `height` x `width` pixels is used unchanged. Any other image is resized to the size
    /// inside the border, without keeping its aspect ratio, and the border is added.
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] if the file is not a PNG or JPEG image, is truncated or damaged, or is
    /// too large.
    ///
    /// # Panics
    ///
    /// If `channels` is neither 1 nor 3, or there are no pixels inside the border.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, DataError> {
        let Self { channels, height, width, padding } = *self;
        let image = read(path, SizeLimit::FILES)
            .map_err(|message| DataError::Image { path: path.to_path_buf(), message })?;
        if height == width && height > STRETCHED && (channels, padding) == (3, 0) {
            let image = image.into_rgb8();
            let [rows, columns] = [image.height(), image.width()].map(|side| side as usize);
            let layout = PixelLayout::ChannelsLast;
            let values = image.as_raw();
            let image = Pixels { values, channels, height: rows, width: columns, layout };
            return Ok(center_crop(image, height));
        }
        let is_padded = (image.height() as usize, image.width() as usize) == (height, width);
        let padding = if is_padded { 0 } else { padding };
        let (rows, columns) = (height - 2 * padding, width - 2 * padding);
        let image = image.resize_exact(columns as u32, rows as u32, FilterType::Triangle);
        // These pixels have the channels last.
        let pixels = match channels {
            1 => image.into_luma8().into_raw(),
            3 => image.into_rgb8().into_raw(),
            _ => panic!("an image has one or three channels, not {channels}"),
        };
        let planes = (0..channels).map(|channel| pixels.iter().skip(channel).step_by(channels));
        let planes: Vec<u8> = planes.flatten().copied().collect();
        Ok(if is_padded { planes } else { self.pad(&planes) })
    }

    /// Adds the border to images `[n, channels, height - 2 padding, width - 2 padding]`.
    pub(crate) fn pad(&self, stored: &[u8]) -> Vec<u8> {
        let Self { height, width, padding, .. } = *self;
        if padding == 0 {
            return stored.to_vec();
        }
        let (rows, columns) = (height - 2 * padding, width - 2 * padding);
        let planes = stored.chunks_exact(rows * columns);
        let mut pixels = vec![0; planes.len() * height * width];
        for (plane, padded) in planes.zip(pixels.chunks_exact_mut(height * width)) {
            let rows = padded.chunks_exact_mut(width).skip(padding);
            for (stored, row) in plane.chunks_exact(columns).zip(rows) {
                row[padding..][..columns].copy_from_slice(stored);
            }
        }
        pixels
    }
}

/// Resizes an image so that its shorter side has 256/224 of `size` pixels, and returns the `size` x `size` pixels in its
/// center: `Resize` and `CenterCrop` of torchvision.
pub(crate) fn center_crop(image: Pixels<'_>, size: usize) -> Vec<u8> {
    // Rounded to the nearest number; it is never half-way between two.
    let shorter = (16 * size + 7) / 14;
    let side = image.height.min(image.width);
    let span = |len: usize| {
        let resized = shorter * len / side;
        // Rounded to the nearest even number, as in Python.
        let first = ((resized - size) as f64 / 2.0).round_ties_even() as usize;
        Span { part: [0.0, len as f32], size: resized, window: first..first + size }
    };
    resample(image, &span(image.height), &span(image.width))
}
