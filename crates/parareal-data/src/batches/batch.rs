//! Batches of normalized images.

use std::borrow::Cow;
use std::ops::Range;

use crate::batches::augmentation::Augmentation;
use crate::batches::erasing::RandomErasing;
use crate::batches::mixing::Mixing;
use crate::batches::order::epoch_order;
use crate::batches::trivial_augment::TrivialAugment;
use crate::error::DataError;
use crate::images::crop::Crop;
use crate::images::decoders::in_parallel;
use crate::images::image_set::ImageSet;
use crate::images::normalization::Normalization;

/// A batch of normalized images with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalized pixels, `[n, c, h, w]` in row-major order.
    pub images: Vec<f32>,
    /// Labels of the `n` images.
    pub labels: Vec<u16>,
    /// Number of images, channels, rows and columns: `[n, c, h, w]`.
    pub shape: [usize; 4],
    /// The other labels of mixed images; `None` if the images are not mixed.
    pub mixed: Option<MixedLabels>,
}

/// The other labels of images that are mixed with one another ([`Mixing`]).
#[derive(Clone, Debug, PartialEq)]
pub struct MixedLabels {
    /// Label of the image that each of the `n` images is mixed with.
    pub others: Vec<u16>,
    /// Share of an image's own label, from 0 to 1. The other label has the rest.
    pub share: f64,
}

impl Batch {
    /// Returns the shares of all classes in each image, `[n, classes]` in row-major order. They are 1 for the label of an
    /// image that is not mixed.
    ///
    /// # Panics
    /// If a label is not less than the number of classes.
    #[must_use]
    pub fn class_shares(&self, classes: usize) -> Vec<f32> {
        let mut shares = vec![0.0; self.labels.len() * classes];
        for (image, row) in shares.chunks_exact_mut(classes).enumerate() {
            let own = self.mixed.as_ref().map_or(1.0, |mixed| mixed.share as f32);
            row[usize::from(self.labels[image])] += own;
            if let Some(mixed) = &self.mixed {
                row[usize::from(mixed.others[image])] += 1.0 - own;
            }
        }
        shares
    }

    /// Returns the label with the largest share in each image: its own label if both have one half.
    #[must_use]
    pub fn dominant_labels(&self) -> &[u16] {
        match &self.mixed {
            Some(mixed) if mixed.share < 0.5 => &mixed.others,
            _ => &self.labels,
        }
    }
}

/// An iterator over the batches of one pass over a set, which yields every image exactly once.
///
/// All batches have the same number of images, except that the last one may be smaller.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    set: &'a ImageSet,
    table: Vec<[f32; 256]>,
    order: Order,
    augmentation: Augmentation,
    trivial_augment: bool,
    erasing: Option<RandomErasing>,
    mixing: Option<Mixing>,
    batch_size: usize,
    seed: u64,
    epoch: usize,
    next: usize,
}

#[derive(Clone, Debug)]
enum Order {
    Stored,
    Shuffled(Vec<usize>),
}

impl<'a> Batches<'a> {
    /// Creates the batches of a training epoch: augmented, in the order of [`epoch_order`].
    ///
    /// The augmentation of an image depends on `seed`, `epoch` and its index in the set, not on
    /// its batch.
    ///
    /// # Errors
    ///
    /// [`DataError::BatchSize`] for a batch size of 0, [`DataError::Normalization`] if the
    /// normalization does not fit the set, [`DataError::Padding`] if the padding of the
    /// augmentation is not smaller than the images.
    pub fn training(
        set: &'a ImageSet,
        normalization: &Normalization,
        augmentation: Augmentation,
        batch_size: usize,
        seed: u64,
        epoch: usize,
    ) -> Result<Self, DataError> {
        if let Augmentation::CropFlip { padding } = augmentation {
            let (height, width) = (set.height(), set.width());
            if padding >= height.min(width) {
                return Err(DataError::Padding { padding, height, width });
            }
        }
        let mut batches = Self::evaluation(set, normalization, batch_size)?;
        batches.order = Order::Shuffled(epoch_order(set.len(), seed, epoch));
        batches.augmentation = augmentation;
        batches.seed = seed;
        batches.epoch = epoch;
        Ok(batches)
    }

