//! Test images for a set that comes without: a part of its training images.

use crate::image_set::ImageSet;
use crate::order::shuffled;
use crate::stream::{Purpose, Stream};

/// One image of this many is held out.
const SHARE: usize = 10;

/// Parts a set into images to train on and images to test with, both in stored order.
///
/// Held out is every tenth image of a random order that depends on the number of images alone, the
/// first one included: at least one image, if there is any.
pub(crate) fn split(set: ImageSet) -> (ImageSet, ImageSet) {
    let order = shuffled(set.len(), &mut Stream::new(Purpose::HeldOut, 0, 0, 0));
    let mut held_out = vec![false; set.len()];
    for index in order.into_iter().step_by(SHARE) {
        held_out[index] = true;
    }
    set.parted(&held_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of one pixel that is as long a way from black as its label, plus one.
    fn set(len: u8) -> ImageSet {
        ImageSet::new(1, 1, 1, 256, (1..=len).collect(), (0..len).collect()).unwrap()
    }

    #[test]
    fn every_image_lands_on_one_side() {
        for (len, held_out) in [(1, 1), (2, 1), (10, 1), (11, 2), (200, 20)] {
            let (train, test) = split(set(len));
            assert_eq!((train.len(), test.len()), (usize::from(len) - held_out, held_out));
            let mut labels = [train.labels(), test.labels()].concat();
            assert!(train.labels().is_sorted() && test.labels().is_sorted());
            labels.sort_unstable();
            assert!(labels.into_iter().eq(0..len));
            for set in [train, test] {
                assert!((0..set.len()).all(|index| set.image(index) == [set.label(index) + 1]));
            }
        }
    }

    #[test]
    fn the_choice_is_always_the_same_and_no_pattern() {
        let (_, test) = split(set(200));
        assert_eq!(test, split(set(200)).1);
        let steps: Vec<u8> = test.labels().windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().any(|step| *step != steps[0]));
    }
}
