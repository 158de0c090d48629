//! The images of one split, as they are stored.

use std::borrow::Cow;
use std::fmt;

use crate::error::DataError;
use crate::images::crop::Crop;
use crate::images::file_images::FileImages;
use crate::images::resample::{PixelLayout, Pixels, resample};

/// Maximum number of classes, since a label is a 16-bit number.
pub const MAX_CLASSES: usize = 1 << 16;

/// Images as stored: 8 bits per pixel and channel, NCHW, with one label each.
///
/// All images of a set have the same shape `[channels, height, width]`. Labels are class numbers,
/// starting at 0.
///
/// The pixels are in memory, or in the files of a folder of images larger than 32x32. A file is then read and decoded
/// whenever its image is needed.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageSet {
    channels: usize,
    height: usize,
    width: usize,
    classes: usize,
    pixels: Store,
    labels: Vec<u16>,
}

/// Place of the pixels of a set.
#[derive(Clone, PartialEq, Eq)]
enum Store {
    Memory(Vec<u8>),
    Files(FileImages),
}

impl ImageSet {
    /// Creates a set from pixels `[labels.len(), channels, height, width]` with their labels.
    ///
    /// A set may be empty.
    ///
    /// # Errors
    ///
    /// [`DataError::Shape`] if a dimension is zero or too large, or there is no class or more than
    /// [`MAX_CLASSES`]; [`DataError::PixelCount`] if the length of `pixels` does not match the shape;
    /// [`DataError::Label`] for a label that is not less than `classes`.
    pub fn new(
        channels: usize,
        height: usize,
        width: usize,
        classes: usize,
        pixels: Vec<u8>,
        labels: Vec<u16>,
    ) -> Result<Self, DataError> {
        let image_len = channels
            .checked_mul(height)
            .and_then(|len| len.checked_mul(width))
            .filter(|&len| len > 0 && (1..=MAX_CLASSES).contains(&classes))
            .ok_or(DataError::Shape { channels, height, width, classes })?;
        if labels.len().checked_mul(image_len) != Some(pixels.len()) {
            let found = pixels.len();
            return Err(DataError::PixelCount { labels: labels.len(), image_len, found });
        }
        if let Some((index, label)) = first_outside(&labels, classes) {
            return Err(DataError::Label { index, label, classes });
        }
        Ok(Self { channels, height, width, classes, pixels: Store::Memory(pixels), labels })
    }

    /// Creates a set of images in files, with one label for each.
    pub(crate) fn in_files(images: FileImages, labels: Vec<u16>, classes: usize) -> Self {
        let side = images.size();
        let pixels = Store::Files(images);
        Self { channels: 3, height: side, width: side, classes, pixels, labels }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns true if the set holds no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels of an image: 1 for gray levels, 3 for red, green and blue.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Rows of an image, in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of an image, in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of classes; every label is less than it.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the pixels of image `index`, `[channels, height, width]` in row-major order.
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] if the images are in files and this one cannot be read or is damaged.
    ///
    /// # Panics
    ///
    /// If `index` is not less than [`len`](Self::len).
    pub fn image(&self, index: usize) -> Result<Cow<'_, [u8]>, DataError> {
        match &self.pixels {
            Store::Memory(pixels) => {
                let len = self.image_len();
                Ok(Cow::Borrowed(&pixels[index * len..][..len]))
            }
            Store::Files(files) => files.image(index).map(Cow::Owned),
        }
    }

    /// Returns a part of image `index`, which `crop` chooses from its height and width, resized to the size of the set. An
    /// image in a file has all of its pixels, not only those that [`image`](Self::image) returns.
    pub(crate) fn crop(
        &self,
        index: usize,
        crop: impl FnOnce([usize; 2]) -> Crop,
    ) -> Result<Vec<u8>, DataError> {
        if let Store::Files(files) = &self.pixels {
            return files.crop(index, crop);
        }
        let &Self { channels, height, width, .. } = self;
        let values = &self.image(index)?;
        let layout = PixelLayout::ChannelsFirst;
        let [rows, columns] = crop([height, width]).spans([height, width]);
        Ok(resample(Pixels { values, channels, height, width, layout }, &rows, &columns))
    }

    /// The label of image `index`.
    ///
    /// # Panics
    ///
    /// If `index` is not less than [`len`](Self::len).
    pub fn label(&self, index: usize) -> u16 {
        self.labels[index]
    }

    /// The labels of all images, in stored order.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// Returns a set of the images at these indices, in this order.
    ///
    /// # Panics
    ///
    /// If an index is not less than [`len`](Self::len).
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let len = self.image_len();
        let pixels = match &self.pixels {
            Store::Memory(pixels) => {
                let images = indices.iter().map(|index| &pixels[index * len..][..len]);
                Store::Memory(images.flatten().copied().collect())
            }
            Store::Files(files) => Store::Files(files.subset(indices.iter().copied())),
        };
        let labels = indices.iter().map(|&index| self.labels[index]).collect();
        Self { pixels, labels, ..*self }
    }

    /// Keeps the first `limit` images, or all if there are fewer.
    #[must_use]
    pub fn truncated(mut self, limit: usize) -> Self {
        if limit < self.len() {
            let len = self.image_len();
            match &mut self.pixels {
                Store::Memory(pixels) => {
                    pixels.truncate(limit * len);
                    pixels.shrink_to_fit();
                }
                Store::Files(files) => files.truncate(limit),
            }
            self.labels.truncate(limit);
            self.labels.shrink_to_fit();
        }
        self
    }

    /// Replaces each label by `numbers[label]`.
    pub(crate) fn relabeled(self, numbers: &[u16], classes: usize) -> Result<Self, DataError> {
        let Self { channels, height, width, pixels, labels, .. } = self;
        let labels: Vec<u16> = labels.iter().map(|&label| numbers[usize::from(label)]).collect();
        let shape = Self::new(channels, height, width, classes, Vec::new(), Vec::new())?;
        if let Some((index, label)) = first_outside(&labels, classes) {
            return Err(DataError::Label { index, label, classes });
        }
        Ok(Self { pixels, labels, ..shape })
    }

    /// Splits the set in two. Images for which `second` is true go to the second set, all others to
    /// the first.
    pub(crate) fn partition(mut self, second: &[bool]) -> (Self, Self) {
        let is_second = |index: &usize| second.get(*index) == Some(&true);
        let (others, rest): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(is_second);
        let other = self.subset(&others);
        let len = self.image_len();
        match &mut self.pixels {
            // The pixels that stay are moved, not copied.
            Store::Memory(pixels) => {
                for (kept, &index) in rest.iter().enumerate() {
                    pixels.copy_within(index * len..(index + 1) * len, kept * len);
                }
            }
            Store::Files(files) => *files = files.subset(rest.iter().copied()),
        }
        for (kept, &index) in rest.iter().enumerate() {
            self.labels[kept] = self.labels[index];
        }
        (self.truncated(rest.len()), other)
    }

    /// The pixels of all images, `[len, channels, height, width]` in row-major order; `None` if they are in files.
    pub(crate) fn pixels(&self) -> Option<&[u8]> {
        match &self.pixels {
            Store::Memory(pixels) => Some(pixels),
            Store::Files(_) => None,
        }
    }

    /// The files of the images; `None` if the pixels are in memory.
    pub(crate) fn files(&self) -> Option<&FileImages> {
        match &self.pixels {
            Store::Memory(_) => None,
            Store::Files(files) => Some(files),
        }
    }

    /// Bytes of one image.
    pub(crate) fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }
}