    /// Creates the batches of an evaluation: normalized, in stored order.
    ///
    /// # Errors
    ///
    /// [`DataError::BatchSize`] for a batch size of 0, [`DataError::Normalization`] if the
    /// normalization does not fit the set.
    pub fn evaluation(
        set: &'a ImageSet,
        normalization: &Normalization,
        batch_size: usize,
    ) -> Result<Self, DataError> {
        if batch_size == 0 {
            return Err(DataError::BatchSize);
        }
        let table = normalization.table(set.channels())?;
        Ok(Self {
            set,
            table,
            order: Order::Stored,
            augmentation: Augmentation::None,
            trivial_augment: false,
            erasing: None,
            mixing: None,
            batch_size,
            seed: 0,
            epoch: 0,
            next: 0,
        })
    }

    /// Applies a random operation to each image, after its crop and flip: TrivialAugment (Müller and Hutter, 2021) with
    /// torchvision's wide space of 14 operations. The operation depends on the seed, the epoch and the index of the image
    /// in the set, not on its batch.
    #[must_use]
    pub fn trivial_augment(mut self) -> Self {
        self.trivial_augment = true;
        self
    }

    /// Erases random rectangles of the images, after their augmentation. The rectangle of an image depends on the seed,
    /// the epoch and its index in the set, not on its batch.
    #[must_use]
    pub fn random_erasing(mut self, erasing: RandomErasing) -> Self {
        self.erasing = Some(erasing);
        self
    }

    /// Mixes the images of each batch with one another, after all other changes. How a batch is mixed depends on the seed,
    /// the epoch and the position of the batch in the epoch. A batch of one image stays as it is.
    #[must_use]
    pub fn mixing(mut self, mixing: Mixing) -> Self {
        self.mixing = Some(mixing);
        self
    }

    /// Skips the next `count` batches.
    pub fn skip_batches(&mut self, count: usize) {
        let images = count.saturating_mul(self.batch_size);
        self.next = self.next.saturating_add(images).min(self.set.len());
    }

    /// Returns the index in the set of the image at `position` in this pass.
    fn index(&self, position: usize) -> usize {
        match &self.order {
            Order::Stored => position,
            Order::Shuffled(order) => order[position],
        }
    }
}

impl Batches<'_> {
    /// Writes an image with its augmentation, normalized, to `values`.
    fn prepare(&self, index: usize, values: &mut [f32]) -> Result<(), DataError> {
        let set = self.set;
        let (plane, width) = (set.height() * set.width(), set.width());
        let key = [self.seed, self.epoch as u64, index as u64];
        let size = [set.height(), set.width()];
        let stored = match self.augmentation {
            Augmentation::ResizedCropFlip => {
                Cow::Owned(set.crop(index, |whole| Crop::random(key, whole))?)
            }
            _ => set.image(index)?,
        };
        let placement = self.augmentation.placement(self.seed, self.epoch, index);
        if self.trivial_augment {
            let mut placed = vec![0; stored.len()];
            for (pixels, placed) in stored.chunks_exact(plane).zip(placed.chunks_exact_mut(plane)) {
                placement.write(pixels, width, |pixel| pixel, placed);
            }
            TrivialAugment::random(key).apply(&mut placed, size);
            let channels = placed.chunks_exact(plane).zip(&self.table);
            for ((pixels, table), values) in channels.zip(values.chunks_exact_mut(plane)) {
                for (value, &pixel) in values.iter_mut().zip(pixels) {
                    *value = table[usize::from(pixel)];
                }
            }
        } else {
            let channels = stored.chunks_exact(plane).zip(&self.table);
            for ((pixels, table), values) in channels.zip(values.chunks_exact_mut(plane)) {
                placement.write(pixels, width, |pixel| table[usize::from(pixel)], values);
            }
        }
        let rectangle = self.erasing.and_then(|erasing| erasing.rectangle(key, size));
        if let Some(rectangle) = rectangle {
            for channel in values.chunks_exact_mut(plane) {
                rectangle.erase(channel, width);
            }
        }
        Ok(())
    }

    /// Prepares the images at these positions of the pass.
    fn batch(&self, positions: Range<usize>) -> Result<Batch, DataError> {
        let set = self.set;
        let (count, len) = (positions.len(), set.image_len());
        let number = (positions.start / self.batch_size) as u64;
        let indices: Vec<usize> = positions.map(|position| self.index(position)).collect();
        let labels: Vec<u16> = indices.iter().map(|&index| set.label(index)).collect();
        let mut images = if set.files().is_some() {
            let images = in_parallel(count, |position| {
                let mut values = vec![0.0; len];
                self.prepare(indices[position], &mut values).map(|()| values)
            })?;
            images.concat()
        } else {
            let mut images = vec![0.0; count * len];
            for (&index, values) in indices.iter().zip(images.chunks_exact_mut(len)) {
                self.prepare(index, values)?;
            }
            images
        };
        let mixed = self.mixing.filter(|_| count > 1).map(|mixing| {
            let size = [set.height(), set.width()];
            let mix = mixing.of_batch([self.seed, self.epoch as u64, number], size);
            mix.apply(&mut images, len, size);
            let mut others = labels.clone();
            others.rotate_right(1);
            MixedLabels { others, share: mix.share() }
        });
        let shape = [count, set.channels(), set.height(), set.width()];
        Ok(Batch { images, labels, shape, mixed })
    }
}

