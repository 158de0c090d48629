//! Random splits of a set, for test or validation images.

use crate::images::image_set::ImageSet;
use crate::rng::{KeyedRng, Purpose};

/// One in this many images is held out.
const SHARE: usize = 10;

/// Splits a set into training and test images, both in stored order.
///
/// The images are put in a random order that depends only on their number, and every tenth image of
/// each class is held out for testing. This holds out at least one image of each class that has two
/// or more images. If there is no such class, one image is held out.
pub(crate) fn split(set: ImageSet) -> (ImageSet, ImageSet) {
    let order = KeyedRng::new(Purpose::HeldOut, 0, 0, 0).permutation(set.len());
    let mut counts = vec![0; set.classes()];
    for &label in set.labels() {
        counts[usize::from(label)] += 1;
    }
    let mut seen = vec![0_usize; set.classes()];
    let mut held_out = vec![false; set.len()];
    for &index in &order {
        let class = usize::from(set.label(index));
        held_out[index] = seen[class].is_multiple_of(SHARE) && counts[class] > 1;
        seen[class] += 1;
    }
    if let Some(&first) = order.first().filter(|_| !held_out.contains(&true)) {
        held_out[first] = true;
    }
    set.partition(&held_out)
}

impl ImageSet {
    /// Splits off `count` images, chosen at random with the given seed, or all images if there are
    /// fewer.
    ///
    /// Returns the remaining images and those split off, both in stored order.
    #[must_use]
    pub fn random_split(self, count: usize, seed: u64) -> (Self, Self) {
        let order = KeyedRng::new(Purpose::RandomSplit, seed, 0, 0).permutation(self.len());
        let mut chosen = vec![false; self.len()];
        for index in order.into_iter().take(count) {
            chosen[index] = true;
        }
        self.partition(&chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of one pixel. The pixel is the label plus one.
    fn set(len: u8) -> ImageSet {
        ImageSet::new(1, 1, 1, 256, (1..=len).collect(), (0..len.into()).collect()).unwrap()
    }

    /// The same images as `set`, labeled with `classes` classes in turn.
    fn in_classes(len: u8, classes: u8) -> ImageSet {
        let labels = (0..len).map(|index| u16::from(index % classes)).collect();
        ImageSet::new(1, 1, 1, usize::from(classes), (1..=len).collect(), labels).unwrap()
    }

    #[test]
    fn every_image_lands_on_one_side_by_its_class() {
        for (len, classes, held_out) in
            [(1, 1, 1), (2, 2, 1), (10, 1, 1), (11, 1, 2), (200, 1, 20), (36, 3, 6), (9, 3, 3)]
        {
            let (train, test) = split(in_classes(len, classes));
            assert_eq!((train.len(), test.len()), (usize::from(len) - held_out, held_out));
            let mut pixels = [train.pixels().unwrap(), test.pixels().unwrap()].concat();
            assert!([&train, &test].iter().all(|set| set.pixels().unwrap().is_sorted()));
            pixels.sort_unstable();
            assert!(pixels.into_iter().eq(1..=len));
            for set in [train, test] {
                assert!(
                    (0..set.len()).all(
                        |i| set.label(i) == u16::from((set.image(i).unwrap()[0] - 1) % classes)
                    )
                );
            }
        }
        let (train, test) = split(in_classes(36, 3));
        for class in 0..3 {
            let count = |set: &ImageSet| set.labels().iter().filter(|&&l| l == class).count();
            assert_eq!((count(&train), count(&test)), (10, 2));
        }
    }

    #[test]
    fn the_requested_number_is_set_aside_by_the_seed() {
        let (rest, aside) = set(50).random_split(20, 1);
        assert_eq!((rest.len(), aside.len()), (30, 20));
        let mut labels = [rest.labels(), aside.labels()].concat();
        labels.sort_unstable();
        assert!(labels.into_iter().eq(0..50));
        assert_eq!(aside, set(50).random_split(20, 1).1);
        assert_ne!(aside, set(50).random_split(20, 2).1);
        assert!(set(3).random_split(9, 1).0.is_empty());
    }

    #[test]
    fn the_choice_is_always_the_same_and_irregular() {
        let (_, test) = split(in_classes(200, 1));
        assert_eq!(test, split(in_classes(200, 1)).1);
        let steps: Vec<u8> =
            test.pixels().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().any(|step| *step != steps[0]));
    }
}