impl fmt::Debug for ImageSet {
    /// Shows the shape, not the pixels.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ImageSet")
            .field("len", &self.len())
            .field("channels", &self.channels)
            .field("height", &self.height)
            .field("width", &self.width)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

/// Returns the first label that is not less than `classes`, with its position.
pub(crate) fn first_outside<L: Copy + Into<usize>>(
    labels: &[L],
    classes: usize,
) -> Option<(usize, L)> {
    labels.iter().copied().enumerate().find(|&(_, label)| label.into() >= classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_images() -> ImageSet {
        ImageSet::new(1, 2, 3, 4, (0..12).collect(), vec![3, 1]).unwrap()
    }

    #[test]
    fn images_and_labels_are_found_by_index() {
        let set = two_images();
        assert_eq!((set.len(), set.channels(), set.height(), set.width()), (2, 1, 2, 3));
        assert_eq!(set.classes(), 4);
        assert_eq!(set.image(1).unwrap()[..], [6, 7, 8, 9, 10, 11]);
        assert_eq!(set.label(1), 1);
        assert_eq!(set.labels(), [3, 1]);
        assert!(!set.is_empty());
    }

    #[test]
    fn a_set_has_as_many_classes_as_labels_can_tell_apart() {
        let set = |classes, label| ImageSet::new(1, 1, 1, classes, vec![0], vec![label]);
        assert_eq!(set(MAX_CLASSES, u16::MAX).unwrap().label(0), 65_535);
        assert!(matches!(set(MAX_CLASSES + 1, 0), Err(DataError::Shape { .. })));
        assert!(matches!(set(1000, 1000), Err(DataError::Label { label: 1000, .. })));
    }

    #[test]
    fn truncation_keeps_the_first_images() {
        let set = two_images().truncated(1);
        assert_eq!((set.len(), set.image(0).unwrap().len(), set.label(0)), (1, 6, 3));
        assert_eq!(two_images().truncated(9), two_images());
        assert!(two_images().truncated(0).is_empty());
    }

    #[test]
    fn a_set_is_partitioned_without_a_copy_of_what_stays() {
        let (first, second) = two_images().partition(&[true]);
        assert_eq!(first.labels(), [1]);
        assert_eq!(first.image(0).unwrap()[..], [6, 7, 8, 9, 10, 11]);
        assert_eq!(first, two_images().subset(&[1]));
        assert_eq!(second, two_images().truncated(1));
    }

    #[test]
    fn shapes_that_are_not_an_image_are_refused() {
        for (channels, height, classes) in
            [(0, 2, 4), (1, 0, 4), (1, 2, 0), (1, 2, MAX_CLASSES + 1), (usize::MAX, 2, 4)]
        {
            let error = ImageSet::new(channels, height, 3, classes, vec![], vec![]).unwrap_err();
            assert!(matches!(error, DataError::Shape { .. }), "{error}");
        }
    }

    #[test]
    fn counts_that_do_not_fit_are_refused() {
        let error = ImageSet::new(1, 2, 3, 4, vec![0; 11], vec![0, 1]).unwrap_err();
        assert!(matches!(error, DataError::PixelCount { labels: 2, image_len: 6, found: 11 }));
        let huge = usize::MAX / 2;
        let error = ImageSet::new(1, 1, huge, 4, vec![], vec![0; 3]).unwrap_err();
        assert!(matches!(error, DataError::PixelCount { .. }), "{error}");
    }

    #[test]
    fn a_label_that_is_not_a_class_is_refused() {
        let error = ImageSet::new(1, 1, 1, 4, vec![0; 3], vec![0, 4, 9]).unwrap_err();
        assert!(matches!(error, DataError::Label { index: 1, label: 4, classes: 4 }));
    }
}