/// Prepares a batch at each call. Images in files are read and decoded on several threads, which may fail with
/// [`DataError::Image`]; the iterator then ends.
impl Iterator for Batches<'_> {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let count = self.batch_size.min(self.set.len() - self.next);
        if count == 0 {
            return None;
        }
        let batch = self.batch(self.next..self.next + count);
        self.next = if batch.is_ok() { self.next + count } else { self.set.len() };
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.set.len() - self.next).div_ceil(self.batch_size);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches<'_> {}
impl std::iter::FusedIterator for Batches<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eleven images of two channels and 3x3 pixels. The values of image `i` start at `18 * i`.
    fn set() -> ImageSet {
        let labels: Vec<u16> = (0..11).collect();
        ImageSet::new(2, 3, 3, 11, (0..198).collect(), labels).unwrap()
    }

    fn plain() -> Normalization {
        Normalization { mean: vec![0.0, 0.1], deviation: vec![1.0, 0.5] }
    }

    /// Returns the images of a pass, indexed by label. In `set`, the label of an image is also its
    /// index.
    fn by_label(batches: Batches<'_>) -> Vec<Vec<f32>> {
        let mut images = vec![Vec::new(); 11];
        for batch in batches.map(Result::unwrap) {
            let size = batch.images.len() / batch.labels.len();
            for (image, &label) in batch.images.chunks_exact(size).zip(&batch.labels) {
                assert!(images[usize::from(label)].is_empty(), "image {label} came twice");
                images[usize::from(label)] = image.to_vec();
            }
        }
        images
    }

    #[test]
    fn evaluation_keeps_the_stored_order_and_normalizes_by_channel() {
        let set = set();
        let batches = Batches::evaluation(&set, &plain(), 4).unwrap();
        assert_eq!(batches.len(), 3);
        let batches: Vec<Batch> = batches.map(Result::unwrap).collect();
        let shapes: Vec<usize> = batches.iter().map(|batch| batch.shape[0]).collect();
        assert_eq!(shapes, [4, 4, 3]);
        assert_eq!(batches[2].shape, [3, 2, 3, 3]);
        assert_eq!(batches[2].labels, [8, 9, 10]);
        assert_eq!(batches[0].images[1], 1.0 / 255.0);
        assert_eq!(batches[0].images[9], (9.0 / 255.0 - 0.1) / 0.5);
    }

    #[test]
    fn training_visits_every_image_once_in_the_order_of_the_epoch() {
        let set = set();
        let batches = Batches::training(&set, &plain(), Augmentation::None, 4, 7, 2).unwrap();
        assert_eq!(batches.len(), 3);
        let labels: Vec<usize> =
            batches.clone().flat_map(|batch| batch.unwrap().labels).map(usize::from).collect();
        assert_eq!(labels, epoch_order(11, 7, 2));
        let stored = by_label(Batches::evaluation(&set, &plain(), 4).unwrap());
        assert_eq!(by_label(batches), stored);
    }

    #[test]
    fn augmentation_depends_on_seed_epoch_and_index_alone() {
        let set = set();
        let augmentation = Augmentation::CropFlip { padding: 1 };
        let pass = |batch_size, seed, epoch| {
            by_label(
                Batches::training(&set, &plain(), augmentation, batch_size, seed, epoch).unwrap(),
            )
        };
        let base = pass(4, 7, 2);
        assert_eq!(base, pass(4, 7, 2));
        assert_eq!(base, pass(1, 7, 2));
        assert_eq!(base, pass(100, 7, 2));
        assert_ne!(base, pass(4, 7, 3));
        assert_ne!(base, pass(4, 8, 2));
        let shorter = set.clone().truncated(5);
        let short = Batches::training(&shorter, &plain(), augmentation, 2, 7, 2).unwrap();
        assert_eq!(by_label(short)[..5], base[..5]);
    }

    #[test]
    fn erasing_depends_on_seed_epoch_and_index_alone() {
        let set = ImageSet::new(2, 8, 8, 11, vec![255; 11 * 128], (0..11).collect()).unwrap();
        let erasing = RandomErasing::new(0.5).unwrap();
        let pass = |batch_size, seed, epoch| {
            let augmentation = Augmentation::CropFlip { padding: 1 };
            let batches =
                Batches::training(&set, &plain(), augmentation, batch_size, seed, epoch).unwrap();
            by_label(batches.random_erasing(erasing))
        };
        let base = pass(4, 7, 2);
        assert_eq!((&base, &base), (&pass(1, 7, 2), &pass(100, 7, 2)));
        assert!(base != pass(4, 7, 3) && base != pass(4, 8, 2));
        // The mean color is 0 after the normalization; black, which padding has, is not in the second channel.
        let is_erased = |image: &Vec<f32>| image[64..].contains(&0.0);
        assert!(base.iter().any(is_erased) && !base.iter().all(is_erased));
    }

    #[test]
    fn operations_depend_on_seed_epoch_and_index_alone() {
        let pixels: Vec<u8> = (0..11 * 192).map(|value| (value * 37 % 251) as u8).collect();
        let set = ImageSet::new(3, 8, 8, 11, pixels, (0..11).collect()).unwrap();
        let normalization = Normalization { mean: vec![0.5; 3], deviation: vec![0.5; 3] };
        let pass = |batch_size, seed, epoch| {
            let crop = Augmentation::CropFlip { padding: 1 };
            let batches = Batches::training(&set, &normalization, crop, batch_size, seed, epoch);
            by_label(batches.unwrap().trivial_augment())
        };
        let base = pass(4, 7, 2);
        assert_eq!((&base, &base), (&pass(1, 7, 2), &pass(100, 7, 2)));
        assert!(base != pass(4, 7, 3) && base != pass(4, 8, 2));
        // Each operation maps stored values to stored values.
        let is_stored = |value: &f32| {
            let stored = 255.0 * (value * 0.5 + 0.5);
            (stored - stored.round()).abs() < 1e-3 && (-0.1..255.1).contains(&stored)
        };
        assert!(base.iter().flatten().all(is_stored));
    }

    #[test]
    fn mixed_batches_are_the_batches_without_mixing_mixed() {
        let pixels: Vec<u8> = (0..11 * 128).map(|value| (value * 37 % 251) as u8).collect();
        let set = ImageSet::new(2, 8, 8, 11, pixels, (0..11).collect()).unwrap();
        let plain = || {
            let augmentation = Augmentation::CropFlip { padding: 1 };
            let batches = Batches::training(&set, &plain(), augmentation, 5, 7, 2).unwrap();
            batches.trivial_augment().random_erasing(RandomErasing::new(0.5).unwrap())
        };
        for (mixup, cutmix) in [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)] {
            let mixing = Mixing::new(mixup, cutmix).unwrap().unwrap();
            let mixed: Vec<Batch> = plain().mixing(mixing).map(Result::unwrap).collect();
            for (index, (mixed, plain)) in mixed.iter().zip(plain().map(Result::unwrap)).enumerate()
            {
                assert_eq!((mixed.shape, &mixed.labels), (plain.shape, &plain.labels));
                let Some(MixedLabels { others, share }) = &mixed.mixed else {
                    // Eleven images in batches of five: the last one has nothing to be mixed with.
                    assert_eq!((index, mixed), (2, &plain));
                    continue;
                };
                let count = plain.labels.len();
                let mut pasted = 0;
                for (image, label) in others.iter().enumerate() {
                    let before = (image + count - 1) % count;
                    assert_eq!(*label, plain.labels[before]);
                    for value in 0..128 {
                        let at = |image: usize| plain.images[image * 128 + value];
                        let (own, other) = (at(image), at(before));
                        let found = mixed.images[image * 128 + value];
                        let blend = own * *share as f32 + other * (1.0 - share) as f32;
                        assert!(found == own || found == other || found == blend);
                        pasted += usize::from(found != own && found == other);
                    }
                }
                assert!(cutmix > 0.0 || pasted == 0);
            }
            // Batches do not depend on those before them.
            let mut rest = plain().mixing(mixing);
            rest.skip_batches(1);
            assert!(rest.map(Result::unwrap).eq(mixed[1..].iter().cloned()));
        }
    }

    #[test]
    fn shares_of_classes_add_up_to_one_and_the_largest_is_dominant() {
        let batch = |share| Batch {
            images: vec![0.0; 3],
            labels: vec![0, 2, 2],
            shape: [3, 1, 1, 1],
            mixed: Some(MixedLabels { others: vec![2, 0, 2], share }),
        };
        let shares = [0.75, 0.0, 0.25, 0.25, 0.0, 0.75, 0.0, 0.0, 1.0];
        assert_eq!(batch(0.75).class_shares(3), shares);
        assert_eq!(batch(0.75).dominant_labels(), [0, 2, 2]);
        assert_eq!(batch(0.5).dominant_labels(), [0, 2, 2]);
        assert_eq!(batch(0.25).dominant_labels(), [2, 0, 2]);
        let plain = Batch { mixed: None, ..batch(0.25) };
        assert_eq!(plain.class_shares(3), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(plain.dominant_labels(), [0, 2, 2]);
    }

    #[test]
    fn padding_is_black_before_normalization() {
        let white = ImageSet::new(1, 2, 2, 1, vec![255; 400], vec![0; 100]).unwrap();
        let normalization = Normalization { mean: vec![0.5], deviation: vec![0.5] };
        let augmentation = Augmentation::CropFlip { padding: 1 };
        let batch = Batches::training(&white, &normalization, augmentation, 100, 0, 0)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert!(batch.images.iter().all(|&value| value == 1.0 || value == -1.0));
        assert!(batch.images.contains(&-1.0));
    }

    #[test]
    fn the_number_of_batches_left_counts_down() {
        let set = set();
        let mut batches = Batches::evaluation(&set, &plain(), 5).unwrap();
        for left in [2, 1, 0] {
            assert!(batches.next().is_some());
            assert_eq!(batches.len(), left);
        }
        assert!(batches.next().is_none() && batches.next().is_none());
        assert_eq!(Batches::evaluation(&set, &plain(), usize::MAX).unwrap().len(), 1);
        let empty = set.truncated(0);
        assert_eq!(Batches::evaluation(&empty, &plain(), 5).unwrap().count(), 0);
    }

    #[test]
    fn unusable_settings_are_refused() {
        let set = set();
        let error = Batches::evaluation(&set, &plain(), 0).unwrap_err();
        assert!(matches!(error, DataError::BatchSize));
        let grey = Normalization { mean: vec![0.0], deviation: vec![1.0] };
        let error = Batches::evaluation(&set, &grey, 4).unwrap_err();
        assert!(matches!(error, DataError::Normalization { .. }));
        for padding in [3, usize::MAX] {
            let augmentation = Augmentation::CropFlip { padding };
            let error = Batches::training(&set, &plain(), augmentation, 4, 0, 0).unwrap_err();
            assert!(matches!(error, DataError::Padding { .. }));
        }
    }
}
