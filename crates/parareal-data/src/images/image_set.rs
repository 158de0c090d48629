//! The images of one split, as they are stored.

use std::fmt;

use crate::error::DataError;

/// Images as stored: 8 bits per pixel and channel, NCHW, with one label each.
///
/// All images of a set have the same shape `[channels, height, width]`. Labels are class numbers,
/// starting at 0.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageSet {
    channels: usize,
    height: usize,
    width: usize,
    classes: usize,
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl ImageSet {
    /// Creates a set from pixels `[labels.len(), channels, height, width]` with their labels.
    ///
    /// A set may be empty.
    ///
    /// # Errors
    ///
    /// [`DataError::Shape`] if a dimension is zero or too large, or there is no class or more than
    /// 256; [`DataError::PixelCount`] if the length of `pixels` does not match the shape;
    /// [`DataError::Label`] for a label that is not less than `classes`.
    pub fn new(
        channels: usize,
        height: usize,
        width: usize,
        classes: usize,
        pixels: Vec<u8>,
        labels: Vec<u8>,
    ) -> Result<Self, DataError> {
        let image_len = channels
            .checked_mul(height)
            .and_then(|len| len.checked_mul(width))
            .filter(|&len| len > 0 && (1..=256).contains(&classes))
            .ok_or(DataError::Shape { channels, height, width, classes })?;
        if labels.len().checked_mul(image_len) != Some(pixels.len()) {
            let found = pixels.len();
            return Err(DataError::PixelCount { labels: labels.len(), image_len, found });
        }
        if let Some((index, label)) = first_outside(&labels, classes) {
            return Err(DataError::Label { index, label, classes });
        }
        Ok(Self { channels, height, width, classes, pixels, labels })
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

    /// The pixels of image `index`, `[channels, height, width]` in row-major order.
    ///
    /// # Panics
    ///
    /// If `index` is not less than [`len`](Self::len).
    pub fn image(&self, index: usize) -> &[u8] {
        let len = self.image_len();
        &self.pixels[index * len..][..len]
    }

    /// The label of image `index`.
    ///
    /// # Panics
    ///
    /// If `index` is not less than [`len`](Self::len).
    pub fn label(&self, index: usize) -> u8 {
        self.labels[index]
    }

    /// The labels of all images, in stored order.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Keeps the first `limit` images, or all if there are fewer.
    #[must_use]
    pub fn truncated(mut self, limit: usize) -> Self {
        if limit < self.len() {
            self.pixels.truncate(limit * self.image_len());
            self.labels.truncate(limit);
            self.pixels.shrink_to_fit();
            self.labels.shrink_to_fit();
        }
        self
    }

    /// Replaces each label by `numbers[label]`.
    pub(crate) fn relabeled(self, numbers: &[u8], classes: usize) -> Result<Self, DataError> {
        let labels = self.labels.iter().map(|&label| numbers[usize::from(label)]).collect();
        Self::new(self.channels, self.height, self.width, classes, self.pixels, labels)
    }

    /// Splits the set in two. Images for which `second` is true go to the second set, all others to
    /// the first.
    pub(crate) fn partition(mut self, second: &[bool]) -> (Self, Self) {
        let len = self.image_len();
        let mut other = Self { pixels: Vec::new(), labels: Vec::new(), ..self };
        let mut kept = 0;
        for index in 0..self.len() {
            if second.get(index) == Some(&true) {
                other.pixels.extend_from_slice(self.image(index));
                other.labels.push(self.labels[index]);
            } else {
                self.pixels.copy_within(index * len..(index + 1) * len, kept * len);
                self.labels[kept] = self.labels[index];
                kept += 1;
            }
        }
        (self.truncated(kept), other)
    }

    /// The pixels of all images, `[len, channels, height, width]` in row-major order.
    pub(crate) fn pixels(&self) -> &[u8] {
        &self.pixels
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
pub(crate) fn first_outside(labels: &[u8], classes: usize) -> Option<(usize, u8)> {
    labels.iter().copied().enumerate().find(|&(_, label)| usize::from(label) >= classes)
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
        assert_eq!(set.image(1), [6, 7, 8, 9, 10, 11]);
        assert_eq!(set.label(1), 1);
        assert_eq!(set.labels(), [3, 1]);
        assert!(!set.is_empty());
    }

    #[test]
    fn truncation_keeps_the_first_images() {
        let set = two_images().truncated(1);
        assert_eq!((set.len(), set.image(0).len(), set.label(0)), (1, 6, 3));
        assert_eq!(two_images().truncated(9), two_images());
        assert!(two_images().truncated(0).is_empty());
    }

    #[test]
    fn a_set_is_partitioned_without_a_copy_of_what_stays() {
        let (first, second) = two_images().partition(&[true]);
        assert_eq!((first.labels(), first.image(0)), (&[1][..], &[6, 7, 8, 9, 10, 11][..]));
        assert_eq!(second, two_images().truncated(1));
    }

    #[test]
    fn shapes_that_are_not_an_image_are_refused() {
        for (channels, height, classes) in
            [(0, 2, 4), (1, 0, 4), (1, 2, 0), (1, 2, 257), (usize::MAX, 2, 4)]
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
